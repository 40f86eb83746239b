"""Density of the trabecular bone of a body, and what makes it doubtful: metal and contrast medium."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.measurement.bodies import Body
from spinelab.measurement.sampling import Array, LocalGrid, Slices
from spinelab.spine import Density
from spinelab.volume import Image, Mask

#: Distance kept from the cortex; the smaller one for bodies less deep than `SMALL_DEPTH_MM`.
MARGIN_MM, SMALL_MARGIN_MM, SMALL_DEPTH_MM = 4.0, 3.0, 20.0
#: Bone behind this share of the depth is left out: the basivertebral vein enters there.
DEEPEST_SHARE = 0.75
#: Less bone than this gives no density.
SMALLEST_MM3 = 150.0
#: Denser than any bone.
METAL_HU, METAL_MM3 = 2500, 20.0
#: Where vessels are looked for, from a body's centre: left-right, front-back, head-foot; distance of samples.
VESSEL_BOX_MM, VESSEL_STEP_MM = ((-54.0, 54.0), (-74.0, -12.0), (-12.0, 12.0)), 2.0
#: A ball of enhanced blood: radius, mean and spread of HU; and how far it must go on along the column.
BALL_MM, VESSEL_HU, VESSEL_SD_HU, VESSEL_LENGTH_MM = 4.3, (110.0, 550.0), 45.0, 12.0
CONTRAST_WARNING = (
    "contrast medium likely: density reads high, by about 10 to 30 HU (Pickhardt 2016: 11 HU on average)"
)


def measure_density(image: Image, body: Body, slice_mm: float) -> Density | None:
    """Measures the trabecular bone of a body, well away from its cortex.

    Args:
        image: The CT, HU.
        body: Its body.
        slice_mm: Distance of the slices along the body's axis; half of it is kept from the endplates besides.

    Returns:
        HU statistics; None where less than 150 mm3 of bone remains.
    """
    margin = MARGIN_MM if body.depth_mm >= SMALL_DEPTH_MM else SMALL_MARGIN_MM
    grid = body.grid
    back = np.minimum(body.back_mm - margin, body.front_mm + DEEPEST_SHARE * (body.back_mm - body.front_mm))
    inside = (grid.y_mm >= (body.front_mm + margin)[:, None]) & (grid.y_mm <= back[:, None])
    inside &= (np.abs(grid.x_mm) <= body.half_width_mm - margin)[:, None]
    gap = margin + slice_mm / 2
    low, high = body.bottom_mm + gap, body.top_mm - gap
    within = inside[..., None] & (grid.z_mm >= low[..., None]) & (grid.z_mm <= high[..., None])
    i, j, k = np.nonzero(within)
    points = grid.to_world(np.stack([grid.x_mm[i], grid.y_mm[j], grid.z_mm[k]], axis=1))
    values = _read(image, points)
    values = values[np.isfinite(values)]
    step = float(np.prod([line[1] - line[0] for line in (grid.x_mm, grid.y_mm, grid.z_mm)]))
    if len(values) * step < SMALLEST_MM3:
        return None
    return Density(
        float(values.mean()), float(np.median(values)), float(values.std()), float(len(values) * step)
    )


def _read(image: Image, points_mm: Array) -> Array:
    """Interpolates HU at LPS points (n, 3), on a crop; NaN beyond the scan."""
    if len(points_mm) == 0:
        return np.zeros(0)
    index = image.geometry.world_to_index(points_mm)
    shape = np.asarray(image.array.shape)
    outside = ((index < 0) | (index > shape - 1)).any(axis=1)
    start = np.clip(np.floor(index.min(axis=0)).astype(int), 0, shape - 1)
    stop = np.clip(np.ceil(index.max(axis=0)).astype(int) + 1, start + 1, shape)
    crop = image.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))].astype(np.float32)
    values = ndimage.map_coordinates(crop, (index - start).T, order=1, mode="nearest")
    return np.where(outside, np.nan, values)


def contains_metal(image: Image, mask: Mask, label: int, box: Slices) -> bool:
    """Tells whether at least 20 mm3 in or within two voxels of a vertebra are denser than 2500 HU."""
    dense = image.array[box] > METAL_HU
    if not dense.any():
        return False
    near = ndimage.binary_dilation(mask.array[box] == label, iterations=2)
    voxel = abs(float(np.linalg.det(mask.geometry.affine[:3, :3])))
    return float((dense & near).sum()) * voxel >= METAL_MM3


def detect_contrast(image: Image, mask: Mask, centers_mm: Sequence[Array], axes: Sequence[Array]) -> bool:
    """Tells whether enhanced blood lies ahead of the column, at half of the levels at least.

    At each level a ball of blood is moved through the space ahead of the body: where its HU are even and
    above those of unenhanced soft tissue, for a stretch along the column, a vessel, a chamber of the heart or
    an aneurysm is enhanced, whatever its shape and course. Calcified walls are thinner, bowel content is
    uneven.

    Args:
        image: The CT, HU.
        mask: Vertebrae on the same grid, left out.
        centers_mm: (3,) body centres from about T4 to L5, LPS mm.
        axes: (3, 3) rows left, posterior, superior of each.
    """
    seen = [_has_enhanced_blood(image, mask, c, a) for c, a in zip(centers_mm, axes, strict=True)]
    known = [answer for answer in seen if answer is not None]
    return len(known) >= 2 and sum(known) >= 2 and sum(known) >= len(known) / 2


def _has_enhanced_blood(image: Image, mask: Mask, center_mm: Array, axes: Array) -> bool | None:
    """Tells it of one level; None where less than half of the space looked at is in view."""
    lines = [np.arange(a, b + VESSEL_STEP_MM / 2, VESSEL_STEP_MM) for a, b in VESSEL_BOX_MM]
    grid = LocalGrid(center_mm, axes, *lines)
    points = grid.to_world(np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)).reshape(-1, 3)
    shape = tuple(len(line) for line in lines)
    values = _read(image, points).reshape(shape)
    known = np.isfinite(values)
    if known.mean() < 0.5:
        return None
    values = np.where(known, np.clip(values, -1000, METAL_HU), -1000.0)
    reach = int(BALL_MM // VESSEL_STEP_MM)
    steps = np.mgrid[[slice(-reach, reach + 1)] * 3] * VESSEL_STEP_MM
    ball = (steps**2).sum(axis=0) <= BALL_MM**2
    mean = ndimage.convolve(values, ball / ball.sum())
    spread = np.sqrt(np.maximum(ndimage.convolve(values**2, ball / ball.sum()) - mean**2, 0))
    barred = ndimage.binary_dilation(_label_at(mask, points).reshape(shape) | ~known, ball)
    blood = (mean > VESSEL_HU[0]) & (mean < VESSEL_HU[1]) & (spread < VESSEL_SD_HU) & ~barred
    pieces, _ = ndimage.label(blood)
    lengths = [(box[2].stop - box[2].start) * VESSEL_STEP_MM for box in ndimage.find_objects(pieces)]
    return max(lengths, default=0.0) >= VESSEL_LENGTH_MM


def _label_at(mask: Mask, points_mm: Array) -> NDArray[np.bool_]:
    index = np.round(mask.geometry.world_to_index(points_mm)).astype(int)
    index = np.clip(index, 0, np.asarray(mask.array.shape) - 1)
    return np.asarray(mask.array[index[:, 0], index[:, 1], index[:, 2]] > 0)
