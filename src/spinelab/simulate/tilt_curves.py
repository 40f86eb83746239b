"""Finds the coronal curves of a profile of leans and names its pattern, for films and for draws alike.

Patterns follow the six types of Lenke et al. (J Bone Joint Surg Am 2001;83:1169-81): which of the proximal
thoracic, main thoracic and thoracolumbar/lumbar curves are structural. Lenke asks side-bending films for
that; a standing profile has none, so a minor curve counts here from `STRUCTURAL` of the major one on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np

from spinelab.measurement.curvature import find_turning_points
from spinelab.simulate.column_line import Float, trace_centers
from spinelab.simulate.curve_model import LEVELS, distances_between, positions_of

Side = Literal["left", "right"]
Region = Literal["proximal_thoracic", "main_thoracic", "thoracolumbar"]
#: The lean must swing by this much before a curve ends and the next begins.
SWING_DEG = 5.0
#: Curves below this angle make no scoliosis and no pattern (Cobb 1948; Scoliosis Research Society).
SCOLIOSIS_DEG = 10.0
#: A minor curve of this share of the major one is taken as structural.
STRUCTURAL = 0.65
#: Apices up to T5 are proximal thoracic, down to T11 main thoracic, from T12 on thoracolumbar or lumbar.
_LAST_PROXIMAL, _LAST_THORACIC = 4, 10.5
#: Structural curves (proximal thoracic, main thoracic, thoracolumbar) and the major one -> pattern.
PATTERNS: dict[str, tuple[frozenset[Region], frozenset[Region]]] = {
    "thoracic": (frozenset({"main_thoracic"}), frozenset({"main_thoracic"})),
    "double_thoracic": (frozenset({"proximal_thoracic", "main_thoracic"}), frozenset({"main_thoracic"})),
    "double_major": (frozenset({"main_thoracic", "thoracolumbar"}), frozenset({"main_thoracic"})),
    "triple_major": (
        frozenset({"proximal_thoracic", "main_thoracic", "thoracolumbar"}),
        frozenset({"main_thoracic", "thoracolumbar"}),
    ),
    "thoracolumbar": (frozenset({"thoracolumbar"}), frozenset({"thoracolumbar"})),
    "thoracolumbar_thoracic": (frozenset({"main_thoracic", "thoracolumbar"}), frozenset({"thoracolumbar"})),
}


@dataclass(frozen=True)
class TiltCurve:
    """One curve between the most tilted vertebrae.

    Attributes:
        upper, lower: End vertebrae.
        apex: The vertebra farthest from the line between the centres of the end vertebrae.
        angle_deg: Difference of their leans.
        side: Where it is convex to.
        region: By its apex.
    """

    upper: str
    lower: str
    apex: str
    angle_deg: float
    side: Side
    region: Region


def find_tilt_curves(
    coronal_deg: Float, levels: Sequence[str] = LEVELS, *, swing_deg: float = SWING_DEG
) -> tuple[TiltCurve, ...]:
    """Finds all coronal curves of at least `swing_deg` over three vertebrae or more, from the head down.

    Args:
        coronal_deg: (n,) lean of each vertebra to the patient's left.
        levels: n names from the head down.
        swing_deg: Smaller swings of the lean are not curves.

    Example:
        >>> find_tilt_curves(np.linspace(20, -20, 5), ("T7", "T8", "T9", "T10", "T11"))[0].apex
        'T9'
    """
    places, distances = _line_of(tuple(levels))
    points = trace_centers(coronal_deg, distances)
    curves = []
    for first, last in pairwise(find_turning_points(coronal_deg.tolist(), swing_deg)):
        if last - first < 2:
            continue
        angle = float(coronal_deg[last] - coronal_deg[first])
        apex = first + _farthest(points[first : last + 1])
        curves.append(
            TiltCurve(
                upper=levels[first],
                lower=levels[last],
                apex=levels[apex],
                angle_deg=abs(angle),
                side="left" if angle > 0 else "right",
                region=region_of(float(places[apex])),
            )
        )
    return tuple(curves)


def region_of(place: float) -> Region:
    """Returns the region of an apex at a place along the column (T1 = 0, L5 = 16)."""
    if place <= _LAST_PROXIMAL:
        return "proximal_thoracic"
    return "main_thoracic" if place <= _LAST_THORACIC else "thoracolumbar"


def name_pattern(curves: Sequence[TiltCurve]) -> str | None:
    """Returns the pattern of `PATTERNS` that curves make.

    None if there is no scoliosis, or if only a proximal thoracic curve is one, as none of Lenke's types is.
    The major curve is the largest but a proximal thoracic one.
    """
    largest: dict[Region, float] = {}
    for curve in curves:
        largest[curve.region] = max(curve.angle_deg, largest.get(curve.region, 0.0))
    candidates: dict[Region, float] = {r: a for r, a in largest.items() if r != "proximal_thoracic"}
    major = max(candidates, key=lambda region: candidates[region], default=None)
    if major is None or largest[major] < SCOLIOSIS_DEG:
        return None
    structural = frozenset(r for r, angle in largest.items() if angle >= STRUCTURAL * largest[major])
    for name, (regions, majors) in PATTERNS.items():
        if structural == regions and major in majors:
            return name
    # a proximal thoracic with a thoracolumbar curve and nothing structural between them is no type of its own
    return "thoracolumbar" if major == "thoracolumbar" else None


def main_curve(curves: Sequence[TiltCurve]) -> TiltCurve | None:
    """Returns the largest curve, the lowest of equals; None if there is none."""
    return max(reversed(curves), key=lambda curve: curve.angle_deg, default=None)


@lru_cache(maxsize=64)
def _line_of(levels: tuple[str, ...]) -> tuple[Float, Float]:
    """Returns (n,) places of the levels and (n - 1,) distances between them."""
    places = positions_of(levels)
    return places, distances_between(places)


def _farthest(points: Float) -> int:
    """Returns which of (n, 2) points lies farthest from the line between the ends, the ends left out."""
    chord, away = points[-1] - points[0], points - points[0]
    distance = np.abs(away[:, 0] * chord[1] - away[:, 1] * chord[0])
    return int(np.argmax(distance[1:-1])) + 1
