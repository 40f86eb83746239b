"""A reader in its own process: what it may cost, and how it ends."""

import os
import time
from pathlib import Path

import psutil
import pytest

from spinelab.archive import process as module
from spinelab.archive.jobs import Job, Refusal
from spinelab.archive.process import Limits, ReaderProcess, resident_mb
from spinelab.errors import ModelError, OutputError
from tests.archive import readers
from tests.archive.scans import write_file


@pytest.fixture(autouse=True)
def _quick_start(monkeypatch):
    monkeypatch.setattr(module, "_START", "fork")


@pytest.fixture
def job(tmp_path):
    def make(value):
        source = write_file(tmp_path / f"{value}.nrrd", value)
        return Job(1, "case-1", source, (), "volume", "w", 1)

    return make


def read(process, job, out, still_ours=lambda: True):
    return process.read(job, out, still_ours=still_ours)


def test_results_come_back_and_the_process_is_kept(job, tmp_path):
    with ReaderProcess(readers.read_value) as process:
        assert read(process, job(41), tmp_path).spine == readers.spine_of(41)
        first = process._process.pid
        assert read(process, job(42), tmp_path).spine == readers.spine_of(42)
        assert process._process.pid == first != os.getpid()
    assert not psutil.pid_exists(first)


def test_spawned_processes_do_the_same(job, tmp_path, monkeypatch):
    monkeypatch.undo()
    assert module._START == "spawn"
    with ReaderProcess(readers.read_value) as process:
        assert read(process, job(41), tmp_path).spine == readers.spine_of(41)


@pytest.mark.parametrize(
    ("value", "reason", "final"),
    [
        (readers.CRASH, "the reading process ended by signal SIGKILL", False),
        (readers.RAISE, "unexpected error, ValueError: odd", False),
        (readers.REFUSE, "no spine in sight; give another", True),
    ],
)
def test_a_bad_scan_costs_itself_and_the_next_one_is_read(job, tmp_path, value, reason, final):
    with ReaderProcess(readers.read_value) as process:
        assert read(process, job(value), tmp_path) == Refusal(reason, final)
        assert read(process, job(42), tmp_path).spine == readers.spine_of(42)


def test_a_scan_that_takes_too_long_is_given_up(job, tmp_path):
    with ReaderProcess(readers.read_value, Limits(seconds=0.3)) as process:
        refusal = read(process, job(readers.HANG), tmp_path)
        assert refusal == Refusal("took longer than the limit of 0.005 minutes", final=False)
        assert read(process, job(42), tmp_path).spine == readers.spine_of(42)


def test_a_scan_that_takes_too_much_memory_is_given_up(job, tmp_path, monkeypatch):
    monkeypatch.undo()  # what a forked process weighs depends on the tests that ran before
    limit_mb = 450.0
    with ReaderProcess(readers.read_value, Limits(memory_mb=limit_mb)) as process:
        refusal = read(process, job(readers.HOG), tmp_path)
    assert refusal == Refusal(f"needed more memory than the limit of {limit_mb / 1000:g} GB", final=False)


def test_a_process_that_keeps_memory_is_replaced(job, tmp_path, monkeypatch):
    monkeypatch.undo()
    with ReaderProcess(readers.read_value, Limits(memory_mb=600.0)) as process:
        read(process, job(42), tmp_path)
        assert process._process is not None
        assert read(process, job(readers.KEEP), tmp_path).spine == readers.spine_of(readers.KEEP)
        assert process._process is None
        assert read(process, job(42), tmp_path).spine == readers.spine_of(42)


def test_a_scan_somebody_else_took_over_is_left(job, tmp_path):
    with ReaderProcess(readers.read_value) as process:
        refusal = read(process, job(readers.HANG), tmp_path, still_ours=lambda: False)
    assert refusal == Refusal("another worker has taken it over", final=False)


def test_what_no_scan_is_to_blame_for_is_raised(job, tmp_path):
    with (
        ReaderProcess(readers.read_value) as process,
        pytest.raises(ModelError, match="weights are missing; reinstall"),
    ):
        read(process, job(readers.NO_WEIGHTS), tmp_path)


def test_out_of_room_for_results_is_raised_and_trouble_with_the_scan_is_not(job, tmp_path):
    full = OSError(28, "No space left on device", str(tmp_path / "out" / "mask"))
    assert isinstance(module._explain(full, tmp_path / "out"), OutputError)
    stale = OSError(116, "Stale file handle", "/share/scan")
    assert module._explain(stale, tmp_path / "out") == Refusal(
        "cannot be read: Stale file handle", final=False
    )
    assert module._explain(MemoryError(), tmp_path) == Refusal("needs more memory than there is", final=False)


def test_the_reader_ends_with_its_worker(job, tmp_path):
    started = tmp_path / "pid"
    worker = os.fork()
    if worker == 0:
        with ReaderProcess(readers.read_value) as process:
            read(process, job(42), tmp_path)
            started.write_text(str(process._process.pid))
            time.sleep(60)
    while not (started.exists() and started.read_text()):
        time.sleep(0.01)
    reader = int(started.read_text())
    os.kill(worker, 9)
    os.waitpid(worker, 0)
    until = time.monotonic() + 10
    while Path(f"/proc/{reader}").exists() and psutil.Process(reader).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_memory_of_a_process_that_has_ended_is_none():
    assert resident_mb(os.getpid()) > 10
    assert resident_mb(2**22 + 1) == 0.0
