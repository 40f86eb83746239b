"""Whole runs: good, bad and broken scans, several workers, interruptions."""

import csv
import multiprocessing
import shutil
import threading
import time

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from spinelab.archive import process, queue
from spinelab.archive import watch as module
from spinelab.archive.options import WatchOptions
from spinelab.archive.store import open_store
from spinelab.archive.tables import DONE, FAILED, QUEUED, READING, SKIPPED, Scan
from spinelab.archive.watch import INCOMING, WORKLIST, watch
from spinelab.archive.worklist import list_work
from spinelab.errors import InputError, ModelError, OutputError, UnreadableError
from tests.archive import readers
from tests.archive.scans import write_file, write_study

ONCE = WatchOptions(once=True, poll_s=0.1, settle_s=0.0)


@pytest.fixture(autouse=True)
def _quick_start(monkeypatch):
    monkeypatch.setattr(process, "_START", "fork")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def run(store, folder, options=ONCE, tell=lambda event: None):
    return watch(store, folder, options, reader=readers.read_value, tell=tell)


def by_source(store):
    with store.reading() as session:
        return {scan.source.rpartition("/")[2]: scan.status for scan in session.scalars(select(Scan))}


def test_everything_is_read_once_and_listed(store, folder):
    for value in (30, 60, 45):
        write_file(folder / f"{value}.nrrd", value)
    write_study(folder / "study", 50, "1.2.1003.1")
    events = []
    summary = run(store, folder, tell=events.append)
    assert (summary.read, summary.skipped, summary.failed, summary.arriving) == (4, 0, 0, 0)
    with (store.files / WORKLIST).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["height_loss_percent"] for row in rows] == ["60.0", "50.0", "45.0", "30.0"]
    for item in list_work(store):
        text = (store.files / item.case / f"{item.case}_spine.json").read_text()
        assert float(text) == item.height_loss_percent
    assert [event.kind for event in events] == ["looked", "read", "read", "read", "read"]
    assert [(event.done, event.queued) for event in events] == [(0, 4), (1, 3), (2, 2), (3, 1), (4, 0)]
    assert events[0].per_hour is None
    assert events[2].left_s == pytest.approx(3600 * 2 / events[2].per_hour)
    assert run(store, folder).read == 0
    assert list((store.files / INCOMING).iterdir()) == []


