"""What the simulator is worth: networks trained with and without it, on curves they never saw.

    spinelab train segment --data DATA --out WITH --split src/spinelab/train/development.json --start START
        --locate-steps 1300 --rate 8e-4 --seed 41 --outline-steps 1
    spinelab train segment ... --out WITHOUT --no-simulate
    cp OUTLINE/outline.* WITH; cp OUTLINE/outline.* WITHOUT     # one outline network for both
    python benchmarks/stress_curve.py --weights without=WITHOUT --weights with=WITH [--write docs/results.md]

Every held-out CT is read as it is (0 degrees more) and with simulated curves of 15 to 75 degrees. Where there
is a mask it is deformed too and scored by Dice; elsewhere the known body centres move with the scan.
"""

import argparse
import json
import os
from collections.abc import Iterator, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from held_out import list_cases, reference_of, replace_section
from matplotlib.figure import Figure
from numpy.typing import NDArray

import spinelab
from spinelab.anatomy import BY_LABEL
from spinelab.errors import InputError
from spinelab.evaluation import EvaluateOptions, Reading
from spinelab.io import check_ct
from spinelab.simulate.column import chain_centers, find_source_column
from spinelab.simulate.curve_shapes import draw_shape
from spinelab.simulate.deformation import AIR_HU, deform
from spinelab.simulate.deformity import CurveRequest, draw_deformity
from spinelab.simulate.field import compute_field
from spinelab.simulate.posture import MOST_BEND_DEG, largest_bend_deg, pose_column
from spinelab.simulate.random_flow import flow_of_boxes
from spinelab.simulate.truth import spine_of_truth
from spinelab.tasks.segment import SegmentOptions
from spinelab.volume import Image

ROOT = Path(__file__).parents[1]
ANGLES = (0, 15, 30, 45, 60, 75)
COLORS = ("tab:gray", "tab:blue", "tab:green")
METRICS = ("found", "named right", "Dice", "all right")


@dataclass(frozen=True)
class Score:
    """One scan at one angle read with one set of weights."""

    weights: str
    case: str
    angle: int
    found: float
    right: float
    dice: float | None
    all_right: bool


def bend_centers(scan: Image, truth: Reading, cobb_deg: float, seed: int) -> tuple[Image, Reading]:
    """Deforms a scan of which only body centres are known; the centres move exactly.

    Raises:
        InputError: The curve cannot be had over the vertebrae in view.
    """
    labels = sorted(truth.centers_mm, key=lambda label: -truth.centers_mm[label][2])
    names = [BY_LABEL[label].name for label in labels]
    chain = chain_centers(names, np.array([truth.centers_mm[label] for label in labels]))
    for attempt in range(30):
        rng = np.random.default_rng([seed, attempt])
        shape = draw_shape(rng, levels=names, cobb_deg=cobb_deg)
        tilts = chain.tilts_deg()
        tilts[:, 0] = shape.coronal_deg - shape.coronal_deg.mean()
        tilts[:, 2] += shape.axial_deg
        motions = pose_column(chain, tilts, np.zeros_like(tilts))
        if largest_bend_deg(motions) <= MOST_BEND_DEG:
            break
    else:
        raise InputError(f"{cobb_deg:g} degrees over {names[0]} to {names[-1]} would fold the tissue")
    field = compute_field(flow_of_boxes(chain, motions), scan.geometry)
    moved = {
        label: motion.apply(np.array(truth.centers_mm[label]))
        for label, motion in zip(labels, motions, strict=True)
    }
    inside = {k: tuple(p) for k, p in moved.items() if scan.geometry.contains(p, 8.0)}
    return field.warp(scan, scan.geometry, outside=AIR_HU), Reading(inside, None)


def bend_mask(scan: Image, truth: Reading, cobb_deg: float, seed: int) -> tuple[Image, Reading]:
    """Deforms a scan with its mask."""
    assert truth.mask is not None
    column = find_source_column(truth.mask)
    deformity = draw_deformity(column, CurveRequest(cobb_deg=cobb_deg), np.random.default_rng(seed))
    result = deform(scan, truth.mask, deformity, column=column, grow=True)
    spine = spine_of_truth(result.truth)
    kept = [vertebra for vertebra in spine.vertebrae if vertebra.label in truth.centers_mm]
    return result.image, Reading({v.label: v.center_mm for v in kept}, result.mask)


def list_scans(
    data: Path, seed: int, done: Set[tuple[str, int]] = frozenset()
) -> Iterator[tuple[str, int, Image, Reading]]:
    """Yields case, angle, scan and reference of what is not done."""
    for case in list_cases(data, "held_out"):
        assert case.image is not None
        scan = replace(check_ct(spinelab.read(case.image)).image, modality="CT")
        truth = reference_of(case, scan)
        for angle in ANGLES:
            if (case.name, angle) in done:
                continue
            if angle == 0:
                yield case.name, 0, scan, truth
                continue
            bend = bend_centers if truth.mask is None else bend_mask
            try:
                yield case.name, angle, *bend(scan, truth, angle, seed)
            except InputError as error:
                print(f"{case.name} at {angle} degrees left out: {error}", flush=True)


