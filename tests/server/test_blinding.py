"""Readers are blind to one another and, where the protocol says so, to the model; then they are settled."""

import csv
import io
import json
import zipfile

import pytest
from sqlalchemy import select

from spinelab.server.tables import Reading
from tests.server.cases import LEVELS, PASSWORD, ROUTES, grade, make_app, read_whole, sign_in, vertebra_ids


def rows_of(answer):
    return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.fixture
def both(app):
    """Ada and Ben have read case 1 and differ on T12 and L2."""
    ada, ben = sign_in(app, "ada"), sign_in(app, "ben")
    read_whole(ada, T12=(2, "wedge"), L2=(1, "crush"))
    read_whole(ben, T12=(3, "crush"), L2=0)
    return ada, ben


def test_no_address_tells_a_reader_what_another_said(app, both):
    eve = sign_in(app, "eve")
    eve.post("/api/cases/2/open")
    ada = both[0]
    vertebra = vertebra_ids(ada)["T12"]
    for browser in (ada, eve):
        seen = []
        for route in ROUTES:
            if "GET" not in (getattr(route, "methods", None) or ()):
                continue
            path = route.path.replace("{scan_id}", "1").replace("{vertebra_id}", str(vertebra))
            names = ("labels.csv", "labels.json", "genant.csv", "centroids.zip", "audit.csv")
            for name in names if "{name}" in path else ("",):
                answer = browser.get(path.replace("{name}", name))
                if answer.headers.get("content-type") == "application/octet-stream":
                    continue  # the scan and the mask
                text = answer.content if "zip" not in path else b""
                assert b"crush" not in text or browser is ada, path
                assert b'"ben"' not in text, path
                seen.append(answer.status_code)
        assert len(seen) >= 12


def test_a_reader_exports_their_own_labels_alone(both):
    ada, ben = both
    for browser, name, verdict in ((ada, "ada", "wedge"), (ben, "ben", "crush")):
        rows = rows_of(browser.get("/export/labels.csv"))
        assert {row["reader"] for row in rows} == {name}
        assert next(row["shape"] for row in rows if row["level"] == "T12") == verdict
        assert browser.get("/export/audit.csv").status_code == 403


def test_the_lists_of_readers_tell_how_many_have_finished_and_no_more(both):
    page = both[0].get("/").text
    assert "ben" not in page
    assert "ifer on" not in page
    study = both[0].get("/study").text
    assert "Kappa" not in study
    assert "ben" not in study


def test_filters_do_not_give_away_what_is_hidden(app, both):
    eve = sign_in(app, "eve")
    for query in ("disagreement=yes", "reader=ben", "probability=80", "grade=1"):
        assert "No case here" in eve.get(f"/?{query}").text, query


@pytest.mark.parametrize(
    ("protocol", "before", "after"), [("hidden", 0, 0), ("shown", 4, 4), ("after", 0, 1)]
)
def test_the_model_is_shown_as_the_protocol_says(store, protocol, before, after):
    browser = sign_in(make_app(store, suggestion=protocol), "ada")
    browser.post("/api/cases/1/open")

    def count():
        shown = browser.get("/api/cases/1").json()["vertebrae"]
        return sum(v["suggestion"] is not None for v in shown)

    assert count() == before
    assert ("81 %" in browser.get("/").text) is (protocol == "shown")
    grade(browser, 1, {"T12": (2, "wedge")})
    assert count() == after
    text = browser.get("/api/cases/1").text
    assert ("0.81" in text) is (protocol != "hidden")


def test_a_reading_keeps_the_protocol_it_was_begun_under(store):
    sign_in(make_app(store, suggestion="hidden"), "ada").post("/api/cases/1/open")
    browser = sign_in(make_app(store, suggestion="shown"), "ada")
    assert all(v["suggestion"] is None for v in browser.get("/api/cases/1").json()["vertebrae"])


def test_adjudicators_wait_until_all_have_finished(app):
    ada, jo = sign_in(app, "ada"), sign_in(app, "jo")
    read_whole(ada, T12=(2, "wedge"))
    answer = jo.post("/api/cases/1/open")
    assert answer.status_code == 403
    assert "1 of 2 readers have finished" in answer.json()["detail"]
    grade(sign_in(app, "ben"), 1, {"T12": (1, "crush")})
    assert jo.post("/api/cases/1/open").status_code == 403
    assert jo.get("/api/cases/1").json()["adjudication"]["readers"][1:] == []


def test_admins_do_not_grade(app):
    answer = sign_in(app, "root").post("/api/cases/1/open")
    assert answer.status_code == 403
    assert "admins do not grade" in answer.json()["detail"]


def test_what_readers_differ_on_is_settled_and_what_they_share_holds(app, both, store):
    jo = sign_in(app, "jo")
    case = jo.post("/api/cases/1/open").json()
    ids = {v["level"]: v["id"] for v in case["vertebrae"]}
    assert case["adjudication"]["disputed"] == [ids["T12"], ids["L2"]]
    assert [reader["label"] for reader in case["adjudication"]["readers"]] == ["Reader 1", "Reader 2"]
    assert "ada" not in json.dumps(case)
    assert "left to grade: T12, L2" in jo.post("/api/cases/1/finish").json()["detail"]
    grade(jo, 1, {"T12": (3, "wedge"), "L2": 0})
    assert jo.post("/api/cases/1/finish").json()["finished"]
    final = [row for row in rows_of(jo.get("/export/labels.csv")) if row["reader"] == "final"]
    assert [(r["level"], r["grade"], r["shape"], r["how"]) for r in final[:4]] == [
        ("T11", "0", "", "agreed"),
        ("T12", "3", "wedge", "adjudicated"),
        ("L1", "0", "", "agreed"),
        ("L2", "0", "", "adjudicated"),
    ]
    genant = rows_of(jo.get("/export/genant.csv"))
    assert [genant[0][name] for name in LEVELS] == ["0", "3w", "0", "0"]
    refused = both[0].post("/api/cases/1/reopen")
    assert "is being adjudicated" in refused.json()["detail"]


