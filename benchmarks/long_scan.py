"""Time `spinelab analyze` on simulated scans of growing length, up to 1,000 slices of 512x512.

    python benchmarks/long_scan.py [SCAN] [--slices 133 266 532 1000] [--slice-mm 1.0] [--json]

The scans are one real scan reflected head to foot again and again (lengthen.py), in temporary files. The
column "off the line" compares each time with the straight line through all of them: a cost that grows faster
than the length shows as plus, minus, minus, plus. Locate sees the whole scan, walk and outline each vertebra.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from measured import HERE, analyze, describe_machine, find_demo_scan, run_measured, stop_on_failure

ASKED_MB = 4000.0


@dataclass(frozen=True)
class Length:
    """What `analyze` cost on one length of scan."""

    slices: int
    vertebrae: int
    total_s: float
    peak_mb: float
    stages_s: dict[str, float]


def fit_line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Returns intercept and slope of the straight line nearest to the points (least squares).

    Example:
        >>> fit_line([0, 1, 2], [1, 3, 5])
        (1.0, 2.0)
    """
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    if spread == 0:
        raise ValueError(f"a line needs two different lengths, found {list(x)}")
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    return mean_y - slope * mean_x, slope


def measure_length(scan: Path, slices: int, *, slice_mm: float, threads: int) -> Length:
    """Makes the scan of so many slices, analyses it and deletes it."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"long_{slices}.nii"
        make = [sys.executable, str(HERE / "lengthen.py"), str(scan), str(target)]
        make += ["--slices", str(slices), "--slice-mm", str(slice_mm)]
        stop_on_failure(run_measured(make, threads=threads), make)
        run, spine = analyze(target, threads=threads)
    return Length(slices, len(spine["vertebrae"]), run.wall_s, run.peak_mb, spine["manifest"]["seconds"])


def render(rows: Sequence[Length]) -> str:
    """Returns the lengths as a Markdown table with the line through them."""
    intercept, slope = fit_line([row.slices for row in rows], [row.total_s for row in rows])
    lines = [
        "| slices | vertebrae | seconds | off the line | locate | walk | outline | peak MB |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        off_s = row.total_s - (intercept + slope * row.slices)
        stages = ("locate", "walk", "outline")
        parts = [f"{row.stages_s[name]:.1f}" if name in row.stages_s else "-" for name in stages]
        cells = [f"{row.total_s:.1f}", f"{off_s:+.1f}", *parts, f"{row.peak_mb:.0f}"]
        lines.append(f"| {row.slices} | {row.vertebrae} | {' | '.join(cells)} |")
    worst = max(row.peak_mb for row in rows)
    verdict = "within" if worst <= ASKED_MB else "OVER"
    lines += ["", f"Line: {intercept:.1f} s + {100 * slope:.2f} s per 100 slices."]
    return "\n".join([*lines, f"Largest peak {worst:.0f} MB, {verdict} the {ASKED_MB:.0f} MB asked for."])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scan", type=Path, nargs="?", help="NIfTI, NRRD or MHA file to repeat")
    parser.add_argument("--slices", type=int, nargs="+", default=[133, 266, 532, 1000])
    parser.add_argument("--slice-mm", type=float, default=1.0, help="distance between the slices made")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if len(set(options.slices)) < 2:
        parser.error("--slices needs at least two different lengths")
    scan = options.scan or find_demo_scan()
    machine = describe_machine(options.threads)
    rows = [
        measure_length(scan, slices, slice_mm=options.slice_mm, threads=options.threads)
        for slices in options.slices
    ]
    if options.json:
        print(json.dumps({"machine": machine, "lengths": [asdict(row) for row in rows]}, indent=1))
    else:
        print(f"{machine}.\n\n{render(rows)}")


if __name__ == "__main__":
    main()
