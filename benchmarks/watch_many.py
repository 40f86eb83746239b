"""A long run of `watch` over small synthetic studies: killed once half-way, taken up again; rate and memory.

    python benchmarks/watch_many.py [--studies 1000] [--write docs/results.md]

The studies are those of `watch_kills` (DICOM series with a localizer, NRRD files, copies, broken files), the
reader only looks at their voxels: what is measured is everything around the reading of a scan. Memory is the
resident size of the worker with its reading process (pages they share count twice), looked at every half
second.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from held_out import replace_section
from watch_kills import Verdict, add_study, judge, kill_with_children, open_results, work

SECTION = "watch_many"
_LOOK_S = 0.5


@dataclass(frozen=True)
class Run:
    """What a long run came to.

    Attributes:
        studies: How many there were.
        killed_after: Readings begun when the first worker was killed.
        seconds: Both workers together.
        an_hour: Studies read an hour.
        processor_s: Processor time of the second worker and its reader.
        early_mb, late_mb: Largest resident memory in the second and in the last quarter of the second run
            (the first goes by with starting).
        verdict: What was lost, doubled or damaged.
    """

    studies: int
    killed_after: int
    seconds: float
    an_hour: float
    processor_s: float
    early_mb: float
    late_mb: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Look:
    """A process and its children at one moment."""

    memory_mb: float
    processor_s: float


def run_long(root: Path, studies: int, tell: Callable[[str], None]) -> Run:
    """Reads a folder of studies, killing the worker half-way; returns what it took.

    Args:
        root: Empty folder to work in.
        studies: How many.
        tell: Called with how it goes.
    """
    folder, log, database = root / "in", root / "begun.txt", str(root / "results.db")
    folder.mkdir()
    log.touch()
    kinds = [add_study(folder, number) for number in range(studies)]
    readable = sum(kind in ("dicom", "nrrd") for kind in kinds)
    tell(f"{studies} studies laid out")
    began = time.monotonic()
    first = _start(folder, database, log)
    _follow(first, until=lambda: _count(log) >= readable // 2, tell=lambda: tell(f"{_count(log)} begun"))
    kill_with_children(first)
    killed_after = _count(log)
    looks = _follow(
        _start(folder, database, log), until=lambda: False, tell=lambda: tell(f"{_count(log)} begun")
    )
    seconds = time.monotonic() - began
    store = open_results(root, database)
    try:
        verdict = judge(store, kinds, log)
    finally:
        store.close()
    quarter = max(1, len(looks) // 4)
    parts = (looks[quarter : 2 * quarter] or looks, looks[-quarter:])
    early, late = (max(look.memory_mb for look in part) for part in parts)
    spent = max(look.processor_s for look in looks)
    rate = 3600 * verdict.read / seconds
    return Run(
        studies, killed_after, round(seconds), round(rate), round(spent), round(early), round(late), verdict
    )


def _start(folder: Path, database: str, log: Path) -> psutil.Process:
    command = [sys.executable, __file__, "--work", str(folder), database, str(log)]
    return psutil.Process(subprocess.Popen(command, stdout=subprocess.DEVNULL).pid)


def _follow(worker: psutil.Process, *, until: Callable[[], bool], tell: Callable[[], None]) -> list[_Look]:
    """Looks at a worker until it ends or a condition holds."""
    looks: list[_Look] = []
    while not until():
        look = _look_at(worker)
        if look is None:
            break
        looks.append(look)
        if len(looks) % 60 == 0:
            tell()
        time.sleep(_LOOK_S)
    return looks


def _look_at(worker: psutil.Process) -> _Look | None:
    """Returns a worker's memory and time with its children's; None once it has ended."""
    memory = spent = 0.0
    try:
        if worker.status() == psutil.STATUS_ZOMBIE:
            return None
        for process in (worker, *worker.children(recursive=True)):
            memory += process.memory_info().rss / 2**20
            times = process.cpu_times()
            spent += times.user + times.system
    except psutil.NoSuchProcess:
        return _Look(memory, spent) if worker.is_running() else None
    return _Look(memory, spent)


def _count(log: Path) -> int:
    return len(log.read_text(encoding="utf-8").splitlines())


def render(run: Run) -> str:
    """Returns the figures as a table."""
    v = run.verdict
    rows = [
        ("studies; of these readable, copies and broken files the rest", f"{run.studies}; {v.readable}"),
        ("worker killed, and another one started, after", f"{run.killed_after} readings"),
        ("results, rows of the work list", f"{v.read}, {v.listed}"),
        ("lost, doubled, damaged, left half written", f"{v.lost}, {v.doubled}, {v.damaged}, {v.left}"),
        ("time; rate", f"{run.seconds:.0f} s; {run.an_hour:.0f} an hour"),
        ("processor time of the second worker", f"{run.processor_s:.0f} s"),
        ("memory, second and last quarter of its run", f"{run.early_mb:.0f} and {run.late_mb:.0f} MB"),
    ]
    return "\n".join(["| | |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)]) + "\n"


def main() -> None:
    """Runs from the command line; ends with 1 if anything was lost, doubled or damaged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--write", type=Path, help="page with markers of the section")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        folder, database, log = asked.work
        work(Path(folder), database, Path(log), once=True)
        return
    root = Path(tempfile.mkdtemp(prefix="watch-many-"))
    try:
        run = run_long(root, asked.studies, tell=lambda text: print(text, file=sys.stderr, flush=True))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps(asdict(run), indent=2))
    if asked.write is not None:
        replace_section(asked.write, SECTION, render(run))
    sys.exit(0 if run.verdict.passed else 1)


if __name__ == "__main__":
    main()