def test_names_readers_differ_on_are_settled_too(app):
    ada, ben, jo = (sign_in(app, name) for name in ("ada", "ben", "jo"))
    ada.post("/api/cases/1/open")
    vertebra = vertebra_ids(ada)["T11"]
    ada.post("/api/cases/1/names", json={"vertebra_id": vertebra, "name": "T12"})
    read_whole(ada)
    read_whole(ben)
    jo.post("/api/cases/1/open")
    assert "name the column differently" in jo.post("/api/cases/1/finish").json()["detail"]
    jo.post("/api/cases/1/names", json={"vertebra_id": vertebra, "name": "T12"})
    jo.post("/api/cases/1/finish").raise_for_status()
    archive = zipfile.ZipFile(io.BytesIO(jo.get("/export/centroids.zip").content))
    entries = json.loads(archive.read(archive.namelist()[0]))
    assert [entry["label"] for entry in entries if "label" in entry] == [19, 20, 21, 22]
    own = zipfile.ZipFile(io.BytesIO(ben.get("/export/centroids.zip").content))
    assert [e["label"] for e in json.loads(own.read(own.namelist()[0])) if "label" in e] == [18, 19, 20, 21]


def test_agreement_is_that_of_the_finished_readings(app, both):
    page = sign_in(app, "root").get("/study").text
    # grades 0 2 0 1 against 0 3 0 0: 2 of 4 alike; chance (2*3 + 1*0 + 1*0 + 0*1)/16 = 0.375
    assert "ada and ben" in page
    assert "0.20" in page


def test_everything_comes_back_as_it_was_exported(app, both, store):
    from spinelab.server.accounts import add_account

    admin = sign_in(app, "root")
    rows = admin.get("/export/labels.json").json()["labels"]
    renamed = {"T11": "T12", "T12": "L1", "L1": "L2", "L2": "L3"}
    moved = [
        {**row, "reader": "eve", "level": renamed[row["level"]]} for row in rows if row["reader"] == "ada"
    ]
    files = {"file": ("labels.json", json.dumps({"labels": moved}))}
    assert admin.post("/import", files=files).headers["location"].endswith("4+labels+were+taken+in.")
    again = rows_of(admin.get("/export/labels.csv"))
    ada = [(r["level"], r["grade"], r["shape"]) for r in again if r["reader"] == "ada"]
    eve = [(r["level"], r["grade"], r["shape"]) for r in again if r["reader"] == "eve"]
    assert eve == [(renamed[name], *verdict) for name, *verdict in ada]
    with store.reading() as session:
        assert [r.imported for r in session.scalars(select(Reading))] == [False, False, True]
    add_account(store, "fay", "reader", PASSWORD)
    text = admin.get("/export/labels.csv").text.replace(",ben,", ",fay,")
    lines = [line for line in text.splitlines() if ",fay," in line or line.startswith("case,")]
    answer = admin.post("/import", files={"file": ("labels.csv", "\n".join(lines))})
    assert answer.headers["location"].endswith("4+labels+were+taken+in.")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"case": "case-x"}, "there is no read case"),
        ({"reader": "zoe"}, "there is no reader"),
        ({"reader": "ben"}, "ben has a reading of"),
        ({"level": "T14"}, "there is no level"),
        ({"position": 9}, "has no vertebra at position 9"),
        ({"evaluable": "maybe"}, "evaluable is true or false"),
        ({"grade": 2, "shape": None}, "a grade from 1 to 3 needs a shape"),
        ({"grade": 5}, "a Genant grade is 0, 1, 2 or 3"),
    ],
)
def test_labels_that_do_not_fit_change_nothing(app, both, store, change, message):
    admin = sign_in(app, "root")
    rows = [r for r in admin.get("/export/labels.json").json()["labels"] if r["reader"] == "ada"]
    moved = [{**row, "reader": "eve"} for row in rows]
    moved[0] = {**moved[0], **change}
    answer = admin.post("/import", files={"file": ("x.json", json.dumps(moved))})
    assert answer.status_code == 400
    assert message in answer.text
    with store.reading() as session:
        assert len(session.scalars(select(Reading)).all()) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"{", "no valid JSON"),
        (b'{"labels": 3}', "no list of labels"),
        (b"case,reader\nx,ada\n", "lacks evaluable, grade, shape"),
        (b'[{"case":"a"},', "no valid JSON"),
    ],
)
def test_files_that_are_no_labels_are_refused(app, data, message):
    answer = sign_in(app, "root").post("/import", files={"file": ("x", data)})
    assert answer.status_code == 400
    assert message in answer.text


def test_only_admins_import(app):
    answer = sign_in(app, "jo").post("/import", files={"file": ("x", b"[]")})
    assert answer.status_code == 403
    assert "imported by admins" in answer.text


def test_two_of_the_same_vertebra_are_refused(app, both):
    admin = sign_in(app, "root")
    rows = [r for r in admin.get("/export/labels.json").json()["labels"] if r["reader"] == "ada"]
    twice = [{**rows[0], "reader": "eve"}] * 2
    answer = admin.post("/import", files={"file": ("x.json", json.dumps(twice))})
    assert "T11 of" in answer.text
    assert "twice" in answer.text
