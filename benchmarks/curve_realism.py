"""Hold draws of the curve-shape model against the AP landmark sets its fit never saw.

    SPINELAB_DATA=DATA python benchmarks/curve_realism.py [--write docs/results.md]

Draws get the reading noise of films put on and go through the same code as the films. The films that the
model was fitted to are compared with the held-out ones in the same way: that is how far two lots of films of
different patients lie apart. The fit is also repeated with each other fifth of the patients left out. The
picture shows leans and lines of centres made from them, no films.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from held_out import replace_section
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, ks_2samp
from tell_apart import CLASSIFIERS, classify

from spinelab.simulate.column_line import trace_centers
from spinelab.simulate.curve_model import (
    LEVELS,
    CurveModel,
    add_reading_noise,
    build_curve_model,
    carry_sagittal,
    load_curve_model,
    positions_of,
)
from spinelab.simulate.curve_shapes import draw_shape
from spinelab.simulate.tilt_curves import PATTERNS, find_tilt_curves, main_curve, name_pattern, region_of
from spinelab.train.film_corners import PARTS, FilmSets, read_film_sets, split_patients
from spinelab.train.fit_curve_shapes import fit, read_vid

ROOT = Path(__file__).parents[1]
Float = NDArray[np.float64]
#: Draws in tables, draws a film for classifiers, random lots of films.
DRAWS, TIMES, LOTS = 4000, 3, 1000
APEX_GROUPS = ("to T5", "T6 to T8", "T9 to T11", "T12 to L1", "L2 to L4")
REGIONS = ("main_thoracic", "thoracolumbar", "proximal_thoracic")
SIDES_AND_REGIONS = [f"{region} {side}" for region in REGIONS for side in ("right", "left")]
ANGLES = ("main", "largest above it", "largest below it")


@dataclass(frozen=True, eq=False)
class Part:
    """One fifth of the patients left out, and the model of the others."""

    number: int
    held: FilmSets
    train: FilmSets
    model: CurveModel

    def draw(self, rng: np.random.Generator, count: int) -> Float:
        """Returns (count, 17) draws as read from films."""
        return add_reading_noise(rng, self.model.draw_coronal(rng, count), self.model)


def read_parts(data: Path, numbers: Sequence[int] = range(PARTS)) -> list[Part]:
    """Returns the held-out fifth (0) with the shipped model, other fifths each with its own fit."""
    sets, scans = read_film_sets(data), read_vid(data)
    fifths = split_patients(sets.patient)
    parts = []
    for number in numbers:
        train = sets.chosen(fifths != number)
        model = build_curve_model(fit(train, scans)) if number else load_curve_model()
        parts.append(Part(number, sets.chosen(fifths == number), train, model))
    return parts


def three_angles(coronal_deg: Float) -> Float:
    """Returns (n, 3): range of the leans, and the largest swing above and below the two that span it."""
    rows = []
    for tilts in coronal_deg:
        first, last = sorted((int(tilts.argmax()), int(tilts.argmin())))
        above = float(np.abs(tilts[: first + 1] - tilts[first]).max())
        rows.append((float(np.ptp(tilts)), above, float(np.abs(tilts[last:] - tilts[last]).max())))
    return np.array(rows)


def apex_groups(coronal_deg: Float) -> list[str]:
    """Returns in which of `APEX_GROUPS` the apex of the main curve of each profile lies."""
    limits = [LEVELS.index(name.split()[-1]) for name in APEX_GROUPS]
    mains = [main_curve(find_tilt_curves(tilts)) for tilts in coronal_deg]
    return [
        "none" if main is None else APEX_GROUPS[int(np.searchsorted(limits, LEVELS.index(main.apex)))]
        for main in mains
    ]


def side_and_region(coronal_deg: Float) -> list[str]:
    """Returns side and region of the main curve of each profile."""
    mains = [main_curve(find_tilt_curves(tilts)) for tilts in coronal_deg]
    return ["none" if main is None else f"{main.region} {main.side}" for main in mains]


def pattern_of(coronal_deg: Float) -> list[str]:
    """Returns the pattern of each profile, "no type" where it has none."""
    return [name_pattern(find_tilt_curves(tilts)) or "no type" for tilts in coronal_deg]


def nearest(rows: Float, to: Float) -> Float:
    """Returns (n,) root mean square distance in degrees of each row to the nearest of `to`."""
    return np.array([np.sqrt(np.mean((to - row) ** 2, axis=1)).min() for row in rows])


def render_angles(parts: list[Part], draws: Float, rng: np.random.Generator) -> list[str]:
    """Returns the table of the three angles: spreads and Kolmogorov-Smirnov statistics."""
    lines = [
        "| angle | held out, degrees | films of the fit | draws | KS (p, p by patients): held out, draws "
        "| KS (p): held out, films of the fit | KS, mean of five fifths: draws; films of the fit |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    held, train = (three_angles(f.coronal_deg) for f in (parts[0].held, parts[0].train))
    drawn, lots = three_angles(draws), draw_lots(parts[0].train, len(held), rng)
    others = [[three_angles(x) for x in (p.held.coronal_deg, p.train.coronal_deg)] for p in parts]
    fresh = [three_angles(p.draw(rng, DRAWS)) for p in parts]
    for k, name in enumerate(ANGLES):
        a, b, c = (angles[:, k] for angles in (held, train, drawn))
        near = ks_2samp(a, c)
        as_far = np.mean([ks_2samp(b[lot], c).statistic >= near.statistic for lot in lots])
        mean = [
            np.mean([ks_2samp(o[0][:, k], f[:, k]).statistic for o, f in zip(others, fresh, strict=True)]),
            np.mean([ks_2samp(o[0][:, k], o[1][:, k]).statistic for o in others]),
        ]
        lines.append(
            f"| {name} | {_spread(a)} | {_spread(b)} | {_spread(c)} "
            f"| {near.statistic:.2f} ({near.pvalue:.3f}, {as_far:.3f}) | {_ks(a, b)} "
            f"| {mean[0]:.2f}; {mean[1]:.2f} |"
        )
    return lines


def draw_lots(train: FilmSets, size: int, rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Returns `LOTS` random choices of whole patients that have about `size` films together."""
    keys, counts = np.unique(train.patient, return_counts=True)
    orders = [rng.permutation(len(keys)) for _ in range(LOTS)]
    starts = [np.cumsum([0, *counts[order][:-1]]) for order in orders]
    pairs = zip(orders, starts, strict=True)
    return [np.isin(train.patient, keys[order][before < size]) for order, before in pairs]


