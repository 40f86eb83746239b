"""Walks down a traced column with the outline network and finds where the bodies really are.

The detector sees 3 mm voxels: it knows the line of the column and roughly the levels, but in thick slices or
bridged discs not where one body ends and the next begins. The outline network sees the endplates. Started
anywhere in a body it outlines that body, so starts every few millimetres gather in the middles of the bodies.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinelab.models import Network
from spinelab.tasks.column_prior import SIZES, expected_spacing_mm
from spinelab.tasks.frames import column_frames
from spinelab.tasks.naming import NamedColumn
from spinelab.tasks.outline import Patch, outline_one
from spinelab.volume import Image

Floats = NDArray[np.float64]

#: Starts a body gets, and how many of them must agree on a middle for it to be one.
_STARTS, _AGREE = 4, 2
#: Middles nearer than this share of the spacing are one body's.
_SAME_BODY = 0.42


@dataclass(frozen=True, eq=False)
class Body:
    """A body the starts agree on.

    Attributes:
        center_mm: (3,) LPS mm.
        support: Share of the starts a body should get that ended here, 0 to 1.
    """

    center_mm: Floats
    support: float


def walk_column(
    image: Image, network: Network, named: NamedColumn, tell: Callable[[float], None]
) -> list[Body]:
    """Returns the bodies along a traced column, from the head down.

    Args:
        image: CT on its own grid.
        network: The outline network.
        named: The traced column; its names only tell what spacing to expect.
        tell: Called with the fraction done.
    """
    line, spacing = _line(named)
    frames = column_frames(line)
    ends = []
    for place, start in enumerate(line):
        tell(place / len(line))
        if not image.geometry.contains(start):
            continue
        step = frames[place, 2] * spacing[place]
        patch = outline_one(
            image,
            network,
            center_mm=start,
            frame=frames[place],
            others_mm=np.stack([start + step, start - step]),
        )
        moved = _middle(patch, spacing[place])
        if moved is not None:
            ends.append((place, moved))
    return _gather(ends, line, spacing)


def _line(named: NamedColumn) -> tuple[Floats, Floats]:
    """(n, 3) starts along the column, one spacing beyond both ends, and (n,) the local spacing in mm."""
    centers = np.array([point.center_mm for point in named.points])
    pairs = list(zip(named.levels[:-1], named.levels[1:], strict=True))
    expected = np.array([expected_spacing_mm(upper, lower)[0] for upper, lower in pairs])
    gaps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    size = float(np.clip(np.median(gaps / expected), *SIZES))
    above = centers[0] + (centers[0] - centers[1]) / gaps[0] * expected[0] * size
    below = centers[-1] + (centers[-1] - centers[-2]) / gaps[-1] * expected[-1] * size
    knots = np.vstack([above, centers, below])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    local = np.concatenate([[expected[0]], expected, [expected[-1]]]) * size
    at = [0.0]
    while at[-1] < along[-1]:
        at.append(at[-1] + float(np.interp(at[-1], along[:-1], local)) / _STARTS)
    starts = np.stack([np.interp(at, along, knots[:, axis]) for axis in range(3)], axis=1)
    return starts, np.interp(at, along[:-1], local)


def _middle(patch: Patch, spacing_mm: float) -> Floats | None:
    """Where the outlined body's middle lies; None where no body was outlined or it lies a step away."""
    offset = patch.body_offset_mm
    if offset is None or abs(offset) > 0.75 * spacing_mm:
        return None
    return np.asarray(patch.center_mm + offset * patch.frame[2])


def _gather(ends: list[tuple[int, Floats]], line: Floats, spacing: Floats) -> list[Body]:
    """Joins the middles the starts came to: neighbours along the line that agree are one body."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    tangent = -column_frames(line)[:, 2]
    places = [(along[k] + float((middle - line[k]) @ tangent[k]), k, middle) for k, middle in ends]
    places.sort(key=lambda entry: entry[0])
    groups: list[list[tuple[float, int, Floats]]] = []
    for entry in places:
        if groups:
            center = float(np.mean([at for at, _, _ in groups[-1]]))
            if entry[0] - center < _SAME_BODY * spacing[entry[1]]:
                groups[-1].append(entry)
                continue
        groups.append([entry])
    return [
        Body(np.median([middle for _, _, middle in group], axis=0), min(1.0, len(group) / _STARTS))
        for group in groups
        if len(group) >= _AGREE
    ]