def score(name: str, weights: Path, scan: tuple[str, int, Image, Reading], *, threads: int) -> Score:
    """Reads a scan and scores it."""
    case, angle, image, truth = scan
    found = spinelab.segment(image, SegmentOptions(weights=weights, threads=threads))
    spine = spinelab.measure(image, found.mask, found.spine)
    partial = frozenset(v.label for v in spine.vertebrae if not v.complete)
    reading = Reading({v.label: v.center_mm for v in spine.vertebrae}, found.mask, partial)
    scores = spinelab.evaluate(truth, reading, name=case, options=EvaluateOptions(drop_partial=True))
    overlaps = [v.dice for v in scores.vertebrae if v.dice is not None]
    return Score(
        name,
        case,
        angle,
        float(np.mean([v.found_as is not None for v in scores.vertebrae])),
        float(np.mean([v.identified for v in scores.vertebrae])),
        float(np.mean(overlaps)) if overlaps else None,
        all(v.identified for v in scores.vertebrae),
    )


def pick(scores: list[Score], weights: str, angle: int) -> list[Score]:
    """Returns the scores of one set of weights at one angle."""
    return [score for score in scores if (score.weights, score.angle) == (weights, angle)]


def values_of(scores: list[Score], metric: str) -> NDArray[np.float64]:
    """Returns one value a scan, NaN where it has none."""
    key = {"found": "found", "named right": "right", "Dice": "dice", "all right": "all_right"}[metric]
    values = [getattr(s, key) for s in scores]
    return np.array([np.nan if value is None else float(value) for value in values])


def describe(values: NDArray[np.float64]) -> str:
    """Returns the mean over scans and its 95 % bootstrap interval."""
    kept = values[np.isfinite(values)]
    if not len(kept):
        return "-"
    rng = np.random.default_rng(0)
    means = kept[rng.integers(len(kept), size=(2000, len(kept)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{kept.mean():.2f} ({low:.2f} to {high:.2f})"


def render(scores: list[Score]) -> str:
    """Returns the Markdown section."""
    names = list(dict.fromkeys(s.weights for s in scores))
    lines = []
    for metric in METRICS:
        lines += [f"**{metric}**, mean over scans with 95 % bootstrap interval", ""]
        lines += [
            f"| degrees | scans | {' | '.join(names)} | last less first |",
            "| --- " * (len(names) + 3) + "|",
        ]
        for angle in ANGLES:
            rows = [
                values_of([s for s in scores if (s.weights, s.angle) == (n, angle)], metric) for n in names
            ]
            if not len(rows[0]) or not np.isfinite(rows[0]).any():
                continue
            count = int(np.isfinite(rows[0]).sum())
            change = describe(rows[-1] - rows[0]) if len(rows) > 1 else "-"
            lines.append(f"| {angle} | {count} | {' | '.join(map(describe, rows))} | {change} |")
        lines.append("")
    return "\n".join(lines)


def draw(scores: list[Score], path: Path) -> None:
    """Draws found, named right and Dice against the angle."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for place, metric in enumerate(METRICS[:3]):
        axes = figure.add_subplot(1, 3, place + 1)
        for number, name in enumerate(dict.fromkeys(s.weights for s in scores)):
            color = COLORS[number % len(COLORS)]
            means, lows, highs = [], [], []
            for angle in ANGLES:
                values = values_of(pick(scores, name, angle), metric)
                kept = values[np.isfinite(values)]
                rng = np.random.default_rng(0)
                draws = kept[rng.integers(len(kept), size=(2000, len(kept)))].mean(axis=1)
                means.append(kept.mean())
                lows.append(np.percentile(draws, 2.5))
                highs.append(np.percentile(draws, 97.5))
            axes.plot(ANGLES, means, "o-", color=color, label=name)
            axes.fill_between(ANGLES, lows, highs, color=color, alpha=0.15)
        axes.set_title(metric, fontsize=10)
        axes.set_xlabel("simulated Cobb angle, degrees", fontsize=8)
        axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=90)


def read_scores(path: Path | None) -> list[Score]:
    """Returns the scores an earlier run left."""
    if path is None or not path.exists():
        return []
    return [Score(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Bends, reads, scores, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(os.environ.get("SPINELAB_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument(
        "--weights", action="append", required=True, help="NAME=FOLDER; the last is the new one"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 for all")
    parser.add_argument("--scores", type=Path, help="file of scores to go on from")
    parser.add_argument("--write", type=Path, help="page whose section is replaced")
    options = parser.parse_args()
    named = {text.split("=", 1)[0]: Path(text.split("=", 1)[1]) for text in options.weights}
    scores = read_scores(options.scores)
    done = {(s.weights, s.case, s.angle) for s in scores}
    read = {(s.case, s.angle) for s in scores}
    whole = {place for place in read if all((name, *place) in done for name in named)}
    for scan in list_scans(options.data, options.seed, whole):
        for name, folder in named.items():
            if (name, scan[0], scan[1]) in done:
                continue
            scores.append(score(name, folder, scan, threads=options.threads))
            print(scores[-1], flush=True)
            if options.scores:
                with options.scores.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(scores[-1])) + "\n")
    text = render(scores)
    print(text)
    if options.write:
        draw(scores, options.write.parent / "pictures" / "stress_curve.png")
        picture = "![Held-out scans with simulated curves](pictures/stress_curve.png)\n"
        replace_section(options.write, "stress_curve", text + picture)


if __name__ == "__main__":
    main()
