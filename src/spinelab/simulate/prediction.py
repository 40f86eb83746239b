"""What a changed body will measure, known from the change itself without a voxel."""

from dataclasses import replace

import numpy as np

from spinelab.measurement.bodies import Body
from spinelab.measurement.heights import measure_heights
from spinelab.measurement.surfaces import fit_plane
from spinelab.simulate.changes import Change
from spinelab.simulate.rigid import Array
from spinelab.spine import Heights

#: Semi-axes of the ellipse the axes are taken from, as shares of half width and half depth.
INNER = (0.68, 0.76)


def push_body(body: Body, change: Change) -> Body:
    """Returns a body with its endplate surfaces where a change brings them; walls and axes as they were."""
    x, y = np.broadcast_arrays(body.grid.x_mm[:, None], body.grid.y_mm[None, :])
    moved = []
    for surface in (body.top_mm, body.bottom_mm):
        points = np.stack([x, y, np.nan_to_num(surface)], axis=-1).reshape(-1, 3)
        heights = change.apply(points)[:, 2].reshape(surface.shape)
        moved.append(np.where(np.isfinite(surface), heights, np.nan))
    return replace(body, top_mm=moved[0], bottom_mm=moved[1])


def predict_heights(body: Body, change: Change) -> Heights:
    """Returns the heights in mm of a changed body along its own new axis.

    That axis is the mean normal of the changed endplates; it turns where an endplate tips.

    Args:
        body: As it was.
        change: Fitted to it.
    """
    pushed = push_body(body, change)
    before, after = _lean(body), _lean(pushed)
    return measure_heights(pushed if before is None or after is None else _turn(pushed, after - before))


def _lean(body: Body) -> float | None:
    """Returns the lean of the mean endplate normal to the back in its sagittal plane, in radians."""
    middle = float(np.nanmean([np.nanmedian(body.front_mm), np.nanmedian(body.back_mm)]))
    half = np.array([body.half_width_mm, body.depth_mm / 2]) * INNER
    across, along = body.grid.x_mm[:, None] / half[0], (body.grid.y_mm[None, :] - middle) / half[1]
    leans = []
    for surface, cut in ((body.top_mm, body.top_cut), (body.bottom_mm, body.bottom_cut)):
        plane = fit_plane(body.grid, np.where(cut, np.nan, surface), across**2 + along**2 <= 1, 1.0)
        if plane is None:
            return None
        leans.append(float(np.arctan(-plane[2])))
    return float(np.mean(leans))


def _turn(body: Body, lean: float) -> Body:
    """Returns a body's surfaces and walls in axes that lean further to the back by so many radians."""
    cosine, sine, y = np.cos(lean), np.sin(lean), body.grid.y_mm
    between = (y >= body.front_mm[:, None] - 2) & (y <= body.back_mm[:, None] + 2)
    middle = (body.top_mm + body.bottom_mm) / 2
    surfaces, walls = [], []
    for surface in (body.top_mm, body.bottom_mm):
        bone = np.where(between, surface, np.nan)
        rows = [_interpolate(y, cosine * y - sine * row, sine * y + cosine * row) for row in bone]
        surfaces.append(np.array(rows))
    for wall in (body.front_mm, body.back_mm):
        rim = np.clip(wall, body.front_mm + 1, body.back_mm - 1)  # where both surfaces are sure to be known
        heights = [float(_interpolate(at, y, row)) for at, row in zip(rim, middle, strict=True)]
        walls.append(cosine * wall - sine * np.array(heights))
    return replace(body, top_mm=surfaces[0], bottom_mm=surfaces[1], front_mm=walls[0], back_mm=walls[1])


def _interpolate(at: Array, places: Array, values: Array) -> Array:
    """Returns `values` at places `at`, the outermost beyond the known ones; NaN where none is known."""
    known = np.isfinite(values) & np.isfinite(places)
    if not known.any():
        return np.full(np.shape(at), np.nan)
    found = np.interp(at, places[known], values[known])
    return np.asarray(np.where(np.isfinite(at), found, np.nan))
