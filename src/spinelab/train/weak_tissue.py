"""Tissue of CTs of which only body centres are known, as far as anatomy settles it.

What lies beside a thoracic body, is dense, and does not belong to its own transverse process is rib; beside
L2 to L4 it is a transverse process; below the top of S1, near the line of the column, it is sacrum. The rest
stays unknown. So real scans teach the locate network the two anchors of the count, ribs and sacrum, that no
mask at hand shows there.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.train.cases import SACRUM

UNKNOWN = 255
BACKGROUND, VERTEBRA, SACRAL, RIB = range(4)
#: Denser than this is bone: beside the column, where kidneys and vessels fill with contrast, and at it.
RIB_HU, BONE_HU, SOFT_HU = 220, 160, 40
#: Ribs are thinner than this.
THICK_MM = 15.0
_T1, _T12, _L2, _L4, _L5 = 8, 19, 21, 23, 24


def mark_tissue(
    hu: NDArray[Any], spacing_mm: float, centers: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Returns (i, j, k) BACKGROUND, VERTEBRA, SACRAL, RIB or UNKNOWN.

    Args:
        hu: (i, j, k) on LPS axes.
        spacing_mm: Edge of its cubic voxels.
        centers: (n, 3) body centres in voxels, from the head down.
        labels: (n,) their VerSe numbers, 26 for S1; they must be right.
    """
    tissue = np.full(hu.shape, UNKNOWN, np.uint8)
    if len(centers) < 2:
        return tissue
    across, back = _offsets(hu.shape, centers, spacing_mm)
    top, bottom = centers[0, 2] + 10 / spacing_mm, centers[-1, 2] - 10 / spacing_mm
    height = np.arange(hu.shape[2])
    column = ((height <= top) & (height >= bottom))[None, None]
    wide = np.abs(across)
    near = column & (wide < 80) & (back > -30) & (back < 60)
    tissue[near & (hu < SOFT_HU) & (wide > 22)] = BACKGROUND
    arch = column & (wide < 18) & (back > 22) & (back < 55) & (hu > RIB_HU)
    tissue[arch] = VERTEBRA
    places = {int(label): center for label, center in zip(labels, centers, strict=True)}
    _mark_sides(tissue, hu, (across, back), places, spacing_mm)
    if SACRUM in places and _L5 in places:
        _mark_sacrum(tissue, hu, places[SACRUM], places[_L5], spacing_mm)
    for label, center in places.items():
        box, distance = cut_around(center, 10, hu.shape, spacing_mm)
        tissue[box][distance < 9] = SACRAL if label == SACRUM else VERTEBRA
    return tissue


def _offsets(
    shape: tuple[int, ...], centers: NDArray[np.float64], spacing_mm: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns (i, 1, k) mm to the left of and (1, j, k) mm behind the line of the centres."""
    rising = centers[::-1]
    x = np.interp(np.arange(shape[2]), rising[:, 2], rising[:, 0])
    y = np.interp(np.arange(shape[2]), rising[:, 2], rising[:, 1])
    across = (np.arange(shape[0])[:, None, None] - x) * spacing_mm
    back = (np.arange(shape[1])[None, :, None] - y) * spacing_mm
    return across.astype(np.float32), back.astype(np.float32)


def _mark_sides(
    tissue: NDArray[np.uint8],
    hu: NDArray[Any],
    offsets: tuple[NDArray[np.float32], NDArray[np.float32]],
    places: dict[int, NDArray[np.float64]],
    spacing_mm: float,
) -> None:
    """Marks ribs beside thoracic bodies and the transverse processes of L2 to L4."""
    across, back = offsets
    wide, height = np.abs(across), np.arange(hu.shape[2])
    thoracic = [center[2] for label, center in places.items() if _T1 <= label <= _T12]
    if thoracic:
        low = min(thoracic) - (4 if _T12 in places else -6) / spacing_mm
        level = ((height >= low) & (height <= max(thoracic) + 8 / spacing_mm))[None, None]
        beside = level & (wide > 24) & (wide < 75) & (back > -8) & (back < 55)
        dense = beside & ((wide > 36) | (back < 12)) & (hu > RIB_HU)
        tissue[dense & ~_find_thick(hu > RIB_HU, spacing_mm)] = RIB
    for label in range(_L2, _L4 + 1):
        if label in places:
            level = (np.abs(height - places[label][2]) * spacing_mm < 9)[None, None]
            beside = level & (wide > 22) & (wide < 46) & (back > -5) & (back < 25)
            tissue[beside & (hu > BONE_HU)] = VERTEBRA


def _find_thick(dense: NDArray[np.bool_], spacing_mm: float) -> NDArray[np.bool_]:
    """Returns what is thicker than a rib: the aorta, the heart and kidneys full of contrast medium."""
    steps = max(1, round(THICK_MM / 2 / spacing_mm))
    core = ndimage.binary_erosion(dense, iterations=steps)
    return np.asarray(ndimage.binary_dilation(core, iterations=steps + 2))


def _mark_sacrum(
    tissue: NDArray[np.uint8],
    hu: NDArray[Any],
    sacral: NDArray[np.float64],
    lumbar: NDArray[np.float64],
    spacing_mm: float,
) -> None:
    """Marks bone below the top of S1, near the line that goes on from L5 through it."""
    down = (sacral - lumbar) / np.linalg.norm(sacral - lumbar)
    box, _ = cut_around(sacral, 75, hu.shape, spacing_mm)
    axes = [np.arange(part.start, part.stop) - c for part, c in zip(box, sacral, strict=True)]
    x, y, z = (axis * spacing_mm for axis in np.meshgrid(*axes, indexing="ij", sparse=True))
    along = x * down[0] + y * down[1] + z * down[2]
    behind = -y * down[2] + z * down[1]  # towards the back, across the line
    inside = (along > -9) & (along < 70) & (np.abs(x) < 38) & (behind > -22) & (behind < 45)
    part = tissue[box]
    part[inside & (hu[box] > BONE_HU)] = SACRAL


def cut_around(
    center: NDArray[np.float64], reach_mm: float, shape: tuple[int, ...], spacing_mm: float
) -> tuple[tuple[slice, ...], NDArray[np.float64]]:
    """The part of a grid within reach of a centre, and its distances to it in mm."""
    reach = reach_mm / spacing_mm
    low = [min(max(int(np.floor(c - reach)), 0), n) for c, n in zip(center, shape, strict=True)]
    high = [min(max(int(np.ceil(c + reach)) + 1, 0), n) for c, n in zip(center, shape, strict=True)]
    steps = [np.arange(a, b) - c for a, b, c in zip(low, high, center, strict=True)]
    x, y, z = np.meshgrid(*steps, indexing="ij", sparse=True)
    distance = np.sqrt(x**2 + y**2 + z**2) * spacing_mm
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True)), distance
