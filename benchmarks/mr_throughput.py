"""Time `spinelab locate` on one MR volume of 224x224x61 voxels and on many, and write docs/results.md's part.

    python benchmarks/mr_throughput.py [--data shared/data/mr] [--scans 20] [--write docs/results.md]

The volumes are the real T2 stacks of the data, resampled in temporary files to 224x224x61 voxels over their
own field of view (about 1.4x1.4x1.25 mm), and given again under other names until there are enough. Both runs
are the command a user types, in processes of their own. Wall times on a busy machine say little, so processor
time stands beside them.
"""

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from held_out import replace_section
from measured import Run, describe_machine, run_measured, stop_on_failure

import spinelab
from spinelab.io import write_image
from spinelab.volume import Geometry, Image

ROOT = Path(__file__).parents[1]
SHAPE = (61, 224, 224)
ASKED_S, ASKED_MB = 3.0, 1000.0
#: How many scans a population study has.
STUDY = 30_000
START = "from spinelab.cli import main; main()"


@dataclass(frozen=True)
class Throughput:
    """What was measured.

    Attributes:
        machine: Processor, cores, other load.
        one: The command on one volume, the better of two.
        many: The command on the folder.
        scans: How many scans the folder held.
    """

    machine: str
    one: Run
    many: Run
    scans: int

    @property
    def wall_s(self) -> float:
        """Seconds a further scan takes: start-up and first scan left out."""
        return (self.many.wall_s - self.one.wall_s) / (self.scans - 1)

    @property
    def cpu_s(self) -> float:
        """Processor seconds of a further scan."""
        return (self.many.cpu_s - self.one.cpu_s) / (self.scans - 1)


def make_volume(source: Path) -> Image:
    """Returns a real stack on `SHAPE` voxels (left, back, head) over its own field of view."""
    image = spinelab.read(source).reoriented("LPS")
    extent = np.asarray(image.geometry.shape) * image.spacing_mm
    grid = image.geometry.resampled((extent / SHAPE).tolist())
    grid = Geometry(SHAPE, grid.affine)
    array = image.resampled(grid, outside=0.0).array
    return Image(np.rint(array).astype(np.int16), grid, "MR")


def locate(scans: list[Path], *, threads: int) -> Run:
    """Runs ``spinelab locate`` into a folder that is deleted."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["-o", folder, "--quiet", "--threads", str(threads)]
        command = [sys.executable, "-c", START, "locate", *map(str, scans), *options]
        run = run_measured(command, threads=threads)
        stop_on_failure(run, command)
        return run


def measure(data: Path, *, scans: int, threads: int) -> Throughput:
    """Makes the volumes, times one and all of them."""
    sources = sorted(data.glob("lumbar_t2_*_t2.nii.gz"))
    if not sources:
        sys.exit(f"no lumbar_t2_*_t2.nii.gz in {data}; name the folder with --data")
    machine = describe_machine(threads)
    with tempfile.TemporaryDirectory() as folder:
        volumes = [make_volume(source) for source in sources[:scans]]
        for k in range(scans):
            write_image(volumes[k % len(volumes)], Path(folder) / f"scan_{k:03d}.nii.gz")
        first = Path(folder) / "scan_000.nii.gz"
        one = min((locate([first], threads=threads) for _ in range(2)), key=lambda run: run.wall_s)
        many = locate([Path(folder)], threads=threads)
    return Throughput(machine, one, many, scans)


def render(found: Throughput, threads: int) -> str:
    """Returns the Markdown section."""
    hours, cpu_hours = STUDY * found.wall_s / 3600, STUDY * found.cpu_s / 3600
    rows = [
        ("one volume, command to exit", f"{found.one.wall_s:.1f} s", f"at most {ASKED_S:.0f} s"),
        ("processor time of the same", f"{found.one.cpu_s:.1f} s", ""),
        ("its peak memory", f"{found.one.peak_mb:.0f} MB", f"at most {ASKED_MB:.0f} MB"),
        (f"{found.scans} volumes, a further scan", f"{found.wall_s:.2f} s", ""),
        ("processor time of the same", f"{found.cpu_s:.2f} s", ""),
        ("scans an hour", f"{3600 / found.wall_s:.0f}", ""),
        (f"the same by processor time, {threads} cores free", f"{3600 * threads / found.cpu_s:.0f}", ""),
        (f"{STUDY:,} scans on this machine", f"{hours:.0f} hours", ""),
        (f"the same by processor time, {threads} cores free", f"{cpu_hours / threads:.0f} hours", ""),
        ("peak memory of the run", f"{found.many.peak_mb:.0f} MB", ""),
    ]
    return "\n".join(
        [
            f"{found.machine}.",
            "Real T2 stacks resampled to 224x224x61 voxels; every file of a result is written.",
            "",
            "| measured | found | asked |",
            "| --- | ---: | --- |",
            *[f"| {' | '.join(row)} |" for row in rows],
        ]
    )


def main() -> None:
    """Reads the arguments and measures."""
    parser = argparse.ArgumentParser(description="Time spinelab locate on one MR volume and on many.")
    default = Path(os.environ.get("SPINELAB_DATA", ROOT.parent / "shared" / "data")) / "mr"
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--scans", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    if arguments.scans < 2:
        parser.error("--scans needs at least 2")
    text = render(
        measure(arguments.data, scans=arguments.scans, threads=arguments.threads), arguments.threads
    )
    print(text)
    if arguments.write:
        replace_section(arguments.write, "mr_throughput", text + "\n")


if __name__ == "__main__":
    main()