def render_shares(
    title: str, count: Callable[[Float], list[str]], rows: Sequence[str], sets: Sequence[Float]
) -> list[str]:
    """Returns a table of shares in held-out films, films of the fit and draws, with chi-squared p values."""
    named = [count(values) for values in sets]
    counts = [np.array([names.count(row) for row in rows]) for names in named]
    lines = [f"| {title} | held out | films of the fit | draws |", "| --- | --- | --- | --- |"]
    for k, row in enumerate(rows):
        shares = [100 * c[k] / c.sum() for c in counts]
        lines.append(f"| {row.replace('_', ' ')} | " + " | ".join(f"{s:.0f} %" for s in shares) + " |")
    p = [_chi2(counts[0], other) for other in counts[1:]]
    lines.append(f"| p against held out (chi-squared) | | {p[0]:.2f} | {p[1]:.2f} |")
    return lines


def match_angles(real: Float, pool: Float, rng: np.random.Generator) -> Float:
    """Returns for each real profile `TIMES` of the 30 of the pool whose main angle is nearest to its own."""
    angles = np.ptp(pool, axis=1)
    chosen = [rng.choice(np.argsort(np.abs(angles - np.ptp(row)))[:30], TIMES, replace=False) for row in real]
    picked: Float = pool[np.concatenate(chosen)]
    return picked


def compare_part(part: Part) -> list[dict[str, float]]:
    """Returns the AUCs of telling draws, draws of like angle and films of the fit from the fifth left out."""
    real, rng = part.held.coronal_deg, np.random.default_rng([4, part.number])
    others = (
        part.draw(rng, TIMES * len(real)),
        match_angles(real, part.draw(rng, DRAWS), rng),
        part.train.coronal_deg,
    )
    return [classify(real, part.held.patient.tolist(), other) for other in others]


