"""What the corners of bodies in their mid-sagittal planes tell: heights of bodies and discs, sagittal curves.

Corners are those of `spinelab.spine.Corners`. Nothing is told of what lies beside the midline: no coronal
curve, no density, no axial rotation.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from spinelab.measurement.curvature import Endplates, measure_curvature
from spinelab.measurement.sampling import Array
from spinelab.spine import Corners, Disc, Heights, Point, Spine, Vertebra

#: How far a body that was not seen may be off (standard deviation along each axis).
INFERRED_SD_MM = 4.0
#: The middle of the last disc: how far below the endplate above it, and how far off that may be along each
#: axis. Discs L5/S1 are 10.7 mm high (standard deviation 2.1; Zhou et al., Eur Spine J 2000; 9: 242); being
#: wedges, five that were drawn had their centroids 3 to 7 mm farther forward.
_LAST_DISC_MM, _LAST_DISC_SD_MM = 5.3, 4.0
_DIGITS = 2


def measure_landmarks(spine: Spine, *, sacrum: Point | None = None) -> Spine:
    """Measures what the corners of a spine tell.

    Heights of bodies are distances between corners, front and back (as in morphometry on lateral films;
    they read 0 to 2 mm higher than the means over bands in `spinelab.measurement.measure`). Heights of
    discs are the distances of the corners about them across the disc's own mid-plane, front and back, whose
    mean is the disc height of Dabbs and Dabbs (Spine 1990; 15: 1366).

    Args:
        spine: With corners and their standard deviations where bodies were seen. Of a body that the field
            of view cuts, and of the discs beside it, nothing is measured.
        sacrum: Centre of S1 where it was seen below the last vertebra, LPS mm.

    Returns:
        The spine with body heights (mm), discs (mm, degrees), kyphosis and lordosis (degrees). Without the
        endplate of S1 lordosis ends at the last vertebra.
    """
    vertebrae = tuple(_with_heights(vertebra) for vertebra in spine.vertebrae)
    discs = [_disc(above, below) for above, below in pairwise(spine.vertebrae)]
    last = _last_disc(spine.vertebrae[-1], sacrum) if spine.vertebrae and sacrum else None
    curvature = measure_curvature([_endplates(vertebra) for vertebra in spine.vertebrae])
    return replace(
        spine,
        vertebrae=vertebrae,
        discs=(*discs, *([last] if last else [])),
        curvature=replace(curvature, coronal=()),
    )


def _endplates(vertebra: Vertebra) -> Endplates:
    """Normals of the endplates in the mid-sagittal plane, of a body wholly in view."""
    center = np.array(vertebra.center_mm)
    if vertebra.corners is None or not vertebra.complete:
        return Endplates(vertebra.level, center, None, None)
    points = vertebra.corners.points()
    return Endplates(vertebra.level, center, _normal(points[:2]), _normal(points[2:]))


def _normal(ends_mm: Array) -> Array:
    """(3,) unit normal towards the head of the line from the front (row 0) to the back (row 1)."""
    _, y, z = ends_mm[1] - ends_mm[0]
    length = float(np.hypot(y, z))
    return np.array([0.0, -z, y]) / length if length > 1e-6 else np.array([0.0, 0.0, 1.0])


def _with_heights(vertebra: Vertebra) -> Vertebra:
    if vertebra.corners is None or not vertebra.complete:
        return vertebra
    points = vertebra.corners.points()
    front, back = np.linalg.norm(points[:2] - points[2:], axis=1)
    return replace(vertebra, heights_mm=Heights(round(float(front), 1), None, round(float(back), 1)))


def _disc(above: Vertebra, below: Vertebra) -> Disc:
    """The disc between two vertebrae: the middle of the corners about it, else of the two centres."""
    if above.corners is None or below.corners is None:
        near = [INFERRED_SD_MM if v.center_sd_mm is None else v.center_sd_mm for v in (above, below)]
        middle = (np.array(above.center_mm) + np.array(below.center_mm)) / 2
        spread = float(np.hypot(np.hypot(near[0], near[1]) / 2, INFERRED_SD_MM / 2))
        return Disc(above.level, below.level, _point(middle), round(spread, _DIGITS))
    upper, lower = above.corners.points()[2:], below.corners.points()[:2]
    sd = np.array([*above.corners.sd_mm[2:], *below.corners.sd_mm[:2]])
    disc = Disc(
        above.level,
        below.level,
        _point(np.vstack([upper, lower]).mean(axis=0)),
        round(float(np.sqrt((sd**2).sum()) / 4), _DIGITS),
    )
    front, back = (upper - lower) @ _normal((upper + lower) / 2)
    if not (above.complete and below.complete) or front + back <= 0:
        return disc
    opening = _tilt_deg(lower) - _tilt_deg(upper)
    return replace(
        disc,
        anterior_mm=round(float(front), 1),
        posterior_mm=round(float(back), 1),
        height_sd_mm=round(float(np.sqrt((sd**2).sum() / 2)), 1),
        angle_deg=round(opening, 1),
    )


def _tilt_deg(ends_mm: Array) -> float:
    """How steeply a line rises from the front (row 0) to the back (row 1)."""
    _, y, z = ends_mm[1] - ends_mm[0]
    return float(np.degrees(np.arctan2(z, y)))


def _last_disc(last: Vertebra, sacrum: Point) -> Disc | None:
    """The disc above the sacrum, whose endplate is not marked: a little below the last body, towards S1."""
    if last.corners is None:
        return None
    middle = last.corners.points()[2:].mean(axis=0)
    way = np.array(sacrum) - middle
    length = float(np.linalg.norm(way))
    if length < _LAST_DISC_MM:
        return None
    spread = float(np.hypot(_sd_of_middle(last.corners), _LAST_DISC_SD_MM))
    return Disc(last.level, "S", _point(middle + _LAST_DISC_MM * way / length), round(spread, _DIGITS))


def _sd_of_middle(corners: Corners) -> float:
    return float(np.hypot(corners.sd_mm[2], corners.sd_mm[3])) / 2


def _point(values: Array) -> Point:
    x, y, z = (round(float(value), _DIGITS) for value in values)
    return (x, y, z)
