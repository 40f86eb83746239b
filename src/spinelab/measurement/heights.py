"""Body heights as in six-point morphometry, and how much of them is lost.

Six points on the endplates (anterior, middle, posterior) give three heights (Smith-Bindman et al. 1991; the
grading by Genant et al. 1993 reads the same three). Here each is a mean over a band of columns inside the
rim, so that osteophytes and a single ragged voxel do not move it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spinelab.measurement.bodies import Body
from spinelab.measurement.sampling import Array
from spinelab.measurement.surfaces import Bools, Plane
from spinelab.spine import HeightLoss, Heights

#: Bands of the body's depth from its anterior edge over which a height is the mean.
ANTERIOR_BAND, MIDDLE_BAND, POSTERIOR_BAND = (0.10, 0.25), (0.44, 0.56), (0.75, 0.90)
#: Half thickness of the sagittal slab a height is read in.
SLAB_MM = 3.0
#: How far a surface may reach beyond the neighbour's endplate before it is not believed.
SPILL_MM = 2.0
#: A body whose anterior and middle heights exceed this share of its posterior one may serve as reference.
INTACT = 0.8
#: How far from a vertebra its reference may be, in vertebrae.
REFERENCE_STEPS = 2


def measure_heights(body: Body, left_share: float = 0.0) -> Heights:
    """Measures anterior, middle and posterior height in a sagittal plane of the body's own frame.

    Args:
        body: The body.
        left_share: Where the plane lies: 0 mid-sagittal, 0.5 half-way to the left edge, -0.5 to the right.

    Returns:
        Heights in mm along the body's superior axis; None where the field of view cuts the endplate or the
        mask has no column there.
    """
    slab = np.abs(body.grid.x_mm - left_share * body.half_width_mm) <= SLAB_MM
    return Heights(*(_mean_height(body, slab, band) for band in (ANTERIOR_BAND, MIDDLE_BAND, POSTERIOR_BAND)))


def _mean_height(body: Body, slab: Bools, band: tuple[float, float]) -> float | None:
    front, back = body.front_mm[slab, None], body.back_mm[slab, None]
    share = (body.grid.y_mm[None, :] - front) / (back - front)
    within = (share >= band[0]) & (share <= band[1])
    height = (body.top_mm - body.bottom_mm)[slab][within]
    cut = (body.top_cut | body.bottom_cut)[slab][within]
    usable = np.isfinite(height) & ~cut
    if len(height) < 3 or usable.sum() < 0.7 * len(height):
        return None
    height = height[usable]
    middle = float(np.median(height))
    spread = max(1.4826 * float(np.median(np.abs(height - middle))), 0.5)
    return float(height[np.abs(height - middle) <= 3 * spread].mean())


def exclude_spill(body: Body, above: Plane | None, below: Plane | None, slice_mm: float) -> Body:
    """Leaves out columns of a body that run through a disc into the neighbour, as ragged masks do.

    Args:
        body: The body.
        above: Inferior endplate of the body above; None where unknown.
        below: Superior endplate of the body below; None where unknown.
        slice_mm: Distance of the slices along the body's axis; half of it and 2 mm are allowed.

    Returns:
        The body with such columns marked as cut.
    """
    allowed = SPILL_MM + slice_mm / 2
    top_cut, bottom_cut = body.top_cut, body.bottom_cut
    if above is not None:
        top_cut = top_cut | (body.top_mm > _plane_heights(body, above) + allowed)
    if below is not None:
        bottom_cut = bottom_cut | (body.bottom_mm < _plane_heights(body, below) - allowed)
    return replace(body, top_cut=top_cut, bottom_cut=bottom_cut)


def _plane_heights(body: Body, plane: Plane) -> Array:
    """Returns (x, y) the local height of a plane above each column."""
    point = body.grid.axes @ (plane.point - body.grid.origin_mm)
    normal = body.grid.axes @ plane.normal
    x, y = body.grid.x_mm[:, None] - point[0], body.grid.y_mm[None, :] - point[1]
    return np.asarray(point[2] - (normal[0] * x + normal[1] * y) / normal[2])


def compare_heights(heights: Sequence[Heights | None]) -> list[HeightLoss | None]:
    """Compares each body's heights with one another and with its neighbours'.

    A neighbour serves as reference only if it is intact itself (anterior and middle at least 80 % of its
    posterior height); the nearest such within two vertebrae above and below are averaged.

    Args:
        heights: Mid-sagittal heights from the head down; None where unknown.

    Returns:
        A height loss a vertebra; None where none of its parts is known.
    """
    return [_compare(own, _find_references(heights, i)) for i, own in enumerate(heights)]


def _find_references(heights: Sequence[Heights | None], position: int) -> list[Heights]:
    references = []
    for direction in (-1, 1):
        for step in range(1, REFERENCE_STEPS + 1):
            place = position + direction * step
            if 0 <= place < len(heights) and _is_intact(heights[place]):
                found = heights[place]
                assert found is not None
                references.append(found)
                break
    return references


def _is_intact(heights: Heights | None) -> bool:
    if heights is None or heights.anterior is None or heights.middle is None or heights.posterior is None:
        return False
    return min(heights.anterior, heights.middle) >= INTACT * heights.posterior


def _compare(own: Heights | None, references: list[Heights]) -> HeightLoss | None:
    if own is None:
        return None
    losses = {
        name: _loss(getattr(own, name), [getattr(r, name) for r in references])
        for name in ("anterior", "middle", "posterior")
    }
    known = [value for value in losses.values() if value is not None]
    loss = HeightLoss(
        anterior_percent=_loss(own.anterior, [own.posterior]),
        middle_percent=_loss(own.middle, [own.posterior]),
        crush_percent=losses["posterior"],
        neighbours_percent=max(known) if known else None,
    )
    return None if loss == HeightLoss(None, None, None, None) else loss


def _loss(value: float | None, references: Sequence[float | None]) -> float | None:
    """Returns by how many per cent `value` falls short of the mean reference, never below 0."""
    known = [r for r in references if r is not None]
    if value is None or not known:
        return None
    return max(0.0, 100 * (1 - value / (sum(known) / len(known))))
