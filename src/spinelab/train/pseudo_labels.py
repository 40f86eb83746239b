"""Landmarks that a network draws in unlabelled scans, kept only where a spine could look like that.

*Places* are accepted when the column found has no gap and is not faint, its distances are those of people,
and the scan made smaller shows the same bodies. Its *names* are accepted too when they rest on the sacrum,
are likely, and stay the same on the smaller scan; else the scan teaches where bodies lie and nothing about
levels. What was accepted, and why the rest was not, is written down.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from spinelab.anatomy import BY_NAME
from spinelab.tasks.column_prior import RUNGS, column_prior
from spinelab.tasks.landmark_maps import Answering, map_landmarks, read_bodies
from spinelab.tasks.mr_volume import ACROSS, STEP_MM, MrVolume
from spinelab.tasks.naming import name_column, trace_column
from spinelab.train.mr_cases import Landmarks, PreparedMr
from spinelab.volume import Geometry

#: Least mean heat of a column, least probability of its names, and its fewest bodies.
_LEAST_HEAT, _LEAST_NAMES, _FEWEST = 0.45, 0.75, 4
#: Distances rarer than one column in so many are no spine's.
_RARE = 500
#: The scan is looked at again this much smaller; between the ends no centre may move farther.
_SMALLER, _AGREE_MM = 0.9, 6.0


@dataclass(frozen=True)
class Verdict:
    """What became of one unlabelled scan.

    Attributes:
        scan: Its name.
        accepted: Whether its landmarks are used.
        reason: Why not, or what was found.
    """

    scan: str
    accepted: bool
    reason: str


def label_scans(cases: Sequence[PreparedMr], network: Answering) -> tuple[list[PreparedMr], list[Verdict]]:
    """Returns the cases with landmarks a network drew and that were accepted, and a verdict on every case."""
    accepted, verdicts = [], []
    for case in cases:
        found = judge(case, network)
        if isinstance(found, str):
            verdicts.append(Verdict(case.name, False, found))
            continue
        names = f"VerSe {found.labels[0]} to {found.labels[-1]}" if found.named else "names unsure"
        verdicts.append(Verdict(case.name, True, f"{len(found.labels)} bodies, {names}"))
        accepted.append(replace(case, labels=found.labels, points_mm=found.points_mm, named=found.named))
    return accepted, verdicts


def write_verdicts(verdicts: Sequence[Verdict], path: Path) -> None:
    """Writes scan, accepted and reason as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["scan", "accepted", "reason"])
        writer.writerows([v.scan, "yes" if v.accepted else "no", v.reason] for v in verdicts)


def judge(case: PreparedMr, network: Answering) -> Landmarks | str:
    """Returns the landmarks of a scan in mm along its axes, or why they are not to be believed."""
    found = _find(case, network, 1.0)
    if isinstance(found, str):
        return found
    again = _find(case, network, _SMALLER)
    if isinstance(again, str):
        return f"made smaller: {again}"
    gaps = np.linalg.norm(found.points_mm[:, None, 0] - again.points_mm[None, :, 0], axis=-1)
    apart = gaps.min(axis=1)[1:-1].max()
    if apart > _AGREE_MM:
        return f"made smaller, a centre lies {apart:.0f} mm elsewhere"
    alike = np.array_equal(again.labels[gaps.argmin(axis=1)][1:-1], found.labels[1:-1])
    return replace(found, named=found.named and again.named and bool(alike))


def _find(case: PreparedMr, network: Answering, scale: float) -> Landmarks | str:
    bodies = read_bodies(map_landmarks(_as_volume(case, scale), network))
    chain = trace_column([body.candidate for body in bodies])
    if len(chain) < _FEWEST:
        return f"{len(chain)} bodies in a row"
    if any(point.inserted for point in chain):
        return "a gap in the column"
    heat = float(np.mean([point.score for point in chain]))
    if heat < _LEAST_HEAT:
        return f"faint, mean heat {heat:.2f}"
    named = name_column(chain)
    sure = named.numbering.anchored and named.numbering.probability >= _LEAST_NAMES
    points = [bodies[point.candidate].points_mm for point in named.points if point.candidate is not None]
    levels = named.levels
    rarity = _rarity(np.array([p[0] for p in points]), levels)
    if rarity < 1 / _RARE:
        return f"distances of one column in {1 / max(rarity, 1e-9):.0f}"
    marked = np.array(points)
    marked[..., 1:] /= scale
    if levels[-1] == "S":
        marked[-1, 1:] = np.nan
    if case.kind == "slice":  # it stands for a slab
        marked[..., 0] = (case.array.shape[0] - 1) / 2 * STEP_MM
    return Landmarks(np.array([BY_NAME[name].label for name in levels]), marked, sure)


def _as_volume(case: PreparedMr, scale: float) -> MrVolume:
    """The scan as `normalise_scan` gives it, `scale` times as large in plane; mm from its first voxel."""
    array, seen = case.array, case.seen
    if case.kind == "slice":
        array, seen = array[:ACROSS], seen[:ACROSS]
    if scale != 1:
        factors = [1.0, *(round(n * scale) / n for n in array.shape[1:])]
        array, seen = (
            ndimage.zoom(a, factors, order=1, grid_mode=True, mode="nearest") for a in (array, seen)
        )
    geometry = Geometry.from_spacing(array.shape, (STEP_MM, STEP_MM, STEP_MM))
    return MrVolume(array, seen > 0.5, geometry)


def _rarity(centers_mm: NDArray[np.float64], levels: Sequence[str]) -> float:
    """Probability that a column of people has distances as unlikely as these or more so."""
    rungs = np.array([RUNGS[name] for name in levels])
    mean, _ = column_prior().log_spacing(rungs[:-1], rungs[1:])
    noise = 2 * (2.0 / 30.0) ** 2
    covariance = column_prior().covariance(rungs[:-1], rungs[1:]) + 0.06**2 + noise * np.eye(len(mean))
    off = np.log(np.linalg.norm(np.diff(centers_mm, axis=0), axis=1)) - mean
    return float(stats.chi2.sf(off @ np.linalg.solve(covariance, off), len(off)))
