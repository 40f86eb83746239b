"""The queue: who holds a scan, and what becomes of it."""

import pytest
from sqlalchemy import select

from spinelab.archive import queue
from spinelab.archive.jobs import Reading
from spinelab.archive.queue import LEASE_S, MOST_ATTEMPTS, FoundScan
from spinelab.archive.tables import DONE, FAILED, QUEUED, READING, SKIPPED, Result, Scan, VertebraRow
from tests.archive.readers import spine_of


def enter(store, key="a", **changes):
    return queue.enter(store, FoundScan(key, f"/scans/{key}", "volume", **changes), now=10.0)


def only(store):
    with store.reading() as session:
        scan = session.scalars(select(Scan)).one()
        session.expunge(scan)
        return scan


def write(store, text="42", name="new"):
    out = store.files / name
    out.mkdir()
    (out / "a.txt").write_text(text)
    return out


def reading(value=42):
    return Reading(spine_of(value), {"spine": "a.txt"}, 2.0, 300.0, "series 3")


def never(worker):
    return False


def test_a_scan_is_claimed_once(store):
    assert enter(store)
    assert not enter(store)
    job = queue.claim(store, "w1", now=20.0)
    assert (str(job.source), job.kind, job.attempt, job.worker) == ("/scans/a", "volume", 1, "w1")
    assert queue.claim(store, "w2", now=20.0) is None
    scan = only(store)
    assert (scan.status, scan.started_at, scan.leased_until) == (READING, 20.0, 20.0 + LEASE_S)
    assert queue.held(store) == [(scan.case, 1)]


def test_scans_are_claimed_in_order_and_interrupted_ones_last(store):
    for key in "abc":
        enter(store, key)
    assert queue.claim(store, "w", now=1.0).source.name == "a"
    queue.take_back(store, lambda worker: True, now=1.0)
    assert [queue.claim(store, "w", now=1.0).source.name for _ in range(3)] == ["b", "c", "a"]


def test_a_finished_scan_has_its_result_its_rows_and_its_files(store):
    enter(store)
    job = queue.claim(store, "w", now=20.0)
    assert queue.finish(store, job, reading(), write(store), now=30.0)
    scan = only(store)
    assert (scan.status, scan.worker, scan.leased_until, scan.finished_at) == (DONE, None, None, 30.0)
    assert scan.choice == "series 3"
    with store.reading() as session:
        result = session.scalars(select(Result)).one()
        assert (result.worst_level, result.worst_grade, result.worst_loss_percent) == ("L1", 2, 42.0)
        assert (result.seconds, result.peak_memory_mb, result.folder) == (2.0, 300.0, scan.case)
        assert [row.level for row in result.vertebrae] == ["T12", "L1"]
        assert result.spine["vertebrae"][1]["fracture"]["height_loss_percent"] == 42.0
        assert result.scan.case == scan.case
    assert [(store.files / scan.case / name).read_text() for name in result.files.values()] == ["42"]
    assert queue.claim(store, "w", now=40.0) is None


def test_a_result_that_was_in_place_but_not_marked_is_replaced(store):
    enter(store)
    job = queue.claim(store, "w", now=20.0)
    (store.files / job.case).mkdir()
    (store.files / job.case / "old.txt").write_text("killed before the commit")
    assert queue.finish(store, job, reading(), write(store), now=30.0)
    assert [entry.name for entry in (store.files / job.case).iterdir()] == ["a.txt"]
    assert [entry.name for entry in store.files.iterdir()] == [job.case]


def test_nothing_is_marked_when_the_files_cannot_be_moved(store):
    enter(store)
    job = queue.claim(store, "w", now=20.0)
    with pytest.raises(FileNotFoundError):
        queue.finish(store, job, reading(), store.files / "never written", now=30.0)
    assert only(store).status == READING
    with store.reading() as session:
        assert session.scalars(select(VertebraRow)).all() == []


def test_who_lost_a_scan_changes_nothing(store):
    enter(store)
    late = queue.claim(store, "slow", now=0.0)
    assert queue.take_back(store, never, now=LEASE_S + 1) == 1
    job = queue.claim(store, "quick", now=LEASE_S + 2)
    out = write(store)
    assert not queue.finish(store, late, reading(), out, now=700.0)
    assert out.exists()
    assert not queue.renew(store, late, now=700.0)
    for end in (queue.skip, queue.fail):
        assert end(store, late, "late", now=700.0) is None
    assert queue.put_back(store, late, now=700.0) is None
    assert (only(store).worker, only(store).attempts) == ("quick", 2)
    assert queue.finish(store, job, reading(), out, now=800.0)


def test_a_renewed_lease_is_not_taken_back(store):
    enter(store)
    job = queue.claim(store, "w", now=0.0)
    assert queue.renew(store, job, now=500.0)
    assert queue.take_back(store, never, now=LEASE_S + 1) == 0
    assert queue.take_back(store, never, now=500.0 + LEASE_S + 1) == 1


def test_what_a_dead_worker_held_is_taken_back_at_once(store):
    for key in "ab":
        enter(store, key)
    queue.claim(store, "dead", now=0.0)
    queue.claim(store, "alive", now=0.0)
    assert queue.take_back(store, lambda worker: worker == "dead", now=1.0) == 1
    assert queue.claim(store, "new", now=1.0).source.name == "a"


def test_a_scan_that_ends_the_program_every_time_is_given_up(store):
    enter(store)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert queue.claim(store, "w", now=0.0).attempt == attempt
        queue.take_back(store, lambda worker: True, now=0.0)
    assert queue.claim(store, "w", now=0.0) is None
    assert only(store).status == FAILED
    assert only(store).reason == f"the reading program ended {MOST_ATTEMPTS} times while it read this scan"


def test_a_failure_is_tried_once_more(store):
    enter(store)
    assert queue.fail(store, queue.claim(store, "w", now=0.0), "crashed", now=1.0) == QUEUED
    assert queue.fail(store, queue.claim(store, "w", now=2.0), "crashed again", now=3.0) == FAILED
    assert (only(store).reason, only(store).failures) == ("crashed again", 2)


def test_a_scan_put_back_waits_as_long_as_asked(store):
    enter(store)
    assert queue.put_back(store, queue.claim(store, "w", now=0.0), now=5.0, pause_s=60.0) == QUEUED
    assert (queue.claim(store, "w", now=64.0), queue.next_ready(store)) == (None, 65.0)
    assert queue.claim(store, "w", now=65.0).attempt == 1


def test_retry_queues_what_was_tried_and_not_what_never_could_be(store):
    enter(store, "a")
    enter(store, "b", reason="no series")
    queue.skip(store, queue.claim(store, "w", now=0.0), "broken", now=1.0)
    assert queue.count(store) == {QUEUED: 0, READING: 0, DONE: 0, SKIPPED: 2, FAILED: 0}
    assert queue.retry(store) == 1
    assert queue.count(store)[QUEUED] == 1
    job = queue.claim(store, "w", now=2.0)
    assert (job.source.name, job.attempt) == ("a", 1)


def test_the_rate_counts_what_ended_since_a_moment(store):
    for key in "abc":
        enter(store, key)
    enter(store, "d", reason="never read, so not counted")
    queue.skip(store, queue.claim(store, "w", now=0.0), "broken", now=10.0)
    queue.skip(store, queue.claim(store, "w", now=0.0), "broken", now=20.0)
    assert (queue.count_since(store, 5.0), queue.count_since(store, 15.0)) == (2, 1)