def test_a_long_look_is_told_about_and_reading_begins_before_it_ends(store, folder, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_AT_ONCE_S", 0.0)
    for value in (30, 60):
        write_file(folder / f"{value}.nrrd", value)
    events = []
    assert run(store, folder, tell=events.append).read == 2
    assert [event.kind for event in events][:4] == ["looking", "read", "looking", "read"]
    assert events[0].text == "1 places seen, 1 new scans so far"
    assert [event.text for event in events if event.kind == "looked"] == ["2 new scans to read"]


def test_bad_scans_among_good_ones(store, folder):
    write_file(folder / "good.nrrd", 40)
    for name, value in (("crash", readers.CRASH), ("odd", readers.RAISE), ("refused", readers.REFUSE)):
        write_file(folder / f"{name}.nrrd", value)
    whole = (folder / "good.nrrd").read_bytes()
    (folder / "cut.nrrd").write_bytes(whole[: len(whole) - 20])
    (folder / "empty.nii.gz").write_bytes(b"")
    (folder / "letter.zip").write_text("not a zip")
    summary = run(store, folder)
    assert (summary.read, summary.skipped, summary.failed) == (1, 4, 2)
    assert by_source(store) == {
        "good.nrrd": DONE,
        "crash.nrrd": FAILED,
        "odd.nrrd": FAILED,
        "refused.nrrd": SKIPPED,
        "cut.nrrd": SKIPPED,
        "empty.nii.gz": SKIPPED,
        "letter.zip": SKIPPED,
    }
    assert all(item.finding for status in (SKIPPED, FAILED) for item in list_work(store, status=status))


def test_a_retry_reads_what_failed_before(store, folder):
    path = write_file(folder / "a.nrrd", readers.REFUSE)
    run(store, folder)
    assert by_source(store) == {"a.nrrd": SKIPPED}
    assert run(store, folder).skipped == 0
    assert run(store, folder, WatchOptions(once=True, poll_s=0.1, settle_s=0.0, retry=True)).skipped == 1
    assert path.exists()


def test_a_scan_that_changes_while_it_is_read_is_read_again_when_it_rests(store, folder):
    write_file(folder / "a.nrrd", readers.CHANGE)
    events = []

    def tell(event):
        events.append((event.kind, event.text))
        if event.kind == "again":
            write_file(folder / "a.nrrd", 40)

    summary = run(store, folder, tell=tell)
    assert events[1] == ("again", "its files changed while it was read")
    assert summary.read == 1
    assert [item.height_loss_percent for item in list_work(store)] == [40.0]


def test_a_scan_that_goes_away_is_skipped_and_read_when_it_is_back(store, folder):
    path = write_file(folder / "a.nrrd", 40)
    copy = shutil.copy(path, folder.parent / "copy")
    write_file(folder / "b.nrrd", readers.VANISH)

    def take_away(event):
        if event.kind == "looked":
            path.unlink(missing_ok=True)

    summary = run(store, folder, tell=take_away)
    assert (summary.read, summary.skipped) == (0, 2)
    assert all("no longer where they were" in item.finding for item in list_work(store, status=SKIPPED))
    shutil.copy(copy, path)
    assert run(store, folder).read == 1


def test_missing_weights_end_the_run_and_leave_the_queue_as_it_was(store, folder):
    write_file(folder / "a.nrrd", readers.NO_WEIGHTS)
    write_file(folder / "b.nrrd", 40)
    with pytest.raises(ModelError, match="weights are missing"):
        run(store, folder)
    assert set(by_source(store).values()) == {QUEUED}
    assert list((store.files / INCOMING).iterdir()) == []


def test_an_interrupted_run_gives_its_scan_back(store, folder, monkeypatch):
    write_file(folder / "a.nrrd", 40)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(process.ReaderProcess, "read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(store, folder)
    with store.reading() as session:
        assert [(scan.status, scan.attempts) for scan in session.scalars(select(Scan))] == [(QUEUED, 0)]


def test_what_a_killed_worker_left_is_taken_up_and_cleared(store, folder):
    write_file(folder / "a.nrrd", 40)
    run_once = module.Intake(store, folder, settle_s=0.0)
    run_once.look()
    job = queue.claim(store, "dead", now=0.0)
    (store.files / INCOMING / f"{job.case}.1").mkdir(parents=True)
    (store.files / INCOMING / f"{job.case}.1" / "half").write_text("")
    (store.files / INCOMING / f"{WORKLIST}.77").write_text("half a list")
    assert run(store, folder).read == 1
    assert list((store.files / INCOMING).iterdir()) == []


def test_a_work_list_whose_draft_was_cleared_away_is_written_again(store, folder, monkeypatch):
    write_worklist, tries = module.write_worklist, []

    def clear_once(items, path, *, draft):
        tries.append(draft)
        if len(tries) == 1:
            raise OutputError("gone") from FileNotFoundError()
        write_worklist(items, path, draft=draft)

    monkeypatch.setattr(module, "write_worklist", clear_once)
    module._write_list(store)
    assert (store.files / WORKLIST).exists()
    assert len(tries) == 2


def test_what_another_worker_writes_is_left_alone(store, folder):
    write_file(folder / "a.nrrd", 40)
    module.Intake(store, folder, settle_s=0.0).look()
    job = queue.claim(store, "elsewhere/1/2:7:1", now=time.time())
    theirs = store.files / INCOMING / f"{job.case}.1"
    theirs.mkdir(parents=True)
    assert run(store, folder).read == 0
    assert theirs.exists()
    assert by_source(store) == {"a.nrrd": READING}


def _work(folder, database):
    process._START = "fork"
    store = open_store(database)
    run(store, folder)
    store.close()


def test_two_workers_share_the_work(store, folder, tmp_path):
    for value in range(20, 40):
        write_file(folder / f"{value}.nrrd", value)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(folder, tmp_path / "results.db")) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert sorted(item.height_loss_percent for item in list_work(store)) == [*range(20, 40)]
    with store.reading() as session:
        assert {scan.attempts for scan in session.scalars(select(Scan))} == {1}


def test_it_goes_on_watching_and_reads_what_arrives(store, folder):
    seen = threading.Event()
    write_file(folder / "a.nrrd", 30)

    def tell(event):
        if event.kind != "read":
            return
        if event.done == 1:
            write_file(folder / "b.nrrd", 40)
        else:
            seen.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(store, folder, WatchOptions(poll_s=0.05, settle_s=0.0), tell)
    assert seen.is_set()
    assert [item.height_loss_percent for item in list_work(store)] == [40.0, 30.0]


def test_once_waits_for_what_arrives_but_not_for_ever(store, folder):
    path = write_file(folder / "a.nrrd", 30)
    assert run(store, folder, WatchOptions(once=True, poll_s=0.1, settle_s=0.5)).read == 1
    counter = iter(range(10**6))

    def never_still(self, seen, now):
        write_file(path, 50 + next(counter))
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spinelab.archive.places.Settling.at_rest", never_still)
        write_file(path, 40)
        summary = run(store, folder, WatchOptions(once=True, poll_s=0.05, settle_s=0.01))
    assert (summary.read, summary.arriving) == (0, 1)


def test_a_folder_that_is_not_there_is_told(store, folder):
    with pytest.raises(UnreadableError, match="cannot be listed"):
        run(store, folder / "none")


def test_a_database_that_fails_is_told(store, folder, monkeypatch):
    def fail(*_, **__):
        raise OperationalError("UPDATE scan", {}, RuntimeError("database is locked"))

    monkeypatch.setattr(queue, "claim", fail)
    with pytest.raises(
        OutputError, match="the results database failed: database is locked; run the same command"
    ):
        run(store, folder)


def test_results_that_cannot_be_written_end_the_run(store, folder):
    write_file(folder / "a.nrrd", 40)
    (store.files / INCOMING).write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        run(store, folder)
    assert by_source(store) == {"a.nrrd": QUEUED}


@pytest.mark.parametrize("name", ["poll_s", "settle_s", "limit_minutes", "limit_gb", "threads"])
def test_odd_options_are_refused(name):
    with pytest.raises(InputError, match=f"{name} is -1, wanted 0 or more"):
        WatchOptions(**{name: -1})
    with pytest.raises(InputError, match="wanted 0 or more"):
        WatchOptions(poll_s=float("nan"))


def test_options_for_reading_are_passed_on(tmp_path):
    reading = WatchOptions(device="cuda", threads=3, weights=tmp_path).reading
    assert (reading.device, reading.threads, reading.weights) == ("cuda", 3, tmp_path)
