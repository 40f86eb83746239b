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
#: Mean and spread of an enhanced large vessel, and the area of its cross-section in mm2.
VESSEL_HU, VESSEL_SD_HU, VESSEL_MM2 = (110.0, 550.0), 45.0, (90.0, 2500.0)
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
    """Tells whether a large vessel ahead of the column is enhanced, at half of the levels at least.

    At each level the scan is averaged over 16 mm along the column; an even, round, bright patch of the size
    of the aorta or vena cava counts. Blood without contrast medium reads about 40 HU; calcified walls and
    bowel content are not even along the column.

    Args:
        image: The CT, HU.
        mask: Vertebrae on the same grid, left out.
        centers_mm: (3,) body centres from about T4 to L5, LPS mm.
        axes: (3, 3) rows left, posterior, superior of each.
    """
    seen = [_has_bright_vessel(image, mask, c, a) for c, a in zip(centers_mm, axes, strict=True)]
    known = [answer for answer in seen if answer is not None]
    return len(known) >= 2 and sum(known) >= 2 and sum(known) >= len(known) / 2


def _has_bright_vessel(image: Image, mask: Mask, center_mm: Array, axes: Array) -> bool | None:
    step = 2.0
    lines = [np.arange(a, b, s) for a, b, s in ((-54, 55, step), (-74, -11, step), (-8, 9, 4.0))]
    grid = LocalGrid(center_mm, axes, *lines)
    points = grid.to_world(np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)).reshape(-1, 3)
    shape = tuple(len(line) for line in lines)
    values = _read(image, points).reshape(shape)
    if np.isnan(values).mean() > 0.5:
        return None
    bone = _label_at(mask, points).reshape(shape)
    known = np.isfinite(values)
    mean = np.where(known, values, -1000.0).mean(axis=2)
    uneven = np.where(known, values, -1000.0).std(axis=2)
    near_bone = ndimage.binary_dilation(bone.any(axis=2), iterations=1)
    mean = ndimage.uniform_filter(mean, 3)
    bright = (mean > VESSEL_HU[0]) & (mean < VESSEL_HU[1]) & (uneven < 2 * VESSEL_SD_HU) & ~near_bone
    bright = ndimage.binary_opening(bright, iterations=1)
    patches, count = ndimage.label(bright)
    return any(_is_vessel(patches == n, mean, step) for n in range(1, count + 1))


def _is_vessel(patch: NDArray[np.bool_], mean: Array, step: float) -> bool:
    area = float(patch.sum()) * step**2
    i, j = np.nonzero(patch)
    box = float((np.ptp(i) + 1) * (np.ptp(j) + 1)) * step**2
    longest = max(np.ptp(i) + 1, np.ptp(j) + 1) / min(np.ptp(i) + 1, np.ptp(j) + 1)
    core = ndimage.binary_erosion(patch, iterations=2)
    core = core if core.any() else ndimage.binary_erosion(patch)
    even = bool(core.any()) and float(mean[core].std()) < VESSEL_SD_HU
    return bool(VESSEL_MM2[0] <= area <= VESSEL_MM2[1] and area > 0.6 * box and longest <= 1.8 and even)


def _label_at(mask: Mask, points_mm: Array) -> NDArray[np.bool_]:
    index = np.round(mask.geometry.world_to_index(points_mm)).astype(int)
    index = np.clip(index, 0, np.asarray(mask.array.shape) - 1)
    return np.asarray(mask.array[index[:, 0], index[:, 1], index[:, 2]] > 0)
