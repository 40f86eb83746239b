"""A worker killed again and again loses and doubles nothing; benchmarks/watch_kills.py does it for longer."""

import multiprocessing
import sys
from pathlib import Path

import pytest

from spinelab.archive import process

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import watch_kills


def start(folder, database, log):
    """Starts a worker from this process, which has everything loaded."""
    context = multiprocessing.get_context("fork")
    worker = context.Process(target=watch_kills.work, args=(folder, database, log), kwargs={"once": False})
    worker.start()
    return worker.pid


@pytest.fixture
def _quick(monkeypatch):
    monkeypatch.setattr(process, "_START", "fork")
    monkeypatch.setattr(watch_kills, "_START_S", 0.3)


@pytest.mark.usefixtures("_quick")
def test_nothing_is_lost_or_doubled(tmp_path):
    verdict = watch_kills.kill_again_and_again(tmp_path, studies=30, kills=8, seed=3, start=start)
    assert verdict.passed, verdict
    assert (verdict.readable, verdict.read, verdict.broken) == (24, 24, 3)
    assert verdict.begun >= 27


@pytest.mark.usefixtures("_quick")
def test_the_count_notices_what_is_wrong(tmp_path):
    verdict = watch_kills.kill_again_and_again(tmp_path, studies=4, kills=0, seed=1, start=start)
    assert verdict.passed
    store = watch_kills.open_results(tmp_path, str(tmp_path / "results.db"))
    kinds = ["dicom", "dicom", "dicom", "nrrd"]
    log = tmp_path / "begun.txt"
    assert watch_kills.judge(store, [*kinds, "dicom"], log).lost == 1
    case = log.read_text().split()[0]
    (store.files / case / f"{case}_mask.txt").write_text("other")
    assert watch_kills.judge(store, kinds, log).damaged == 1
    (store.files / "case-stray").mkdir()
    assert watch_kills.judge(store, kinds, log).left == 1
    log.write_text(log.read_text() + f"{case} 2 9e12\n")
    verdict = watch_kills.judge(store, kinds, log)
    assert verdict.doubled == 1
    assert not verdict.passed
    store.close()