def render_classifiers(found: list[list[dict[str, float]]]) -> list[str]:
    """Returns the table of AUCs for the held-out fifth and over all fifths, from `compare_part` of each."""
    lines = [
        "| told from films left out by | held out: draws | held out: draws of like angle "
        "| held out: films of the fit | five fifths: draws | five fifths: draws of like angle "
        "| five fifths: films of the fit |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in CLASSIFIERS:
        means = [[part[lot][name] for part in found] for lot in range(3)]
        alone = " | ".join(f"{mean[0]:.2f}" for mean in means)
        over = " | ".join(f"{np.mean(mean):.2f} ({min(mean):.2f} to {max(mean):.2f})" for mean in means)
        lines.append(f"| {name} | {alone} | {over} |")
    return lines


def render_nearest(held: Float, train: Float, draws: Float) -> str:
    a, b = nearest(held, train), nearest(draws, train)
    return (
        f"Distance to the nearest film of the fit (root mean square over the levels): held-out films "
        f"{_spread(a)}, draws {_spread(b)} degrees (median, 5th to 95th percentile). "
        f"Draws nearer than the nearest held-out film ({a.min():.1f}): {100 * np.mean(b < a.min()):.1f} %."
    )


def render_wishes() -> list[str]:
    """Returns what came of prescribed shapes: angle, apex, side, pattern, time."""
    rng = np.random.default_rng(1)
    rows, seconds, errors, off, wrong = 0, [], [], [], 0
    for pattern, (_, majors) in PATTERNS.items():
        for apex in LEVELS[1:-1]:
            if region_of(float(positions_of([apex])[0])) not in majors:
                continue
            for side in ("left", "right"):
                for cobb in (10.0, 30.0, 60.0, 90.0):
                    started = time.perf_counter()
                    shape = draw_shape(rng, cobb_deg=cobb, apex=apex, side=side, pattern=pattern)
                    seconds.append(time.perf_counter() - started)
                    curves = find_tilt_curves(shape.coronal_deg, swing_deg=min(5.0, 0.2 * cobb))
                    main = main_curve(curves)
                    assert main is not None
                    rows += 1
                    errors.append(abs(main.angle_deg - cobb))
                    off.append(abs(LEVELS.index(main.apex) - LEVELS.index(apex)))
                    wrong += main.side != side or name_pattern(find_tilt_curves(shape.coronal_deg)) != pattern
    exact, near = (100 * np.mean(np.array(off) == k) for k in (0, 1))
    return [
        f"Prescribed pattern, apex, side and angle (10, 30, 60, 90 degrees) in every combination there is: "
        f"{rows} shapes; angle off by {max(errors):.2f} degrees at most, apex as asked in {exact:.0f} %, one "
        f"level off in {near:.0f} %, further off in {sum(o > 1 for o in off)}; side or pattern wrong in "
        f"{wrong}; {1000 * np.median(seconds):.0f} ms a shape (median), {1000 * max(seconds):.0f} at most."
    ]


def render_other_planes() -> list[str]:
    """Returns kyphosis, lordosis and apical rotation of draws beside the literature."""
    rng = np.random.default_rng(2)
    model = load_curve_model()
    places = positions_of(("T4", "T12", "L1", "S"))
    leans = np.array([carry_sagittal(model.draw_sagittal(rng), places) for _ in range(1000)])
    ratios: dict[str, list[float]] = {"main_thoracic": [], "thoracolumbar": []}
    for _ in range(400):
        shape = draw_shape(rng, severity="severe")
        main = main_curve(find_tilt_curves(shape.coronal_deg))
        if main is not None and main.region in ratios:
            turn = shape.axial_deg[LEVELS.index(main.apex)] * (1 if main.side == "left" else -1)
            ratios[main.region].append(float(turn) / main.angle_deg)
    kyphosis, lordosis = leans[:, 1] - leans[:, 0], leans[:, 2] - leans[:, 3]
    chest, loin = (np.array(ratios[name]) for name in ("main_thoracic", "thoracolumbar"))
    return [
        f"Sagittal draws: T4 to T12 kyphosis {_mean(kyphosis)}, L1 to S1 lordosis {_mean(lordosis)} degrees "
        "(mean, standard deviation; of patients lying in CT, as fitted). Rotation of the apex to the convex "
        f"side, severe curves, degrees a degree of Cobb angle: thoracic {_mean(chest, 2)}, "
        f"thoracolumbar or lumbar {_mean(loin, 2)} (literature: 0.32; 0.25 to 0.43)."
    ]


def draw_picture(held: Float, draws: Float, path: Path) -> None:
    """Draws held-out leans and lines of centres in the upper row, as many draws in the lower one."""
    figure = Figure(figsize=(14, 7), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 2))
    distances = load_curve_model().center_distance
    rng = np.random.default_rng(3)
    for row, (name, rows) in enumerate((("films held out", held), ("draws", draws))):
        axes = figure.add_subplot(grid[row, 0])
        axes.plot(rows[: len(held)].T, color="tab:blue" if row else "black", lw=0.6, alpha=0.35)
        axes.set_xticks(range(len(LEVELS)), LEVELS, fontsize=7)
        axes.set_ylim(-60, 60)
        axes.set_ylabel("lean to the left, degrees")
        axes.set_title(f"{name}: {len(held)} columns")
        axes = figure.add_subplot(grid[row, 1])
        some = rows[rng.permutation(len(rows))[:14]]
        for k, tilts in enumerate(some[np.argsort(np.ptp(some, axis=1))]):
            points = trace_centers(tilts, distances)
            axes.plot(points[:, 0] - points[:, 0].mean() + 0.22 * k, points[:, 1], ".-", ms=5, lw=1.2)
            axes.text(0.22 * k, -1.07, f"{np.ptp(tilts):.0f}°", fontsize=9, ha="center")
        axes.set_aspect("equal")
        axes.axis("off")
        axes.set_title(f"{name}: lines of centres T1 to L5, main angle below; patient's left on the right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def render(
    parts: list[Part], draws: Float, found: list[list[dict[str, float]]], rng: np.random.Generator
) -> str:
    """Returns the Markdown section; `found` are the AUCs of each part."""
    held, train = parts[0].held, parts[0].train
    real, fitted = held.coronal_deg, train.coronal_deg
    own = np.abs(three_angles(real)[:, 0] - held.three_cobb_deg.max(axis=1))
    lines = [
        f"Fit: {len(fitted)} landmark sets of {len(set(train.patient))} patients. Held out: {len(real)} sets "
        f"of {len(set(held.patient))} patients. Draws: {len(draws)}. The main angle differs from the one "
        f"that comes with the held-out sets by {own.max():.2f} degrees at most.",
        "",
        *render_angles(parts, draws, rng),
        "",
        "Degrees: median (5th to 95th percentile). KS: Kolmogorov-Smirnov statistic. p takes films of one "
        f"patient as independent; p by patients is the share of {LOTS} as large random lots of patients of "
        "the fit whose films lie as far from the draws.",
        "",
        *render_shares("pattern", pattern_of, (*PATTERNS, "no type"), (real, fitted, draws)),
        "",
        *render_shares("main curve", side_and_region, SIDES_AND_REGIONS, (real, fitted, draws)),
        "",
        *render_shares("apex of the main curve", apex_groups, APEX_GROUPS, (real, fitted, draws)),
        "",
        *render_classifiers(found),
        "",
        f"AUC: {TIMES} draws a film, cross-validated with folds grouped by patient; over fifths: mean "
        "(lowest to highest), the model fitted to the other four each time. Of like angle: chosen from the "
        "draws by the main angle of the film.",
        "",
        render_nearest(real, fitted, draws),
        "",
        *render_wishes(),
        "",
        *render_other_planes(),
    ]
    return "\n".join(lines) + "\n"


