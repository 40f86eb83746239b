"""How well collapse is read from heights: simulated collapse, false alarms; writes docs/results.md's section.

    SPINELAB_DATA=DATA python benchmarks/fracture_geometry.py [--write docs/results.md] [--part real phantoms]

Real vertebrae: outlines of persons of no train split, sliced at 1 to 1.5, 2.5 and 5 mm (the nearest of the
thin slices: what a hand-drawn outline keeps of an endplate); one intact vertebra at a time is collapsed by
`spinelab.simulate` (0 to 60 %), measured and graded. The truth is the share of its own former height that the
simulator took away. `--split train` does the same with the persons the reader may be tuned on. Phantoms: the
same with heights of people the expected profile was not fitted to; only the collapsed bodies count, since
those people were not free of fractures. False alarms: every outline as it is; what is graded was looked at,
and `SEEN` says what it is.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from held_out import replace_section
from matplotlib.figure import Figure
from numpy.typing import NDArray

import spinelab
from spinelab.anatomy import level
from spinelab.errors import GeometryError, InputError
from spinelab.measurement import find_column, measure
from spinelab.measurement.heights import compare_heights
from spinelab.measurement.named_mask import spine_of_mask
from spinelab.simulate.changes import Change, Site, find_site
from spinelab.simulate.collapse import Collapse
from spinelab.simulate.prediction import predict_heights
from spinelab.spine import Fracture, Heights, Spine, Vertebra
from spinelab.tasks.fracture import grade_fractures, grade_of
from spinelab.train.fit_height_profile import Person, name_levels, read_persons
from spinelab.volume import Geometry, Mask

ROOT = Path(__file__).parents[1]
SECTION = "fracture_geometry"
SHAPES = ("wedge", "biconcave", "crush")
#: The ratio Genant et al. judge each shape by, which is also what the simulator is asked for.
RATIO = {"wedge": "anterior_percent", "biconcave": "middle_percent", "crush": "crush_percent"}
LOSSES = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0)
SLICES_MM = (1.5, 2.5, 5.0)
SPLIT = ROOT / "src" / "spinelab" / "train" / "development.json"
CT_MASKS = ("verse_005", "verse_006", "verse_008", "totalseg_abdomen")
#: Too few thoracic or lumbar bodies, or masks of a model that run over: read as they are, but not collapsed.
NOT_COLLAPSED = ("verse_gl003", "verse_gl017", "bdmap_06")
LABEL_MAPS = (
    "bdmap_06",
    "bdmap_31",
    "sample001",
    "totalseg_s0327",
    "totalseg_s0328",
    "verse_004",
    "verse_009",
    "verse_010",
    "verse_gl003",
    "verse_gl017",
)
#: What a look at the outline (and the scan, where there is one) says of each graded body.
SEEN: dict[tuple[str, str], str] = {
    ("bdmap_06", "T2"): "false: the outline (of a model) of T1 runs into T2",
    ("sample001", "L1"): "true: deep superior endplate, T12 and L2 changed too",
    ("sample001", "L2"): "true: lower than L3 by a third, all of it",
    ("totalseg_abdomen", "L1"): "true: known superior endplate defect",
    ("totalseg_s0327", "L3"): "false: a deep Schmorl node, rims kept",
    ("verse_004", "L1"): "true: flattened to half its height",
    ("verse_008", "L2"): "true, mild: lower than L1 and L3, denser, inferior endplate bent",
    ("verse_009", "T5"): "true: flattened to half its height",
    ("verse_009", "L3"): "true: biconcave, lower than L2 and L4",
    ("verse_009", "L5"): "true: a third lower than L4",
    ("verse_010", "L1"): "true: a third lower than L2",
}


@dataclass(frozen=True)
class Answer:
    """One body: what was done to it and what was read.

    Attributes:
        source: "real" or "phantom".
        slice_mm: Distance of the slices.
        shape: Of the collapse; "none" where there is none.
        truth_percent: Height that was taken away, of the height that lost most.
        fracture: The reading.
        ratio_error: Genant's ratio of the shape, measured less simulated, points; None where not simulated.
    """

    source: str
    slice_mm: float
    shape: str
    truth_percent: float
    fracture: Fracture
    ratio_error: float | None = None


# ---- real outlines ----------------------------------------------------------------------------------------


def load_masks(data: Path) -> Iterator[tuple[str, Mask]]:
    """Yields name and VerSe outlines of every real case there is."""
    for name in CT_MASKS:
        yield name, spinelab.read_mask(data / "ct" / f"{name}_vert.nii.gz")
    for name in LABEL_MAPS:
        yield name, spinelab.read_mask(data / "ct_masks_only" / f"{name}_vert.nii.gz")


def thicken(mask: Mask, slice_mm: float) -> Mask | None:
    """Returns a mask with slices so far apart head to foot; None where they are farther already."""
    mask = mask.reoriented("LPS")
    own = mask.spacing_mm[2]
    if own > slice_mm * 1.05:
        return None
    step = max(1.0, slice_mm / own)
    places = np.arange(step / 2 - 0.5, mask.array.shape[2] - 0.5, step)
    affine = mask.geometry.affine.copy()
    affine[:3, 3] += affine[:3, 2] * places[0]
    affine[:3, 2] *= step
    array = np.ascontiguousarray(mask.array[:, :, np.round(places).astype(int)])
    return Mask(array, Geometry((*array.shape[:2], array.shape[2]), affine))


def carry(mask: Mask, site: Site, change: Change) -> Mask:
    """Returns a mask after a change: each voxel takes the label nearest to where it came from.

    The vertebrae above stay: the disc widens, as if the column had not followed.
    """
    voxels, source = locate_sources(mask.geometry, site, change)
    nearest = np.round(mask.geometry.world_to_index(site.body.grid.to_world(source))).astype(int)
    nearest = np.clip(nearest, 0, np.array(mask.geometry.shape) - 1)
    array = mask.array.copy()
    array[tuple(voxels.T)] = mask.array[tuple(nearest.T)]
    return Mask(array, mask.geometry)


def locate_sources(
    geometry: Geometry, site: Site, change: Change
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Returns the (n, 3) voxels a change reaches and where each came from, (n, 3) local mm of the site."""
    assert change.reach_mm is not None
    corners = np.array(np.meshgrid(*change.reach_mm)).reshape(3, -1).T
    index = geometry.world_to_index(site.body.grid.to_world(corners))
    start = np.maximum(np.floor(index.min(axis=0)), 0).astype(int)
    stop = np.minimum(np.ceil(index.max(axis=0)) + 1, geometry.shape).astype(int)
    voxels = np.stack(np.meshgrid(*map(np.arange, start, stop), indexing="ij"), axis=-1).reshape(-1, 3)
    return voxels, change.undo(site.to_local(geometry.index_to_world(voxels)))


