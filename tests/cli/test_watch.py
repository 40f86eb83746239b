"""`spinelab watch` and `spinelab worklist` as they are typed."""

import csv
import json
import os
import signal
import sys
import threading
from functools import partial

import pytest

from spinelab.archive import process
from spinelab.archive import watch as watching
from spinelab.cli import watch as verb
from spinelab.cli.app import run
from tests.archive.readers import CRASH, HANG, read_value
from tests.archive.scans import write_file


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(process, "_START", "fork")
    monkeypatch.setattr(watching, "watch", partial(watching.watch, reader=read_value))
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def folder(tmp_path):
    for value in (30, 60):
        write_file(tmp_path / "in" / f"Jane Doe {value}.nrrd", value)
    return tmp_path / "in"


def watch(folder, *more):
    database = folder.parent / "results.db"
    return run(
        ["watch", str(folder), "-r", str(database), "--once", "--settle-s", "0", "--poll-s", "0.1", *more]
    )


def worklist(folder, *more):
    return run(["worklist", "-r", str(folder.parent / "results.db"), *more])


def test_a_run_tells_each_scan_the_rate_and_where_the_list_is(folder, capsys):
    assert watch(folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[0 done, 2 left] 2 new scans to read"
    assert lines[1].startswith("[1 done, 1 left, ")
    assert " an hour, " in lines[1]
    assert " to go] case-" in lines[1]
    assert lines[1].endswith(": L1, grade 2 wedge, 30 % height loss, probability 0.30 (0 s)")
    assert lines[3].startswith("2 read, 0 skipped, 0 failed in ")
    assert lines[4] == f"work list: {folder.parent / 'results_files' / 'worklist.csv'}"
    assert "Jane" not in "\n".join(lines[:4])


def test_quiet_says_nothing(folder, capsys):
    assert watch(folder, "--quiet") == 0
    assert capsys.readouterr().out == ""


def test_a_scan_given_up_gives_exit_code_2(folder, capsys):
    write_file(folder / "crash.nrrd", CRASH)
    assert watch(folder) == 2
    out = capsys.readouterr().out
    assert "again: the reading process ended by signal SIGKILL" in out
    assert "failed: the reading process ended by signal SIGKILL" in out
    assert "2 read, 0 skipped, 1 failed" in out


def test_the_list_is_shown_the_worst_first(folder, capsys):
    watch(folder, "--quiet")
    assert worklist(folder) == 0
    first, second, counts = capsys.readouterr().out.splitlines()
    assert "    1  case-" in first
    assert "60 % height loss" in first
    assert "30 % height loss" in second
    assert counts == "0 queued, 0 reading, 2 done, 0 skipped, 0 failed"


def test_paths_are_shown_when_asked_for(folder, capsys):
    watch(folder, "--quiet")
    worklist(folder, "--paths", "--limit", "1")
    assert str(folder / "Jane Doe 60.nrrd") in capsys.readouterr().out


def test_json_and_csv(folder, capsys, tmp_path):
    watch(folder, "--quiet")
    assert worklist(folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"]["done"] == 2
    assert [scan["height_loss_percent"] for scan in told["scans"]] == [60.0, 30.0]
    assert worklist(folder, "--out", str(tmp_path / "list.csv")) == 0
    with (tmp_path / "list.csv").open(newline="") as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == [scan["case"] for scan in told["scans"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["watch", "/nowhere", "-r", "{}/r.db", "--once"], "/nowhere cannot be listed"),
        (["watch", "{}", "-r", "postgresql://host/name"], "give one (--files)"),
        (["watch", "{}", "-r", "{}/r.db", "--poll-s", "-1"], "poll_s is -1.0, wanted 0 or more"),
        (["worklist", "-r", "{}/none.db"], "there is no results database"),
        (["watch", "{}"], "Missing option '--results'"),
    ],
)
def test_mistakes_end_with_2_and_one_line(arguments, message, tmp_path, capsys):
    assert run([argument.format(tmp_path) for argument in arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1


def test_without_the_extra_it_says_what_to_install(folder, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("spinelab.archive.")]:
        if not name.endswith("options"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert watch(folder) == 2
    assert "the archive needs the package psutil, which is not installed; pip install spinelab[archive]" in (
        capsys.readouterr().err
    )


def test_a_polite_end_gives_the_scan_back(folder, capsys):
    write_file(folder / "A hangs.nrrd", HANG)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    assert watch(folder) == 2
    timer.join()
    assert "stopped; nothing half written was left" in capsys.readouterr().err
    worklist(folder)
    assert capsys.readouterr().out.endswith("3 queued, 0 reading, 0 done, 0 skipped, 0 failed\n")


def test_summaries_and_durations():
    summary = watching.WatchSummary(read=3, skipped=1, failed=0, seconds=3661.0, arriving=2)
    assert verb._summarize(summary) == (
        "3 read, 1 skipped, 0 failed in 1 h 1 min; 2 places were still changing and are left for the next run"
    )
    assert [verb._duration(seconds) for seconds in (42, 150, 7300)] == ["42 s", "2 min 30 s", "2 h 1 min"]
