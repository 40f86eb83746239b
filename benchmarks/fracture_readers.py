"""Geometry, the fracture network and both together on simulated collapse of held-out patients' scans.

    SPINELAB_DATA=DATA python benchmarks/fracture_readers.py --cache FOLDER [--write docs/results.md]

Whole columns of scans the fracture network never saw are bent at random, one intact body in four is collapsed
by 5 to 65 %, the scan is sliced at 1.5, 2.5 and 5 mm, measured and read. The truth is the share of its own
former height that the simulator took away. False alarms: every held-out body as it is; what is graded was
looked at, and `SEEN` says what it is. Drawn columns are kept in the cache, and a second run only reads them.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from fracture_geometry import Answer, Score, score
from held_out import replace_section
from matplotlib.figure import Figure

from spinelab.models import Network, load
from spinelab.spine import Fracture, FractureReading
from spinelab.tasks.fracture import grade_of
from spinelab.tasks.fracture_crop import CROP_SHAPE, Crop, tell_facts
from spinelab.tasks.fracture_network import NAME, Combination, ask_of_crops, folder_of, join_readings
from spinelab.train.cases import Case
from spinelab.train.collapsed import Scan, open_scan, outline_case
from spinelab.train.fracture_cache import Kept, fill_cache, keep_samples, list_draws, load_samples, to_hu
from spinelab.train.fracture_draws import (
    KEPT_SHAPE,
    DrawOptions,
    Sample,
    keep_crop,
    measure_places,
    outline_drawn,
    slice_scan,
)
from spinelab.train.prepare import prepare

ROOT = Path(__file__).parents[1]
SECTION = "fracture_readers"
#: No gradient, threshold or choice of checkpoint of the fracture network saw them.
HELD_OUT = (
    "verse_005",
    "totalseg_abdomen",
    "lidc_0314",
    "hcc_006",
    "hcc_015",
    "lungfcp_01_0001",
    "lungdx_chest",
    "crlm_1006",
    "abdomen_5mm",
)
SLICES_MM = (1.5, 2.5, 5.0)
DRAWN = DrawOptions(0.25, tuple((mm, mm) for mm in SLICES_MM))
SEED, BOOTSTRAP = 99, 300
#: What intervals are told of.
FIGURES = ("error_percent", "kappa", "sensitivity", "specificity", "brier")
READERS = ("geometry", "network", "both")
COLORS = {"geometry": "tab:orange", "network": "tab:blue", "both": "black"}
#: What a look at the scan says of each graded body.
SEEN: dict[tuple[str, str], str] = {
    ("abdomen_5mm", "L1"): "true, likely: a fifth lower than T12 and L2, both endplates bent",
    ("abdomen_5mm", "L4"): "false: as high as its neighbours",
    ("crlm_1006", "L2"): "false: the outline is ragged at its corners",
    ("hcc_015", "T10"): "false: uppermost body in view, outline ragged; as high as T11 in thin slices",
    ("lidc_0314", "T6"): "false: as high as its neighbours",
    ("lungdx_chest", "T5"): "false: as high as its neighbours",
    ("lungfcp_01_0001", "T4"): "false: as high as T5; slices cut the tilted body into steps",
    ("totalseg_abdomen", "L1"): "true: known superior endplate defect",
}


@dataclass(frozen=True)
class Read:
    """One body: whose, what was done to it, and what each reader says.

    Attributes:
        case, level: Whose.
        slice_mm: Distance of the slices asked for.
        shape: Of the collapse; "none" where there is none.
        truth_percent: Height taken away, of the height that lost most.
        found: Reader -> its grade.
    """

    case: str
    level: str
    slice_mm: float
    shape: str
    truth_percent: float
    found: dict[str, Fracture]

    def answer(self, reader: str) -> Answer:
        """Returns what `fracture_geometry.score` counts."""
        return Answer("real", self.slice_mm, self.shape, self.truth_percent, self.found[reader])


def open_case(name: str, data: Path, cache: Path) -> Scan | None:
    """Opens a held-out column; a scan without outlines is outlined by the shipped networks."""
    mask = data / "ct" / f"{name}_vert.nii.gz"
    case = Case(name, data / "ct" / f"{name}_ct.nii.gz", mask if mask.exists() else None)
    if case.vertebrae is None:
        case = outline_case(case, cache / "outlined", threads=1)
    return open_scan(prepare(case, cache / "prepared", spacing_mm=None))


def gather_case(name: str, data: Path, cache: Path, draws: int) -> tuple[list[Path], Path]:
    """Returns the files of a case's drawn columns and of its bodies as they are, made where missing."""
    paths, found = list_draws(name, cache / "drawn", draws), cache / "found" / f"{name}.npz"
    if not found.exists() or not all(path.exists() for path in paths):
        scan = open_case(name, data, cache)
        assert scan is not None, f"{name} shows no column"
        if scan.intact:
            fill_cache([scan], cache / "drawn", draws=draws, seed=SEED, options=DRAWN)
        found.parent.mkdir(parents=True, exist_ok=True)
        if not found.exists():
            keep_samples(read_as_found(scan), found)
    return [path for path in paths if path.exists()], found


