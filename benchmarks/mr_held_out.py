"""Score the landmark network on MR persons it never saw, and write docs/results.md's section.

    python benchmarks/mr_held_out.py [--data shared/data] [--weights RUN] [--write docs/results.md]
        [--previews FOLDER] [--threads 2]

Every scan goes through `spinelab.tasks.landmarks.locate`, as a user's does. References are centres and
corners of the body masks (`spinelab.train.mr_cases.read_landmarks`); bodies without a mask are not scored.
The persons are those of `held_out` in ``src/spinelab/train/shipped_mr.json``. Of the held-out SPIDER persons
the T1 and T2 slices, which have no masks, are counted: vertebrae found against those the data set counts.
"""

import argparse
import csv
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from held_out import replace_section
from numpy.typing import NDArray

import spinelab
from spinelab import models
from spinelab.anatomy import BY_LABEL
from spinelab.errors import InputError
from spinelab.report import write_preview
from spinelab.spine import Spine
from spinelab.tasks.landmarks import LocateOptions, locate
from spinelab.tasks.manifest import peak_memory_mb
from spinelab.train.mr_cases import MrCase, find_mr_cases, find_unlabelled, read_landmarks
from spinelab.train.spider import convert_spider

ROOT = Path(__file__).parents[1]
SPLIT = ROOT / "src" / "spinelab" / "train" / "shipped_mr.json"
#: A name counts where the centre of that name is so near (and nearer than any other).
IDENTIFIED_MM = 20.0
TARGETS = {"id-rate": 0.97, "centre mm": 3.0, "corner mm": 3.0}


@dataclass(frozen=True)
class Person:
    """One scan's score.

    Attributes:
        name: The case.
        reference: Vertebrae marked.
        right: Named right and within 20 mm.
        centre_mm: Distance to the reference centre of every vertebra found under any name.
        corner_mm: Distance of their corners, in the sagittal plane.
        within: Share of the corner distances within two told standard deviations of each axis (2.45 for two
            axes together).
        sure: Probability told of all names, None where nothing was found.
        anchored: Whether the sacrum was said to be seen.
        seconds: Reading left out.
    """

    name: str
    reference: int
    right: int
    centre_mm: list[float]
    corner_mm: list[float]
    within: list[bool]
    sure: float | None
    anchored: bool
    seconds: float


