"""Curves of the column: coronal Cobb angles, thoracic kyphosis, lumbar lordosis.

A Cobb angle lies between the superior endplate of the upper and the inferior endplate of the lower end
vertebra, the two most tilted into the curve's concavity (Cobb 1948). Tilts are those of endplate planes
projected on the patient's coronal (LPS x-z) or sagittal (y-z) plane, as on a radiograph.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from spinelab.anatomy import ORDER
from spinelab.measurement.sampling import Array
from spinelab.spine import Curvature, Curve

#: A coronal curve is reported from this angle on.
SMALLEST_DEG = 5.0
#: The smoothed tilt must swing by this much before a curve ends and the next begins.
SWING_DEG = 4.0
#: Fewest vertebrae of a kyphosis or lordosis.
FEWEST = 4
#: Slices up to this far apart let endplates be read for themselves. With thicker ones a tilt leans on the
#: column's tangent and on the other endplate by a share that grows per mm, up to a limit.
TRUSTED_MM, LEAN_PER_MM, MOST_LEAN, PAIR_PER_MM, MOST_PAIR = 1.75, 0.14, 0.5, 0.25, 0.8
_X, _Y, _Z = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Endplates:
    """What a vertebra adds to the curvature.

    Attributes:
        level: Its name.
        center_mm: (3,) body centre, LPS mm; of the endplate for the sacrum.
        superior, inferior: (3,) unit normals towards the head, LPS; None where not in view.
        slice_mm: Distance of the slices along its axis.
    """

    level: str
    center_mm: Array
    superior: Array | None
    inferior: Array | None
    slice_mm: float = 1.0


def measure_curvature(endplates: Sequence[Endplates]) -> Curvature:
    """Measures all coronal curves, kyphosis and lordosis.

    Args:
        endplates: From the head down; a last one named "S" gives the sacral endplate (its `superior`).
    """
    return Curvature(
        coronal=_find_coronal(endplates),
        kyphosis=_measure_sagittal(endplates, "T4", "T12"),
        lordosis=_measure_sagittal(endplates, "L1", "S"),
    )


def _tilt(normal: Array, axis: int) -> float:
    """Returns the tilt in degrees of an endplate towards +axis (left, or back)."""
    return float(np.degrees(np.arctan2(normal[axis], normal[_Z])))


def _tangent_tilts(endplates: Sequence[Endplates], axis: int) -> list[float]:
    """Returns the tilt of the centre line at each vertebra, through its neighbours."""
    centers = np.array([e.center_mm for e in endplates])
    tilts = []
    for i in range(len(centers)):
        step = centers[max(i - 1, 0)] - centers[min(i + 1, len(centers) - 1)]
        tilts.append(_tilt(step, axis))
    return tilts


def _tangent_rests(endplates: Sequence[Endplates], axis: int) -> list[float]:
    """Returns by how much the centre line's tilt at each vertebra differs from what the endplates foretell.

    The line from the centre above to the centre below runs through half of either neighbour and all of the
    vertebra between. Where endplates are read well the difference is small, in sharp curves too.
    """
    means = [_mean_tilt(part, axis) for part in endplates]
    rests = []
    for i, tangent in enumerate(_tangent_tilts(endplates, axis)):
        near = means[max(i - 1, 0) : i + 2]
        own = means[i]
        if own is None or None in near:
            rests.append(0.0)
            continue
        passed = [mean for mean in near if mean is not None] + [own] * (len(near) == 3)
        rests.append(tangent - sum(passed) / len(passed))
    return rests


def _mean_tilt(part: Endplates, axis: int) -> float | None:
    tilts = [_tilt(normal, axis) for normal in (part.superior, part.inferior) if normal is not None]
    return sum(tilts) / len(tilts) if tilts else None


def _plate_tilt(part: Endplates, rest: float, axis: int, *, superior: bool) -> float:
    """Returns an endplate's tilt.

    Where slices are thick and a tilt shows in one or two steps only, it leans on the centre line and, in the
    coronal plane where bodies are seldom wedged, on the other endplate.
    """
    normal, other = (part.superior, part.inferior)[:: 1 if superior else -1]
    assert normal is not None
    tilt = _tilt(normal, axis)
    if axis == _X and other is not None:
        share = float(np.clip(PAIR_PER_MM * (part.slice_mm - TRUSTED_MM), 0, MOST_PAIR))
        tilt = (1 - share / 2) * tilt + share / 2 * _tilt(other, axis)
    lean = float(np.clip(LEAN_PER_MM * (part.slice_mm - TRUSTED_MM), 0, MOST_LEAN))
    return tilt + lean * rest


def _find_coronal(endplates: Sequence[Endplates]) -> tuple[Curve, ...]:
    """Finds curves between turning points of the tilt, the mean of the endplates' and the centre line's.

    The end vertebrae are those next to the turning points whose endplates make the largest angle (Cobb 1948).
    """
    parts = [e for e in endplates if e.superior is not None and e.inferior is not None and e.level != "S"]
    if len(parts) < 3:
        return ()
    tangents = _tangent_tilts(parts, _X)
    tilts = []
    for part, tangent in zip(parts, tangents, strict=True):
        assert part.superior is not None
        assert part.inferior is not None
        plates = (_tilt(part.superior, _X) + _tilt(part.inferior, _X)) / 2
        tilts.append((plates + tangent) / 2)
    rests = _tangent_rests(parts, _X)
    upper = [_plate_tilt(p, rest, _X, superior=True) for p, rest in zip(parts, rests, strict=True)]
    lower = [_plate_tilt(p, rest, _X, superior=False) for p, rest in zip(parts, rests, strict=True)]
    curves = []
    turns = find_turning_points(tilts, SWING_DEG)
    for turn, next_turn in pairwise(turns):
        sign = 1 if tilts[next_turn] > tilts[turn] else -1
        ends = itertools.product(_around(turn, len(parts)), _around(next_turn, len(parts)))
        first, last = max(ends, key=lambda pair: sign * (lower[pair[1]] - upper[pair[0]]))
        angle = sign * (lower[last] - upper[first])
        if last - first < 2 or angle < SMALLEST_DEG:
            continue
        side: Literal["left", "right"] = "left" if sign > 0 else "right"
        apex = _find_apex(parts[first : last + 1], _X)
        curves.append(Curve("coronal", parts[first].level, parts[last].level, apex, angle, side))
    return tuple(curves)


def _around(place: int, count: int) -> range:
    """A turning point and its neighbours: the end vertebra is the one tilted most."""
    return range(max(place - 1, 0), min(place + 2, count))


def find_turning_points(values: Sequence[float], swing: float) -> list[int]:
    """Returns where a sequence turns, its ends included, ignoring swings smaller than `swing`.

    Between two successive points the sequence rises or falls by at least `swing`; none are returned if it
    never does.

    Example:
        >>> find_turning_points([-4, -6, -5, 8, 3], 4)
        [1, 3, 4]
    """
    low = high = 0
    turns: list[int] = []
    rising: bool | None = None
    for i, value in enumerate(values):
        low = i if value < values[low] else low
        high = i if value > values[high] else high
        if rising is not False and values[high] - value >= swing and high < i:
            turns.append(high)
            rising, low, high = False, i, i
        elif rising is not True and value - values[low] >= swing and low < i:
            turns.append(low)
            rising, low, high = True, i, i
    if rising is not None:
        turns.append(high if rising else low)
    return turns


def _find_apex(parts: Sequence[Endplates], axis: int) -> str:
    """Returns the vertebra farthest from the line between the ends in the projection."""
    points = np.array([[p.center_mm[axis], p.center_mm[_Z]] for p in parts])
    chord = points[-1] - points[0]
    away = points - points[0]
    distance = np.abs(away[:, 0] * chord[1] - away[:, 1] * chord[0])
    inner = distance[1:-1] if len(parts) > 2 else distance
    return parts[int(np.argmax(inner)) + (1 if len(parts) > 2 else 0)].level


def _measure_sagittal(endplates: Sequence[Endplates], first: str, last: str) -> Curve | None:
    """Measures the curve between two levels or what is in view of it; at least four vertebrae."""
    low, high = ORDER[first], ORDER[last]
    inside = [e for e in endplates if low <= ORDER[e.level] <= high]
    inside = _trim(inside, lambda e: e.superior is not None, from_top=True)
    inside = _trim(
        inside, lambda e: (e.superior if e.level == "S" else e.inferior) is not None, from_top=False
    )
    if len(inside) < FEWEST:
        return None
    tangents = _tangent_tilts(inside, _Y)
    assert inside[0].superior is not None
    upper = _plate_tilt(inside[0], tangents[0] - _tilt(inside[0].superior, _Y), _Y, superior=True)
    if inside[-1].level == "S":
        assert inside[-1].superior is not None
        lower = _tilt(inside[-1].superior, _Y)
    else:
        assert inside[-1].inferior is not None
        rest = tangents[-1] - _tilt(inside[-1].inferior, _Y)
        lower = _plate_tilt(inside[-1], rest, _Y, superior=False)
    angle = lower - upper
    side: Literal["posterior", "anterior"] = "posterior" if angle > 0 else "anterior"
    return Curve("sagittal", inside[0].level, inside[-1].level, _find_apex(inside, _Y), abs(angle), side)


def _trim(
    parts: list[Endplates], is_usable: Callable[[Endplates], bool], *, from_top: bool
) -> list[Endplates]:
    usable = [i for i, part in enumerate(parts) if is_usable(part)]
    if not usable:
        return []
    return parts[usable[0] :] if from_top else parts[: usable[-1] + 1]
