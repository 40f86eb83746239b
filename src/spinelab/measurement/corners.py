"""The four corners of a body in its mid-sagittal plane, from a mask of the body."""

import numpy as np

from spinelab.measurement.bodies import LOWER_WALL, UPPER_WALL, Body
from spinelab.measurement.sampling import Array
from spinelab.measurement.surfaces import Plane
from spinelab.volume import Mask

#: Order of the corners wherever four are given.
CORNERS = ("superior anterior", "superior posterior", "inferior anterior", "inferior posterior")
#: Half width of the slab about the midline that is read, and how far in front and behind.
_HALF_SLAB_MM, _REACH_MM, _STEP_MM = 3.0, 32.0, 0.5


def find_corners(mask: Mask, label: int, body: Body) -> Array | None:
    """Finds where the walls of a body, read next to its rims, meet its endplate planes in the midline.

    Args:
        mask: (i, j, k) VerSe numbers on the scan's own grid, whole vertebrae or bodies alone.
        label: The vertebra's number.
        body: As found in that mask.

    Returns:
        (4, 3) points, LPS mm, in the order of `CORNERS`; None where an endplate or a wall is not in view.
    """
    if body.superior is None or body.inferior is None:
        return None
    axes, center = body.grid.axes, body.center_mm
    top, bottom = (_line(plane, center, axes) for plane in (body.superior, body.inferior))
    depth = np.arange(-_REACH_MM, _REACH_MM + _STEP_MM / 2, _STEP_MM)
    corners = []
    for line, shares in ((top, UPPER_WALL), (bottom, LOWER_WALL)):
        walls = _walls(mask, label, body, depth, (top, bottom, shares))
        if walls is None:
            return None
        corners += [center + y * axes[1] + (line[0] + line[1] * y) * axes[2] for y in walls]
    return np.array(corners)


def _line(plane: Plane, center: Array, axes: Array) -> tuple[float, float]:
    """Height and slope of an endplate along the midline, local mm."""
    normal = axes @ plane.normal
    point = axes @ (plane.point - center)
    return float(point @ normal / normal[2]), float(-normal[1] / normal[2])


def _walls(
    mask: Mask,
    label: int,
    body: Body,
    depth: Array,
    ends: tuple[tuple[float, float], tuple[float, float], tuple[float, ...]],
) -> tuple[float, float] | None:
    """Local y of the anterior and the posterior wall at shares of the height between the endplates."""
    top, bottom, shares = ends
    across = np.arange(-_HALF_SLAB_MM, _HALF_SLAB_MM + 0.1, 1.0)
    low, high = bottom[0] + bottom[1] * depth, top[0] + top[1] * depth
    fronts, backs = [], []
    for share in shares:
        x, y = np.meshgrid(across, depth, indexing="ij")
        z = np.broadcast_to(low + share * (high - low), y.shape)
        world = body.grid.to_world(np.stack([x, y, z], axis=-1))
        index = np.rint(mask.geometry.world_to_index(world)).astype(int)
        inside = np.all((index >= 0) & (index < np.asarray(mask.geometry.shape)), axis=-1)
        index = np.where(inside[..., None], index, 0)
        owned = (mask.array[tuple(np.moveaxis(index, -1, 0))] == label) & inside
        filled = np.flatnonzero(np.asarray(owned, np.float64).mean(axis=0) >= 0.5)
        if not filled.size:
            return None
        fronts.append(depth[filled[0]] - _STEP_MM / 2)
        backs.append(depth[filled[-1]] + _STEP_MM / 2)
    return float(np.median(fronts)), float(np.median(backs))
