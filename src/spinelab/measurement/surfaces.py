"""Endplate surfaces of a sampled body, and the planes fitted to them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.measurement.sampling import STEP_MM, Array, LocalGrid, Samples

Bools = NDArray[np.bool_]
#: Slices farther apart than this leave steps on tilted endplates that are smoothed.
STEPS_FROM_MM = 1.25
#: Share of an endplate that must be found in view for a plane to be fitted.
ENDPLATE_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Plane:
    """An endplate: (3,) unit normal towards the head and (3,) a point on it, LPS (mm)."""

    normal: Array
    point: Array


def find_surfaces(values: Samples, grid: LocalGrid, middle: float) -> tuple[Array, Array]:
    """Finds the upper and lower end of each column's stretch nearest to a height.

    Args:
        values: (x, y, z) indicator on the grid.
        grid: The local grid.
        middle: Local height of the middle of the body, mm.

    Returns:
        Two (x, y) arrays of local heights in mm, the superior and the inferior one; NaN where there is none.
    """
    closed = ndimage.grey_closing(values, size=(1, 1, 5))
    inside = closed >= 0.5
    distance = np.abs(grid.z_mm - middle)
    away = np.where(inside, distance, np.inf)
    start = away.argmin(axis=2)
    found = np.isfinite(away.min(axis=2))
    index = np.arange(len(grid.z_mm))
    above = ~inside & (index > start[..., None])
    below = (~inside & (index < start[..., None]))[..., ::-1]
    up = np.where(above.any(axis=2), above.argmax(axis=2), 1)
    down = np.where(below.any(axis=2), len(index) - 1 - below.argmax(axis=2), 0)
    top = _cross(values, grid.z_mm, up, -1)
    bottom = _cross(values, grid.z_mm, down, 1)
    top = np.where(found & above.any(axis=2), top, np.nan)
    bottom = np.where(found & below.any(axis=2), bottom, np.nan)
    return top, bottom


def _cross(values: Samples, line: Array, outside: NDArray[np.intp], towards: int) -> Array:
    """Returns where each column crosses 0.5 between the first sample outside and the last inside."""
    inner = np.clip(outside + towards, 0, len(line) - 1)
    a = np.take_along_axis(values, outside[..., None], axis=2)[..., 0].astype(float)
    b = np.take_along_axis(values, inner[..., None], axis=2)[..., 0].astype(float)
    share = np.clip((0.5 - a) / np.where(np.abs(b - a) < 1e-6, 1.0, b - a), 0, 1)
    return np.asarray(line[outside] + share * (line[inner] - line[outside]))


def fit_plane(grid: LocalGrid, surface: Array, footprint: Bools, loose_mm: float) -> Array | None:
    """Fits z = p0 + p1 x + p2 y to a surface, robustly (Tukey).

    Args:
        grid: Where its columns are.
        surface: (x, y) local heights in mm, NaN where unknown.
        footprint: (x, y) columns to use.
        loose_mm: How rough the surface may be without a flaw of its own: the distance of the slices.

    Returns:
        (3,) coefficients; None where less than half of the footprint is known.
    """
    use = footprint & np.isfinite(surface)
    if use.sum() < max(20, ENDPLATE_SHARE * footprint.sum()):
        return None
    i, j = np.nonzero(use)
    design = np.stack([np.ones(len(i)), grid.x_mm[i], grid.y_mm[j]], axis=1)
    z = surface[use]
    weights = np.ones(len(z))
    plane = np.zeros(3)
    for _ in range(8):
        root = np.sqrt(weights)[:, None]
        plane = np.linalg.lstsq(design * root, z * root[:, 0], rcond=None)[0]
        rest = np.abs(z - design @ plane)
        scale = max(4.685 * 1.4826 * float(np.median(rest)), 1.5, 2 * loose_mm)
        weights = np.clip(1 - (rest / scale) ** 2, 0, None) ** 2
    return np.asarray(plane)


def smooth_steps(rest: Array, usable: Bools, loose_mm: float) -> Array:
    """Smooths what a surface differs from its plane where slices are thick.

    A tilted endplate comes as steps as high as the slices are apart; their mean is the surface.

    Args:
        rest: (x, y) difference in mm; NaN stays NaN.
        usable: (x, y) columns to believe.
        loose_mm: Distance of the slices.
    """
    if loose_mm <= STEPS_FROM_MM:
        return rest
    weight = (usable & (np.abs(rest) < 3 * loose_mm)).astype(float)
    sigma = 0.5 * loose_mm / STEP_MM
    mean = ndimage.gaussian_filter(np.where(weight > 0, rest, 0.0), sigma, truncate=2.5)
    share = ndimage.gaussian_filter(weight, sigma, truncate=2.5)
    smooth = np.where(share > 1e-3, mean / np.maximum(share, 1e-3), rest)
    return np.asarray(np.where(weight > 0, smooth, rest))


def evaluate_plane(plane: Array | None, x_mm: Array, y_mm: Array, otherwise: float) -> Array:
    """Returns a plane's local height at local x and y (broadcast); `otherwise` where there is none."""
    if plane is None:
        return np.full(np.broadcast_shapes(np.shape(x_mm), np.shape(y_mm)), otherwise)
    return np.asarray(plane[0] + plane[1] * x_mm + plane[2] * y_mm)


def to_world_plane(plane: Array, grid: LocalGrid, x_mm: float, y_mm: float) -> Plane:
    """Returns fitted coefficients as a plane in LPS, its point above local (x, y)."""
    normal = np.array([-plane[1], -plane[2], 1.0]) @ grid.axes
    point = grid.to_world(np.array([x_mm, y_mm, float(plane @ [1, x_mm, y_mm])]))
    return Plane(normal / np.linalg.norm(normal), point)


def fit_surface(grid: LocalGrid, surface: Array, footprint: Bools, loose_mm: float) -> Plane | None:
    """Fits as `fit_plane` does and returns the plane in LPS, its point at the middle of the columns used."""
    plane = fit_plane(grid, surface, footprint, loose_mm)
    if plane is None:
        return None
    i, j = np.nonzero(footprint & np.isfinite(surface))
    return to_world_plane(plane, grid, float(grid.x_mm[i].mean()), float(grid.y_mm[j].mean()))