def read_as_found(scan: Scan) -> Iterator[Sample]:
    """Yields the bodies of a scan as they are, outlined and measured as in a new scan."""
    own = scan.image.spacing_mm[2]
    centers = {v.level: np.array(v.center_mm) for v in scan.found.vertebrae if v.level != "S"}
    for thickness in (own, *(mm for mm in SLICES_MM[-1:] if mm > 1.2 * own)):
        image, _ = slice_scan(scan.image, scan.mask, thickness, 0.5)
        drawn = outline_drawn(image, centers)
        for name, place in measure_places(*drawn).items():
            crop = keep_crop(image, drawn[0], name, place, drawn[2])
            if crop is not None:
                nothing = np.full(3, np.nan)
                yield Sample(
                    scan.name, name, "outlined", thickness, crop, nothing, (0.0, 0.0), 0.0, "", place[2]
                )


def read_all(kept: Kept, network: Network) -> list[Read]:
    """Lets the network read kept samples and joins it with what geometry reads of them."""
    combination = Combination.from_facts(network.facts)
    edge = [(a - b) // 2 for a, b in zip(KEPT_SHAPE, CROP_SHAPE, strict=True)]
    part = (slice(None), slice(edge[0], edge[0] + CROP_SHAPE[0]), slice(edge[1], edge[1] + CROP_SHAPE[1]))
    reads = []
    for grey, outline, row in zip(kept.grey, kept.outline, kept.rows, strict=True):
        if not row["geometry"]:
            continue
        crop = Crop(to_hu(grey[part].astype(np.float32)), outline[part], grey[part] > 0)
        facts = np.array([tell_facts(row["level"], row["slice_mm"])])
        (answer,) = ask_of_crops(network, [crop], facts)
        geometry = rebuild(row["geometry"])
        both = join_readings(geometry, answer, combination, slice_mm=row["slice_mm"])
        assert both.network is not None
        found = {"geometry": geometry, "network": as_grade(both.network), "both": both}
        nearest = min(SLICES_MM, key=lambda mm: abs(mm - row["slice_mm"]))
        truth = row["most_percent"][0]
        reads.append(Read(row["case"], row["level"], nearest, row["shape"] or "none", truth, found))
    return reads


def rebuild(data: dict[str, Any]) -> Fracture:
    """Returns a geometry reading from its JSON values."""
    known: dict[str, Any] = {f.name: data[f.name] for f in fields(Fracture) if f.name in data}
    known |= {key: tuple(value) for key, value in known.items() if isinstance(value, list)}
    return Fracture(**known)


def as_grade(reading: FractureReading) -> Fracture:
    """Returns one reader's word as a grade."""
    grade = grade_of(reading.height_loss_percent)
    return Fracture(
        True, reading.probability, grade, reading.shape if grade else None,
        reading.height_loss_percent, reading.interval_percent,
    )  # fmt: skip


# ---- figures ----------------------------------------------------------------------------------------------


def bootstrap(reads: Sequence[Read], reader: str) -> dict[str, tuple[float, float]]:
    """Returns the 95 % intervals of the figures of `Score`, patients drawn with replacement."""
    rng = np.random.default_rng(0)
    by_case: dict[str, list[Answer]] = {}
    for read in reads:
        by_case.setdefault(read.case, []).append(read.answer(reader))
    cases = sorted(by_case)
    values: dict[str, list[float]] = {name: [] for name in FIGURES}
    for _ in range(BOOTSTRAP):
        drawn = [answer for case in rng.choice(cases, len(cases)) for answer in by_case[str(case)]]
        found = score(drawn)
        for name in FIGURES:
            value = getattr(found, name)
            if value is not None and np.isfinite(value):
                values[name].append(value)
    ends = {name: np.percentile(v, [2.5, 97.5]) if v else (np.nan, np.nan) for name, v in values.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def render_scores(reads: Sequence[Read]) -> list[str]:
    """Returns the table of figures by slice distance and reader."""
    lines = [
        "| slices mm | reader | bodies (collapsed) of patients | error of the loss, points (bias) "
        "| of collapsed alone (bias) | kappa of grades | sensitivity, specificity of grade 2+ | Brier "
        "| in 90 % interval |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for slice_mm in SLICES_MM:
        group = [r for r in reads if r.slice_mm == slice_mm]
        collapsed = [r for r in group if r.shape != "none"]
        people = len({r.case for r in group})
        for reader in READERS:
            if not collapsed:
                continue
            lines.append(
                f"| {slice_mm} | {reader} | {len(group)} ({len(collapsed)}) of {people} "
                + render_score(group, collapsed, reader)
            )
    return lines


def render_score(group: Sequence[Read], collapsed: Sequence[Read], reader: str) -> str:
    """Returns the cells of one reader on one group."""
    whole: Score = score([r.answer(reader) for r in group])
    alone: Score = score([r.answer(reader) for r in collapsed])

    ends, ends_alone = bootstrap(group, reader), bootstrap(collapsed, reader)

    def spread(name: str, digits: int, found: dict[str, tuple[float, float]] = ends) -> str:
        return "[{:.{d}f} to {:.{d}f}]".format(*found[name], d=digits)

    both = ", ".join(
        "-" if value is None else f"{value:.2f} {spread(name, 2)}"
        for name, value in (("sensitivity", whole.sensitivity), ("specificity", whole.specificity))
    )
    return (
        f"| {whole.error_percent:.1f} {spread('error_percent', 1)} ({whole.bias_percent:+.1f}) "
        f"| {alone.error_percent:.1f} {spread('error_percent', 1, ends_alone)} ({alone.bias_percent:+.1f}) "
        f"| {whole.kappa:.2f} {spread('kappa', 2)} | {both} "
        f"| {whole.brier:.3f} {spread('brier', 3)} | {whole.covered:.2f} |"
    )


def count_alarms(found: Sequence[Read]) -> list[str]:
    """Returns how often bodies as they are are graded by each reader, and each with what a look says."""
    lines = ["| slices mm | bodies as they are | graded by geometry | by the network | by both |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for slice_mm in SLICES_MM:
        group = [r for r in found if r.slice_mm == slice_mm]
        graded = [str(sum(bool(r.found[reader].genant_grade) for r in group)) for reader in READERS]
        lines.append(f"| {slice_mm} | {len(group)} | {' | '.join(graded)} |")
    lines += [
        "",
        "| case | body | slices mm | geometry: grade, loss % | network | both | what a look says |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in found:
        if any(r.found[reader].genant_grade for reader in READERS):
            cells = [f"{f.genant_grade}, {f.height_loss_percent:.0f}" for f in map(r.found.get, READERS) if f]
            seen = SEEN.get((r.case, r.level), "not looked at")
            lines.append(f"| {r.case} | {r.level} | {r.slice_mm} | {' | '.join(cells)} | {seen} |")
    return lines


def draw_readers(reads: Sequence[Read], path: Path) -> None:
    """Draws error over slice distance, loss read over true loss at the thickest, and calibration."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    thick = [r for r in reads if r.slice_mm == SLICES_MM[-1] and r.shape != "none"]
    for number, reader in enumerate(READERS):
        color = COLORS[reader]
        errors = []
        for slice_mm in SLICES_MM:
            group = [r.answer(reader) for r in reads if r.slice_mm == slice_mm and r.shape != "none"]
            errors.append(score(group).error_percent if group else np.nan)
        places = np.arange(len(SLICES_MM)) + 0.25 * (number - 1)
        first.bar(places, errors, 0.22, color=color, label=reader)
        truth = [r.truth_percent for r in thick]
        second.plot(truth, [r.found[reader].height_loss_percent for r in thick], ".", ms=4, color=color)
        for x, y, count in bin_probability(reads, reader):
            third.plot(x, y, "o", color=color, ms=3 + count**0.33, alpha=0.7)
    first.set_xticks(range(len(SLICES_MM)), [f"{mm} mm" for mm in SLICES_MM])
    first.set(ylabel="error of collapsed bodies, points", xlabel="slices")
    first.legend(title="reader")
    second.plot([0, 70], [0, 70], color="grey", lw=0.8)
    second.set(xlabel="height taken away, %", ylabel=f"loss read at {SLICES_MM[-1]:.0f} mm slices, %")
    third.plot([0, 1], [0, 1], color="grey", lw=0.8)
    third.set(xlabel="probability given", ylabel="share that had lost 20 % or more")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def bin_probability(reads: Sequence[Read], reader: str) -> Iterator[tuple[float, float, int]]:
    """Yields mean probability, share with 20 % lost, and number of bodies of each bin with at least five."""
    given = np.array([r.found[reader].probability for r in reads], dtype=float)
    grave = np.array([r.truth_percent >= 20 for r in reads])
    for low, high in pairwise((0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0001)):
        inside = (given >= low) & (given < high)
        if inside.sum() >= 5:
            yield float(given[inside].mean()), float(grave[inside].mean()), int(inside.sum())


def main() -> None:
    """Draws what is not drawn yet, reads, prints, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="page with markers of the section")
    parser.add_argument("--cache", type=Path, required=True, help="folder for drawn columns")
    parser.add_argument("--draws", type=int, default=3, help="columns drawn of each scan")
    parser.add_argument("--weights", type=Path, help="folder of another fracture network")
    parser.add_argument("--cases", nargs="+", default=list(HELD_OUT), help="held-out scans")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("SPINELAB_DATA", ROOT.parent / "shared" / "data"))
    )
    arguments = parser.parse_args()
    network = load(NAME, folder=folder_of(arguments.weights), threads=1)
    files = [gather_case(name, arguments.data, arguments.cache, arguments.draws) for name in arguments.cases]
    reads = read_all(load_samples(path for drawn, _ in files for path in drawn), network)
    found = read_all(load_samples(path for _, path in files), network)
    text = "\n".join([f"Weights sha256 {network.sha256[:12]}.", "", *render_scores(reads), ""])
    text += "\n".join(["", *count_alarms(found)]) + "\n"
    print(text)
    if arguments.write is not None:
        drawing = arguments.write.parent / "pictures" / f"{SECTION}.png"
        draw_readers(reads, drawing)
        text += f"\n![Errors, losses read, calibration](pictures/{drawing.name})\n"
        replace_section(arguments.write, SECTION, text)


if __name__ == "__main__":
    main()
