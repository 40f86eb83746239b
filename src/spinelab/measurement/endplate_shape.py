"""The shape of a body's ends: focal depressions, as Schmorl nodes make, and rims that reach forward."""

import numpy as np
from scipy import ndimage

from spinelab.measurement.bodies import Body
from spinelab.measurement.sampling import Array
from spinelab.measurement.surfaces import Bools
from spinelab.spine import EndplateShape

#: Share of half width and half depth within which an endplate is looked at: inside the rim.
INSIDE = 0.78
#: Share of the half width within which the anterior rims are looked at.
RIM = 0.5
#: Least columns of an endplate that must be in view.
FEWEST = 60
#: Least distance (mm) from the smooth surface at which a column stops counting for it.
LEAST_SCALE_MM = 1.0


def measure_endplate_shape(body: Body) -> EndplateShape:
    """Measures how deep each endplate falls below its own smooth surface, and how far its rims reach forward.

    The smooth surface is a robust quadratic: the broad hollow of a biconcave body belongs to it, a Schmorl
    node does not. The depth is that of a patch of 3 by 3 mm.

    Args:
        body: A body found in a mask.

    Returns:
        Depths and reach in mm, 0 or more; None where less than half of an endplate is in view.
    """
    return EndplateShape(
        _measure_depression(body, body.top_mm, body.top_cut, 1.0),
        _measure_depression(body, body.bottom_mm, body.bottom_cut, -1.0),
        _measure_lip(body),
    )


def _measure_depression(body: Body, surface: Array, cut: Bools, outwards: float) -> float | None:
    x = body.grid.x_mm[:, None] / body.half_width_mm
    depth = (body.back_mm - body.front_mm)[:, None] / 2
    y = (body.grid.y_mm[None, :] - ((body.back_mm + body.front_mm) / 2)[:, None]) / depth
    inside = np.nan_to_num(x**2 + y**2, nan=np.inf) <= INSIDE**2
    use = inside & np.isfinite(surface) & ~cut
    if use.sum() < max(FEWEST, 0.5 * inside.sum()):
        return None
    i, j = np.nonzero(use)
    a, b = x[i, 0], y[i, j]
    design = np.stack([np.ones(len(i)), a, b, a * a, a * b, b * b], axis=1)
    rest = np.full(surface.shape, np.nan)
    rest[i, j] = outwards * (surface[i, j] - _fit_robustly(design, surface[i, j]))
    patch = ndimage.uniform_filter(np.nan_to_num(rest), 3, mode="constant")
    return max(0.0, -float(patch[i, j].min()))


def _fit_robustly(design: Array, values: Array) -> Array:
    """Returns the fitted values of a least-squares fit that outliers do not pull (Tukey)."""
    weights = np.ones(len(values))
    fitted = np.zeros(len(values))
    for _ in range(10):
        root = np.sqrt(weights)[:, None]
        fitted = design @ np.linalg.lstsq(design * root, values * root[:, 0], rcond=None)[0]
        rest = np.abs(values - fitted)
        scale = 4.685 * max(1.4826 * float(np.median(rest)), LEAST_SCALE_MM / 4.685)
        weights = np.clip(1 - (rest / scale) ** 2, 0, None) ** 2
    return np.asarray(fitted)


def _measure_lip(body: Body) -> float | None:
    """How far columns of bone go on ahead of the anterior wall, at their farthest (90 %) near the midline."""
    step = float(body.grid.y_mm[1] - body.grid.y_mm[0])
    reach = []
    for column in np.flatnonzero(np.abs(body.grid.x_mm) <= RIM * body.half_width_mm):
        wall = body.front_mm[column]
        if not np.isfinite(wall):
            continue
        ahead = np.flatnonzero(body.grid.y_mm < wall)[::-1]
        bone = np.isfinite(body.top_mm[column, ahead]) & np.isfinite(body.bottom_mm[column, ahead])
        reach.append(step * (len(bone) if bone.all() else int(bone.argmin())))
    return float(np.percentile(reach, 90)) if reach else None