def read(mask: Mask, spine: Spine) -> Spine:
    """Measures and grades a mask without a scan."""
    return grade_fractures(measure(None, mask, spine))


def lost_percent(before: Heights, after: Heights) -> float:
    """Returns the loss of the height that lost most."""
    pairs = [(getattr(before, k), getattr(after, k)) for k in ("anterior", "middle", "posterior")]
    return max(100 * (1 - b / a) for a, b in pairs)


def is_in_split(name: str, split: str) -> bool:
    """Tells whether a case may be tuned on ("train"), or not ("held-out")."""
    return (name in json.loads(SPLIT.read_text(encoding="utf-8"))["train"]) == (split == "train")


def collapse_real(data: Path, rng: np.random.Generator, per_case: int, split: str) -> Iterator[Answer]:
    """Collapses intact bodies of real outlines, one at a time."""
    for name, mask in load_masks(data):
        if name in NOT_COLLAPSED or not is_in_split(name, split):
            continue
        small = crop_to_column(mask)
        spine = spine_of_mask(small)
        found = read(small, spine).vertebrae
        intact = [v.level for v in found if is_target(v.fracture) and (name, v.level) not in SEEN]
        plain = {}
        for slice_mm in SLICES_MM:
            thick = thicken(small, slice_mm)
            if thick is None:
                continue
            plain[slice_mm] = measure(None, thick, spine)
            for vertebra in grade_fractures(plain[slice_mm]).vertebrae:
                if vertebra.level in intact and vertebra.fracture is not None:
                    yield Answer("real", slice_mm, "none", 0.0, vertebra.fracture)
        column = find_column(small, spine)
        for target in rng.permutation(intact)[:per_case]:
            site = find_site(column, str(target))
            for shape, asked, truth, change in collapse_one(site, rng):
                carried = carry(small, site, change)
                for slice_mm, measured in plain.items():
                    found = _read_one(carried, measured, site.level, slice_mm)
                    ratio = getattr(found.height_loss, RATIO[shape], None)
                    error = None if ratio is None else ratio - asked
                    assert found.fracture is not None
                    yield Answer("real", slice_mm, shape, truth, found.fracture, error)