def score(case: MrCase, options: LocateOptions, previews: Path | None) -> Person:
    """Locates one person's vertebrae and compares them with the mask."""
    image = spinelab.read(case.image)
    truth = read_landmarks(case, image.geometry)
    keep = truth.labels <= 25
    labels, points = truth.labels[keep], truth.points_mm[keep]
    started = time.perf_counter()
    try:
        spine = locate(image, options)
    except InputError:
        return Person(case.name, len(labels), 0, [], [], [], None, False, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    if previews is not None:
        previews.mkdir(parents=True, exist_ok=True)
        write_preview(image, None, spine, previews / f"{case.name}.png")
    return compare(case.name, labels, points, spine, seconds)


def compare(
    name: str, labels: NDArray[np.int64], points: NDArray[np.float64], spine: Spine, seconds: float
) -> Person:
    """Scores a spine against (n,) VerSe numbers and (n, 5, 3) centres and corners in LPS mm."""
    right, centre, corner, within = 0, [], [], []
    for label, own in zip(labels, points, strict=True):
        gaps = np.linalg.norm(spine.centers_mm - own[0], axis=1)
        nearest = int(gaps.argmin())
        if gaps[nearest] > IDENTIFIED_MM:
            continue
        found = spine.vertebrae[nearest]
        right += found.level == BY_LABEL[int(label)].name
        centre.append(float(gaps[nearest]))
        if found.corners is not None:
            off = np.linalg.norm((found.corners.points() - own[1:])[:, 1:], axis=1)
            corner += off.tolist()
            within += (off <= 2.45 * np.asarray(found.corners.sd_mm)).tolist()
    assert spine.numbering is not None
    numbering = spine.numbering
    return Person(
        name, len(labels), right, centre, corner, within, numbering.probability, numbering.anchored, seconds
    )


def rate(persons: Sequence[Person]) -> float:
    """Share of the vertebrae marked that are named right."""
    return sum(p.right for p in persons) / sum(p.reference for p in persons)


def mean_centre(persons: Sequence[Person]) -> float:
    """Mean distance of the centres of what was found, mm; NaN where nothing was."""
    values = [value for p in persons for value in p.centre_mm]
    return float(np.mean(values)) if values else float("nan")


def mean_corner(persons: Sequence[Person]) -> float:
    """The same of the corners."""
    values = [value for p in persons for value in p.corner_mm]
    return float(np.mean(values)) if values else float("nan")


def all_right(persons: Sequence[Person]) -> float:
    """Share of the persons with every name right."""
    return float(np.mean([p.right == p.reference for p in persons]))


def interval(persons: Sequence[Person], figure: Callable[[Sequence[Person]], float], digits: int) -> str:
    """Returns a figure of some persons and its 95 % bootstrap interval over persons."""
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(persons), size=len(persons)) for _ in range(2000)]
    values = [figure([persons[k] for k in draw]) for draw in draws]
    if not np.isfinite(values).any():
        return "-"
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return f"{figure(persons):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def summarize(persons: list[Person], title: str) -> str:
    """Returns a table row: pooled figures with 95 % bootstrap intervals over persons."""
    seconds = float(np.median([p.seconds for p in persons]))
    within = [w for p in persons for w in p.within]
    cells = [
        title,
        str(len(persons)),
        interval(persons, rate, 3),
        interval(persons, mean_centre, 1),
        interval(persons, mean_corner, 1),
        f"{sum(p.right == p.reference for p in persons)}/{len(persons)}",
        f"{100 * float(np.mean(within)) if within else 0:.0f} %",
        f"{seconds:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def render(by_set: dict[str, list[Person]], trained: dict[str, list[str]], digest: str) -> str:
    """Returns the Markdown section."""
    persons = [person for some in by_set.values() for person in some]
    labelled = ", ".join(f"{len(names)} of {kind}" for kind, names in trained.items())
    lines = [
        f"Labelled in training: {labelled}; weights sha256 {digest[:12]}. Intervals: 95 % bootstrap over",
        "persons. Distances are those of vertebrae found within 20 mm, under whatever name.",
        "",
        "| held-out persons | n | id-rate (20 mm) | centre mm | corner mm | every name right | corners "
        "within their 95 % ellipse | s a scan |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *[summarize(some, kind) for kind, some in by_set.items()],
        summarize(persons, "all"),
        "",
        f"Targets: id-rate {TARGETS['id-rate']}, centre {TARGETS['centre mm']:g} mm, corners "
        f"{TARGETS['corner mm']:g} mm. Peak memory of the whole run: {peak_memory_mb()} MB.",
        "",
        "| person | named right | centre mm | corner mm | probability of all names |",
        "| --- | --- | --- | --- | --- |",
    ]
    for p in persons:
        centre = f"{np.mean(p.centre_mm):.1f}" if p.centre_mm else "-"
        corner = f"{np.mean(p.corner_mm):.1f}" if p.corner_mm else "-"
        anchor = "sacrum" if p.anchored else "no anchor"
        sure = "nothing found" if p.sure is None else f"{p.sure:.2f} ({anchor})"
        lines.append(f"| {p.name} | {p.right}/{p.reference} | {centre} | {corner} | {sure} |")
    return "\n".join(lines) + "\n"


def count_slices(
    cases: Sequence[MrCase], overview: Path, options: LocateOptions
) -> dict[str, list[tuple[int, int]]]:
    """Returns for T1 and T2 (vertebrae found, vertebrae counted in the whole scan) of every slice."""
    with overview.open(encoding="utf-8") as file:
        known = {row["new_file_name"]: int(row["num_vertebrae"]) for row in csv.DictReader(file)}
    counts: dict[str, list[tuple[int, int]]] = {}
    for case in cases:
        _, _, name = case.name.partition("_")
        try:
            found = len(locate(spinelab.read(case.image), options).vertebrae)
        except InputError:
            found = 0
        counts.setdefault(name.partition("_")[2], []).append((found, known[name]))
    return counts


def render_counts(counts: dict[str, list[tuple[int, int]]]) -> str:
    """Returns the table of counted slices."""
    lines = ["", "| SPIDER slices without masks | n | refused | found as many | one more or less | worse |"]
    lines.append("| --- " * 6 + "|")
    for contrast, pairs in sorted(counts.items()):
        refused = sum(found == 0 for found, _ in pairs)
        off = [abs(found - known) for found, known in pairs if found]
        cells = [len(pairs), refused, off.count(0), off.count(1), sum(o > 1 for o in off)]
        lines.append(f"| {contrast} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Reads the arguments and scores."""
    parser = argparse.ArgumentParser(description="Score the landmark network on held-out MR persons.")
    default = Path(os.environ.get("SPINELAB_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--previews", type=Path)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 for all")
    arguments = parser.parse_args()
    split = json.loads(SPLIT.read_text(encoding="utf-8"))
    options = LocateOptions(weights=arguments.weights, threads=arguments.threads)
    digest = models.weights_digest(arguments.weights or models.weights_folder("landmarks"))["landmarks"]
    with tempfile.TemporaryDirectory() as folder:
        convert_spider(arguments.data / "mr_spider", Path(folder))
        labelled = [arguments.data / "mr", Path(folder) / "labelled"]
        cases = {case.name: case for place in labelled for case in find_mr_cases(place)}
        by_set = {
            kind: [score(cases[name], options, arguments.previews) for name in sorted(names)]
            for kind, names in split["held_out"].items()
        }
        held_out = {f"{name}_" for name in split["held_out"]["spider"]}
        slices = [
            c for c in find_unlabelled(Path(folder) / "unlabelled") if c.name.startswith(tuple(held_out))
        ]
        counts = count_slices(slices, arguments.data / "mr_spider" / "overview.csv", options)
    text = render(by_set, split["labelled"], digest) + render_counts(counts)
    print(text)
    if arguments.write:
        replace_section(arguments.write, "mr_held_out", text)


if __name__ == "__main__":
    main()
