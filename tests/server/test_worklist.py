"""The work list and the case that comes next."""

import pytest
from sqlalchemy import update

from spinelab.archive.tables import Result, Scan, VertebraRow
from spinelab.server.accounts import Person
from spinelab.server.options import ServeOptions
from spinelab.server.refusals import NotAllowedError
from spinelab.server.tables import Account
from spinelab.server.worklist import Filter, choose_next, list_cases, measure_uncertainty
from tests.server.cases import grade, make_app, read_whole, sign_in


def person(store, name):
    from sqlalchemy import select

    with store.reading() as session:
        account = session.scalars(select(Account).where(Account.name == name)).one()
        return Person(account.id, account.name, account.role, "")


def listed(store, name, wanted=None, **options):
    with store.reading() as session:
        return list_cases(session, person(store, name), ServeOptions(**options), wanted)


def following(store, name, **options):
    with store.reading() as session:
        return choose_next(session, person(store, name), ServeOptions(**options))


def change(store, scan_id, *, rank, probability):
    with store.writing() as session:
        session.get(Result, scan_id).rank = rank
        rows = update(VertebraRow).where(VertebraRow.scan_id == scan_id)
        session.execute(rows.values(probability=probability))


def test_states_and_counts(app, store):
    grade(sign_in(app, "ada"), 2, {"T11": 0, "T12": (2, "wedge"), "L1": 1})
    rows = {row.scan_id: row for row in listed(store, "ada")}
    assert (rows[2].state, rows[2].done, rows[2].count, rows[2].own_grade) == ("open", 2, 4, 2)
    assert rows[1].state == "new"
    assert next(iter(rows)) == 2
    read_whole(sign_in(app, "ben"), 2)
    assert {row.scan_id: row.state for row in listed(store, "eve")} == {1: "new", 2: "taken"}
    assert {row.scan_id: row.state for row in listed(store, "jo")} == {1: "waiting", 2: "waiting"}


def test_filters_for_those_who_see_all(app, store):
    read_whole(sign_in(app, "ada"), 1, T12=(2, "wedge"))
    read_whole(sign_in(app, "ben"), 1)
    with store.writing() as session:
        session.get(Result, 2).worst_grade = 0
    assert [row.disagreements for row in listed(store, "root")] == [1, None]
    case = listed(store, "root")[0].case
    for wanted, found in (
        (Filter(text=case[5:9]), [1]),
        (Filter(text="t12"), [1, 2]),
        (Filter(text="T1"), []),
        (Filter(text="Wedge"), [1, 2]),
        (Filter(disagreement=True), [1]),
        (Filter(reader="ben"), [1]),
        (Filter(grade=2), [1]),
        (Filter(probability=0.9), []),
        (Filter(probability=0.8), [1, 2]),
        (Filter(state="waiting"), [2]),
    ):
        assert sorted(row.scan_id for row in listed(store, "root", wanted)) == found, wanted


def test_doubtful_names_are_shown_filtered_and_last_among_equals(app, store):
    change(store, 1, rank=2.9, probability=0.9)
    with store.writing() as session:
        session.execute(update(VertebraRow).where(VertebraRow.scan_id == 1).values(level_probability=0.68))
    assert [(row.scan_id, row.named < 0.9) for row in listed(store, "root")] == [(2, False), (1, True)]
    assert [row.scan_id for row in listed(store, "root", Filter(names="doubtful"))] == [1]
    assert [row.scan_id for row in listed(store, "ada", Filter(names="sure"), suggestion="hidden")] == [2]
    page = sign_in(app, "root").get("/?names=doubtful").text
    assert "names 68 %" in page
    with store.writing() as session:
        session.get(Result, 1).worst_grade = 3
    assert [row.scan_id for row in listed(store, "root")] == [1, 2]


def test_the_reading_page_is_told_what_else_a_vertebra_may_be(app, store):
    with store.writing() as session:
        result = session.get(Result, 1)
        runner_up = {"anchors": [], "probability": 0.68, "runner_up": ["T12", "L1", "L2", "L3"]}
        numbering = {**runner_up, "runner_up_probability": 0.25, "anchored": False}
        result.spine = {**result.spine, "numbering": numbering}
    browser = sign_in(app, "ada")
    assert browser.post("/api/cases/1/open").status_code == 200
    others = [v["other_level"] for v in browser.get("/api/cases/1").json()["vertebrae"]]
    assert others == ["T12", "L1", "L2", "L3"]


def test_a_hidden_finding_cannot_be_searched_for(store):
    assert listed(store, "ada", Filter(text="wedge"), suggestion="hidden") == []
    assert len(listed(store, "ada", Filter(text="wedge"), suggestion="shown")) == 2


def test_a_replaced_scan_is_not_listed(store):
    with store.writing() as session:
        session.get(Scan, 1).replaced_by = 2
    assert [row.scan_id for row in listed(store, "ada")] == [2]


def test_uncertainty_peaks_at_one_half():
    assert measure_uncertainty([0.0, 1.0]) == 0
    assert measure_uncertainty([]) == measure_uncertainty([None]) == 0
    assert measure_uncertainty([0.1, 0.9]) == pytest.approx(0.36)


def test_the_next_case_by_each_way(app, store):
    change(store, 1, rank=5.0, probability=0.99)
    change(store, 2, rank=1.0, probability=0.55)
    assert following(store, "ada", next_case="finding") == 1
    assert following(store, "ada", next_case="uncertainty") == 2
    drawn = following(store, "ada", next_case="random")
    assert drawn == following(store, "ada", next_case="random")
    grade(sign_in(app, "ada"), 1, {"T11": 0})
    assert following(store, "ada", next_case="uncertainty") == 1
    read_whole(sign_in(app, "ada"), 1)
    read_whole(sign_in(app, "ada"), 2)
    assert following(store, "ada") is None


def test_adjudicators_get_what_readers_differ_on(app, store):
    for name, verdict in (("ada", 0), ("ben", (1, "wedge"))):
        read_whole(sign_in(app, name), 2, T12=verdict)
        read_whole(sign_in(app, name), 1)
    assert following(store, "jo") == 2


def test_next_leads_there(app, store):
    browser = sign_in(app, "ada")
    assert browser.get("/next").headers["location"] in ("/cases/1", "/cases/2")
    read_whole(browser, 1)
    read_whole(browser, 2)
    assert browser.get("/next").headers["location"] == "/?nothing=left"
    with pytest.raises(NotAllowedError, match="admins do not grade"):
        following(store, "root")


def test_pages_of_the_list(store, monkeypatch):
    from spinelab.server import page_routes

    monkeypatch.setattr(page_routes, "PAGE_ROWS", 1)
    browser = sign_in(make_app(store), "ada")
    first, second = browser.get("/?state=new").text, browser.get("/?state=new&page=1").text
    assert "page=1" in first
    assert "Earlier" in second
    assert first.count("/cases/") == second.count("/cases/") == 1
    assert browser.get("/?page=x&grade=9&probability=a").status_code == 200


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"suggestion": "maybe"}, "suggestion is hidden, shown or after"),
        ({"next_case": "last"}, "next_case is uncertainty, random or finding"),
        ({"readers": 0}, "at least 1 reader"),
        ({"session_hours": 0.0}, "more than 0 hours"),
    ],
)
def test_options_that_make_no_sense(values, message):
    with pytest.raises(ValueError, match=message):
        ServeOptions(**values)