def crop_to_column(mask: Mask) -> Mask:
    """Returns a mask cut to its labels with room to spare, of every second voxel where they are tiny."""
    used = np.argwhere(mask.array > 0)
    room = np.ceil(15 / np.array(mask.spacing_mm)).astype(int)
    start = np.maximum(used.min(axis=0) - room, 0)
    stop = np.minimum(used.max(axis=0) + room + 1, mask.array.shape)
    steps = [2 if mm < 0.5 else 1 for mm in mask.spacing_mm]
    part = tuple(slice(a, b, n) for a, b, n in zip(start, stop, steps, strict=True))
    affine = mask.geometry.affine.copy()
    affine[:3, 3] = mask.geometry.index_to_world(start)
    affine[:3, :3] *= steps
    array = np.ascontiguousarray(mask.array[part])
    return Mask(array, Geometry((array.shape[0], array.shape[1], array.shape[2]), affine))


def is_target(fracture: Fracture | None) -> bool:
    """Tells whether a body is intact as it is read."""
    return fracture is not None and fracture.evaluable and fracture.genant_grade == 0


def collapse_one(site: Site, rng: np.random.Generator) -> Iterator[tuple[str, float, float, Change]]:
    """Yields shape, ratio asked for, height taken away and change of each collapse that is possible."""
    before = predict_heights(site.body, Change(site.level))
    for loss in LOSSES:
        shape = str(rng.choice(SHAPES))
        asked = loss + float(rng.uniform(-5, 5))
        try:
            change = Collapse(site.level, shape, asked).fit(site)  # type: ignore[arg-type]
        except (InputError, GeometryError):
            continue  # the body is lower than that by nature, or would fold
        truth = lost_percent(before, predict_heights(site.body, change))
        yield shape, asked, truth, change


def _read_one(carried: Mask, measured: Spine, name: str, slice_mm: float) -> Vertebra:
    """Measures one changed body and grades it in its measured column."""
    thick = thicken(carried, slice_mm)
    assert thick is not None
    place = measured.levels.index(name)
    near = Spine(measured.vertebrae[max(0, place - 1) : place + 2])
    return grade_in(measured, measure(None, thick, near)[name])


def grade_in(measured: Spine, changed: Vertebra) -> Vertebra:
    """Grades one changed body in the column it was measured in before."""
    vertebrae = tuple(changed if v.level == changed.level else v for v in measured.vertebrae)
    losses = compare_heights([v.heights_mm for v in vertebrae])
    vertebrae = tuple(replace(v, height_loss=loss) for v, loss in zip(vertebrae, losses, strict=True))
    return grade_fractures(Spine(vertebrae))[changed.level]


# ---- phantoms ---------------------------------------------------------------------------------------------


def collapse_phantoms(data: Path, rng: np.random.Generator) -> Iterator[Answer]:
    """Draws columns with the heights of people the profile was not fitted to, one body in each collapsed."""
    people = [person for person in read_persons(data) if person.held_out]
    for number, person in enumerate(people):
        slice_mm = (1.0, 2.5, 5.0)[number % 3]
        yield from _collapse_phantom(person, slice_mm, rng)


