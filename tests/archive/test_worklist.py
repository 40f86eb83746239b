"""The work list on screen and on disk."""

import csv
import json

import pytest
from sqlalchemy import select, update

from spinelab.archive import queue
from spinelab.archive.jobs import Reading
from spinelab.archive.queue import FoundScan
from spinelab.archive.tables import Result, VertebraRow
from spinelab.archive.worklist import list_work, write_worklist
from spinelab.errors import InputError, OutputError
from tests.archive.readers import spine_of


@pytest.fixture
def filled(store):
    for key, value in (("a", 25), ("b", 60), ("c", 40), ("d", None)):
        queue.enter(store, FoundScan(key, f"/scans/{key}", "volume"), now=1.0)
        job = queue.claim(store, "w", now=2.0)
        if value is None:
            queue.skip(store, job, "no CT", now=3.0)
            continue
        out = store.files / "new"
        out.mkdir()
        queue.finish(store, job, Reading(spine_of(value), {}, 2.0), out, now=86_400.0)
    return store


def test_the_worst_comes_first(filled):
    items = list_work(filled)
    assert [(item.place, item.height_loss_percent) for item in items] == [(1, 60.0), (2, 40.0), (3, 25.0)]
    assert items[0].finding == "L1, grade 2 wedge, 60 % height loss, probability 0.60"
    assert (items[0].level, items[0].grade, items[0].vertebrae, items[0].seconds) == ("L1", 2, 2, 2.0)
    assert items[0].read_at == "1970-01-02T00:00:00+00:00"
    assert [item.place for item in list_work(filled, limit=2)] == [1, 2]


@pytest.fixture
def doubtful(filled):
    """The worst finding (60 %) may be at another level."""
    with filled.writing() as session:
        worst = session.scalars(select(Result).order_by(Result.rank.desc())).first()
        rows = update(VertebraRow).where(VertebraRow.scan_id == worst.scan_id)
        session.execute(rows.values(level_probability=0.68))
    return filled


def test_among_equal_grades_a_sure_name_comes_first(doubtful):
    items = list_work(doubtful)
    assert [item.height_loss_percent for item in items] == [40.0, 25.0, 60.0]
    assert [item.level_probability for item in items] == [0.9, 0.9, 0.68]


def test_a_higher_grade_comes_first_however_it_is_named(doubtful):
    with doubtful.writing() as session:
        session.execute(update(Result).where(Result.worst_loss_percent == 60).values(worst_grade=3))
    assert list_work(doubtful)[0].height_loss_percent == 60.0


def test_sure_or_doubtful_names_alone(doubtful):
    assert [item.height_loss_percent for item in list_work(doubtful, names="doubtful")] == [60.0]
    assert [item.height_loss_percent for item in list_work(doubtful, names="sure")] == [40.0, 25.0]


def test_an_unknown_choice_of_names_is_refused(store):
    with pytest.raises(InputError, match="no findings are called 'some'; choose one of all, sure, doubtful"):
        list_work(store, names="some")


def test_paths_are_told_only_when_asked_for(filled):
    assert {item.source for item in list_work(filled)} == {None}
    assert [item.source for item in list_work(filled, paths=True)] == ["/scans/b", "/scans/c", "/scans/a"]


def test_what_was_skipped_has_its_reason(filled):
    (item,) = list_work(filled, status="skipped")
    assert (item.finding, item.level, item.vertebrae) == ("no CT", None, None)


def test_what_was_replaced_is_not_listed(filled):
    queue.enter(filled, FoundScan("e", "/scans/b", "volume"), now=5.0)
    assert [item.height_loss_percent for item in list_work(filled)] == [40.0, 25.0]


def test_an_unknown_status_is_refused(store):
    with pytest.raises(
        InputError, match="no scan has the status 'open'; choose one of queued, reading, done"
    ):
        list_work(store, status="open")


def test_csv_and_json_hold_the_same(filled, tmp_path):
    items = list_work(filled)
    write_worklist(items, tmp_path / "list.csv")
    write_worklist(items, tmp_path / "list.json")
    with (tmp_path / "list.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    told = json.loads((tmp_path / "list.json").read_text())
    assert [row["case"] for row in rows] == [entry["case"] for entry in told] == [item.case for item in items]
    assert rows[0]["height_loss_percent"] == "60.0"
    assert (rows[0]["source"], told[0]["source"]) == ("", None)


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"written as \.csv or \.json, found 'list\.xlsx'"):
        write_worklist([], tmp_path / "list.xlsx")


def test_a_list_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path, filled, monkeypatch):
    with pytest.raises(OutputError, match="the folder does not exist"):
        write_worklist([], tmp_path / "none" / "list.csv")
    (tmp_path / "taken.csv").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        write_worklist(list_work(filled), tmp_path / "taken.csv")
    assert not list(tmp_path.glob(".taken*"))
