"""The superior endplate of the sacrum, seen from the last lumbar body."""

from dataclasses import dataclass

import numpy as np

from spinelab.measurement.bodies import Body
from spinelab.measurement.frames import build_axes
from spinelab.measurement.sampling import STEP_MM, Array, Cutout, LocalGrid, Samples, lies_outside, sample
from spinelab.measurement.surfaces import Plane, fit_surface

#: No disc is higher, and no sacral endplate lies farther below the last lumbar one.
REACH_MM = 32.0


@dataclass(frozen=True, eq=False)
class SacralEndplate:
    """The superior endplate of S1.

    Attributes:
        plane: Its plane.
        axes: (3, 3) rows left, posterior, superior, superior being the plane's normal.
        corner_mm: (3,) its posterior edge in the midline, LPS mm; NaN where not found.
    """

    plane: Plane
    axes: Array
    corner_mm: Array


def find_sacral_endplate(cutout: Cutout, lumbar: Body) -> SacralEndplate | None:
    """Fits the first surface of the sacrum below the last lumbar body; None where there is none in view.

    Args:
        cutout: The sacrum's label (the whole sacrum or S1 alone).
        lumbar: The last lumbar body, its inferior endplate in view.
    """
    if lumbar.inferior is None:
        return None
    axes = build_axes(lumbar.inferior.normal, lumbar.grid.axes[1])
    origin = lumbar.inferior.point - 8.0 * axes[2]
    found: Plane | None = None
    for _ in range(4):
        grid, values = _look(cutout, origin, axes)
        top = _first_surface(values, grid)
        points = np.stack(np.broadcast_arrays(grid.x_mm[:, None], grid.y_mm[None, :], top), axis=-1)
        top[lies_outside(cutout.scan, grid.to_world(np.nan_to_num(points)))] = np.nan
        half = (lumbar.half_width_mm, lumbar.depth_mm / 2)
        footprint = (grid.x_mm[:, None] / half[0] / 0.68) ** 2 + (
            grid.y_mm[None, :] / half[1] / 0.76
        ) ** 2 <= 1
        found = fit_surface(grid, top, footprint, cutout.thickness_along(axes[2]))
        if found is None or found.normal[2] < 0.1:
            return None
        turned = float(found.normal @ axes[2])
        axes, origin = build_axes(found.normal, axes[1]), found.point
        if turned > np.cos(np.radians(1.0)):
            break
    assert found is not None
    return SacralEndplate(found, axes, _find_corner(cutout, origin, axes))


def _look(cutout: Cutout, origin: Array, axes: Array) -> tuple[LocalGrid, Samples]:
    lines = [np.arange(-r, r + STEP_MM / 2, STEP_MM) for r in (30.0, 34.0, REACH_MM)]
    grid = LocalGrid(origin, axes, lines[0], lines[1], lines[2])
    return grid, sample(cutout, grid)


def _first_surface(values: Samples, grid: LocalGrid) -> Array:
    """Returns (x, y) the highest crossing of each column from outside to inside; NaN where there is none."""
    inside = values[..., ::-1] >= 0.5
    place = len(grid.z_mm) - 1 - inside.argmax(axis=2)
    above = np.minimum(place + 1, len(grid.z_mm) - 1)
    a = np.take_along_axis(values, place[..., None], axis=2)[..., 0].astype(float)
    b = np.take_along_axis(values, above[..., None], axis=2)[..., 0].astype(float)
    share = np.clip((a - 0.5) / np.maximum(a - b, 1e-6), 0, 1)
    found = inside.any(axis=2) & (place < len(grid.z_mm) - 1)
    return np.where(found, grid.z_mm[place] + share * STEP_MM, np.nan)


def _find_corner(cutout: Cutout, origin: Array, axes: Array) -> Array:
    """Returns (3,) where the posterior wall, 3 to 8 mm below the endplate, meets its plane."""
    grid, values = _look(cutout, origin, axes)
    wall = values[np.abs(grid.x_mm) <= 4][:, :, (grid.z_mm <= -3) & (grid.z_mm >= -8)].mean(axis=(0, 2))
    start = int(np.argmin(np.abs(grid.y_mm)))
    behind = np.flatnonzero(wall[start:] < 0.5)
    if wall[start] < 0.5 or len(behind) == 0:
        return np.full(3, np.nan)
    last = start + int(behind[0]) - 1
    share = float((wall[last] - 0.5) / (wall[last] - wall[last + 1]))
    return grid.to_world(np.array([0.0, grid.y_mm[last] + share * STEP_MM, 0.0]))