def _collapse_phantom(person: Person, slice_mm: float, rng: np.random.Generator) -> Iterator[Answer]:
    sys.path[:0] = [str(ROOT)]
    from tests.phantom import Collapse as Factors
    from tests.phantom import make_phantom

    named = dict(zip(name_levels(person), person.heights, strict=True))
    names = [name for name in named if level(name).region != "cervical"]
    start = int(rng.integers(0, max(1, len(names) - 6)))
    window = names[start : start + 7]
    target = str(rng.choice(window[1:-1]))
    loss, shape = float(rng.uniform(0, 60)), str(rng.choice(SHAPES))
    lost = {"wedge": (1.0, 0.5, 0.0), "biconcave": (0.1, 1.0, 0.1), "crush": (1.0, 1.0, 0.95)}[shape]
    plain = make_phantom(levels=tuple(window), spacing_mm=(30, 30, 30)).truth
    scale = np.median([plain[n].height_mm / named[n][2] for n in window])
    factors = {}
    for name in window:
        factor = named[name] * scale / plain[name].height_mm
        if name == target:
            factor = factor * (1 - loss / 100 * np.array(lost))
        factors[name] = Factors(*(float(f) for f in factor))
    phantom = make_phantom(
        levels=tuple(window),
        spacing_mm=(1.0, 1.0, slice_mm),
        collapse=factors,
        sagittal_deg={window[0]: float(rng.uniform(-20, 5)), window[-1]: float(rng.uniform(0, 20))},
        oblique_deg=(float(rng.uniform(-6, 6)), float(rng.uniform(-6, 6)), 0.0),
    )
    found = read(phantom.mask, phantom.spine)[target].fracture
    assert found is not None
    yield Answer("phantom", slice_mm, shape, loss, found)


# ---- figures ----------------------------------------------------------------------------------------------


def weigh_kappa(truth: list[int], found: list[int]) -> float:
    """Returns Cohen's kappa with quadratic weights of grades 0 to 3."""
    table = np.zeros((4, 4))
    np.add.at(table, (truth, found), 1)
    weights = (np.arange(4)[:, None] - np.arange(4)[None, :]) ** 2
    chance = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    expected = float((weights * chance).sum())
    return 1.0 if expected == 0 else 1 - float((weights * table).sum()) / expected


@dataclass(frozen=True)
class Score:
    """Figures of a group of answers; None where there is nothing to count."""

    bodies: int
    refused: int
    ratio_error: float | None
    error_percent: float
    bias_percent: float
    kappa: float
    sensitivity: float | None
    specificity: float | None
    brier: float
    covered: float


def score(answers: list[Answer]) -> Score:
    """Counts what the readings of a group are worth."""
    kept = [a for a in answers if a.fracture.evaluable]
    found = np.array([a.fracture.height_loss_percent for a in kept], dtype=float)
    truth = np.array([a.truth_percent for a in kept])
    grades = [grade_of(t) for t in truth]
    read_grades = [int(a.fracture.genant_grade or 0) for a in kept]
    severe = np.array(grades) >= 2
    called = np.array(read_grades) >= 2
    probability = np.array([a.fracture.probability for a in kept], dtype=float)
    ratios = [a.ratio_error for a in kept if a.ratio_error is not None]
    intervals = np.array([a.fracture.interval_percent for a in kept], dtype=float)
    return Score(
        len(kept),
        len(answers) - len(kept),
        float(np.abs(ratios).mean()) if ratios else None,
        float(np.abs(found - truth).mean()),
        float((found - truth).mean()),
        weigh_kappa(grades, read_grades),
        float(called[severe].mean()) if severe.any() else None,
        float((~called[~severe]).mean()) if (~severe).any() else None,
        float(((probability - (truth >= 20)) ** 2).mean()),
        float(((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])).mean()),
    )