def _chi2(a: NDArray[np.int_], b: NDArray[np.int_]) -> float:
    seen = (a + b) > 0
    return float(chi2_contingency(np.array([a[seen], b[seen]])).pvalue)


def _ks(a: Float, b: Float) -> str:
    result = ks_2samp(a, b)
    return f"{result.statistic:.2f} ({result.pvalue:.2f})"


def _spread(values: Float) -> str:
    low, middle, high = np.percentile(values, [5, 50, 95])
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def _mean(values: Float, digits: int = 0) -> str:
    return f"{values.mean():.{digits}f} ({values.std():.{digits}f})"


def main() -> None:
    """Compares, prints, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="page with markers of the section curve_realism")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("SPINELAB_DATA", ROOT.parent / "shared" / "data"))
    )
    parser.add_argument("--part", type=int, help="compare this fifth alone, 0 to 4, and print its AUCs")
    parser.add_argument(
        "--found", type=Path, action="append", default=[], help="what --part printed, from 0 to 4: not again"
    )
    arguments = parser.parse_args()
    if arguments.part is not None:
        print(json.dumps(compare_part(read_parts(arguments.data, [arguments.part])[0])))
        return
    parts = read_parts(arguments.data)
    told = [json.loads(path.read_text(encoding="utf-8")) for path in arguments.found]
    found = told + [compare_part(part) for part in parts[len(told) :]]
    rng = np.random.default_rng(0)
    draws = parts[0].draw(rng, DRAWS)
    text = render(parts, draws, found, rng)
    print(text)
    if arguments.write is not None:
        picture = arguments.write.parent / "pictures" / "curve_shapes.png"
        draw_picture(parts[0].held.coronal_deg, draws, picture)
        text += f"\n![Leans and lines of centres of held-out films and of draws](pictures/{picture.name})\n"
        replace_section(arguments.write, "curve_realism", text)


if __name__ == "__main__":
    main()