def render_scores(answers: list[Answer]) -> list[str]:
    """Returns the table of figures by source and slice distance."""
    lines = [
        "| bodies of | slices mm | read (refused) | error of Genant's ratio, points "
        "| error of the loss, points (bias) | of collapsed alone | kappa of grades "
        "| sensitivity, specificity of grade 2+ | Brier | in 90 % interval |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for source, slice_mm in sorted({(a.source, a.slice_mm) for a in answers}):
        group = [a for a in answers if (a.source, a.slice_mm) == (source, slice_mm)]
        s, alone = score(group), score([a for a in group if a.shape != "none"])
        ratio = "-" if s.ratio_error is None else f"{s.ratio_error:.1f}"
        both = ", ".join("-" if v is None else f"{v:.2f}" for v in (s.sensitivity, s.specificity))
        where = f"to {slice_mm}" if source == "real" and slice_mm == SLICES_MM[0] else f"{slice_mm}"
        lines.append(
            f"| {source} outlines | {where} | {s.bodies} ({s.refused}) | {ratio} | {s.error_percent:.1f} "
            f"({s.bias_percent:+.1f}) | {alone.error_percent:.1f} ({alone.bias_percent:+.1f}) "
            f"| {s.kappa:.2f} | {both} | {s.brier:.3f} | {s.covered:.2f} |"
        )
    return lines


def draw_calibration(answers: list[Answer], path: Path) -> None:
    """Draws loss read over true loss, and how often bodies given a probability had lost 20 %."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    kept = [a for a in answers if a.fracture.evaluable and a.source == "real"]
    truth = np.array([a.truth_percent for a in kept])
    first, second = figure.subplots(1, 2)
    colors = {1.5: "tab:blue", 2.5: "tab:orange", 5.0: "tab:red"}
    for slice_mm, color in colors.items():
        rows = [a for a in kept if a.slice_mm == slice_mm]
        losses = [a.fracture.height_loss_percent for a in rows]
        first.plot([a.truth_percent for a in rows], losses, ".", color=color, ms=4, label=f"{slice_mm} mm")
    first.plot([0, 70], [0, 70], color="black", lw=0.8)
    first.set(xlabel="height taken away, %", ylabel="height loss read, %")
    first.legend(title="slices")
    probability = np.array([a.fracture.probability for a in kept], dtype=float)
    edges = np.array([0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0001])
    for low, high in pairwise(edges):
        inside = (probability >= low) & (probability < high)
        if inside.sum() >= 3:
            share = float((truth[inside] >= 20).mean())
            second.plot(probability[inside].mean(), share, "o", color="tab:blue")
            second.annotate(f" {int(inside.sum())}", (probability[inside].mean(), share), fontsize=8)
    second.plot([0, 1], [0, 1], color="black", lw=0.8)
    second.set(xlabel="probability given", ylabel="share that had lost 20 % or more")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


# ---- false alarms -----------------------------------------------------------------------------------------


def list_alarms(data: Path) -> tuple[list[tuple[str, str, Fracture]], int]:
    """Returns every graded body of the outlines as they are, and how many bodies were read."""
    alarms, count = [], 0
    for name, mask in load_masks(data):
        small = crop_to_column(mask)
        for vertebra in read(small, spine_of_mask(small)).vertebrae:
            found = vertebra.fracture
            if found is None or not found.evaluable:
                continue
            count += 1
            if found.genant_grade:
                alarms.append((name, vertebra.level, found))
    return alarms, count


def render_alarms(alarms: list[tuple[str, str, Fracture]], count: int) -> list[str]:
    """Returns the table of alarms with what a look said."""
    false = [a for a in alarms if not SEEN.get(a[:2], "").startswith("true")]
    unaltered = count - len(alarms) + len(false)
    lines = [
        f"Outlines as they are: {count} bodies read, {len(alarms)} graded 1 to 3, of these {len(false)} "
        f"false: {len(false)} false alarms in {unaltered} unaltered bodies.",
        "",
        "| case | body | grade | loss % (90 % interval) | probability | what a look says |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, where, found in alarms:
        low, high = found.interval_percent or (0.0, 0.0)
        seen = SEEN.get((name, where), "not looked at")
        loss = f"{found.height_loss_percent:.0f} ({low:.0f} to {high:.0f})"
        grade = f"{found.genant_grade}, {found.shape}"
        lines.append(f"| {name} | {where} | {grade} | {loss} | {found.probability:.2f} | {seen} |")
    return lines


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="page with markers of the section")
    parser.add_argument("--part", nargs="+", default=["real", "phantoms"], choices=["real", "phantoms"])
    parser.add_argument("--per-case", type=int, default=2, help="bodies of a case that are collapsed")
    parser.add_argument("--split", default="held-out", choices=["held-out", "train"])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("SPINELAB_DATA", ROOT.parent / "shared" / "data"))
    )
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    answers: list[Answer] = []
    if "phantoms" in arguments.part:
        answers += collapse_phantoms(arguments.data, rng)
    if "real" in arguments.part:
        answers += collapse_real(arguments.data, rng, arguments.per_case, arguments.split)
    lines = [*render_scores(answers), "", *render_alarms(*list_alarms(arguments.data))]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write is not None:
        drawing = arguments.write.parent / "pictures" / f"{SECTION}.png"
        draw_calibration(answers, drawing)
        text += f"\n![Loss read over height taken away; calibration](pictures/{drawing.name})\n"
        replace_section(arguments.write, SECTION, text)


if __name__ == "__main__":
    main()
