"""Label maps become CT-like images: classes made once, intensities drawn for every sample.

The classes split each bone into a cortical shell and a spongy core and give a body to label maps that
show vertebrae alone. What is painted is simulated: it teaches shape and robustness to contrast, and
carries levels no CT at hand shows.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.volume import Mask

AIR, SOFT, SHELL, CORE, BONE_SHELL, BONE_CORE, LUNG, CARTILAGE, AIRWAY, DISC, FAT = range(11)
#: Organ class = `ORGAN` + TotalSegmentator v2 number.
ORGAN = 20
_BONES = [*range(69, 79), 91, *range(92, 117)]
_LUNGS = range(10, 15)


def paint_classes(vertebrae: Mask, organs: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Returns (i, j, k) uint8 paint classes for a VerSe mask on LPS axes.

    Args:
        vertebrae: VerSe numbers, LPS axes.
        organs: TotalSegmentator v2 numbers on the same grid, or None.
    """
    bone = vertebrae.array > 0
    spacing = vertebrae.spacing_mm
    classes = _body(vertebrae) if organs is None else _organ_classes(organs, spacing)
    near = ndimage.distance_transform_edt(~bone, sampling=spacing) <= 3
    classes[near & _between(vertebrae)] = DISC
    depth = ndimage.distance_transform_edt(bone, sampling=spacing)
    classes[bone] = np.where(depth[bone] <= max(1.5, 0.9 * max(spacing[0], spacing[1])), SHELL, CORE)
    return classes


def _between(vertebrae: Mask) -> NDArray[np.bool_]:
    """Voxels with bone both above and below within 12 mm: the discs and joint gaps."""
    step = max(1, round(12 / vertebrae.spacing_mm[2]))
    bone = vertebrae.array > 0
    ones = bone.astype(np.uint8)
    above = ndimage.maximum_filter1d(ones, step, axis=2, origin=-(step // 2), mode="constant")
    below = ndimage.maximum_filter1d(ones, step, axis=2, origin=(step - 1) // 2, mode="constant")
    return np.asarray((above > 0) & (below > 0) & ~bone)


def _organ_classes(organs: NDArray[np.uint8], spacing: tuple[float, ...]) -> NDArray[np.uint8]:
    body = organs > 0
    radius = round(24 / spacing[0])
    ball = ndimage.distance_transform_edt(~body) <= radius
    hull = ndimage.distance_transform_edt(np.pad(ball, radius, mode="edge")) > radius * 0.6
    hull = hull[tuple(slice(radius, radius + n) for n in organs.shape)]
    hull |= body
    for k in range(hull.shape[2]):
        hull[:, :, k] = ndimage.binary_fill_holes(hull[:, :, k])
    classes = np.where(hull, SOFT, AIR).astype(np.uint8)
    classes[body] = np.minimum(organs[body].astype(np.int64) + ORGAN, 255).astype(np.uint8)
    classes[np.isin(organs, np.array(_LUNGS))] = LUNG
    classes[organs == 16] = AIRWAY
    classes[organs == 117] = CARTILAGE
    bones = np.isin(organs, np.array(_BONES))
    depth = ndimage.distance_transform_edt(bones, sampling=spacing)
    classes[bones] = np.where(depth[bones] <= 2.0, BONE_SHELL, BONE_CORE)
    return classes


def _body(vertebrae: Mask) -> NDArray[np.uint8]:
    """A body around vertebrae that come alone: elliptic trunk or neck, airway, head, shoulders."""
    grid = vertebrae.geometry
    bone = vertebrae.array > 0
    slices = np.flatnonzero(bone.any(axis=(0, 1)))
    middle = np.array([ndimage.center_of_mass(bone[:, :, k])[:2] for k in slices])
    path = np.stack([np.interp(np.arange(grid.shape[2]), slices, middle[:, a]) for a in (0, 1)])
    path = ndimage.gaussian_filter1d(path, 15 / grid.spacing_mm[2], axis=1, mode="nearest")
    dx, dy, dz = grid.spacing_mm
    x = (np.arange(grid.shape[0])[:, None, None] - path[0][None, None]) * dx
    y = (np.arange(grid.shape[1])[None, :, None] - path[1][None, None]) * dy
    labels = vertebrae.labels()
    neck = labels[0] <= 7
    height = np.arange(grid.shape[2])[None, None] * dz
    if not neck:
        inside = (x / 160) ** 2 + ((y + 40) / 110) ** 2 < 1
        classes = np.where(inside, SOFT, AIR).astype(np.uint8)
        lungs = (((np.abs(x) - 75) / 50) ** 2 + ((y + 45) / 80) ** 2 < 1) & inside
        classes[lungs & (vertebrae.array == 0) & _above(vertebrae, 17)] = LUNG
        return classes
    shoulder = _height_of(vertebrae, 8) * dz
    skull = _height_of(vertebrae, labels[0]) * dz + 12
    widen = np.clip((shoulder - height) / 40, 0, 1)
    inside = (x / (65 + 110 * widen)) ** 2 + ((y + 15) / (65 + 30 * widen)) ** 2 < 1
    head = (x / 75) ** 2 + ((y + 25) / 95) ** 2 + ((height - skull - 70) / 75) ** 2
    face = ((np.abs(x) - 38) / 9) ** 2 + ((y + 60) / 35) ** 2 + ((height - skull + 15) / 22) ** 2
    classes = np.where(inside | (head < 1), SOFT, AIR).astype(np.uint8)
    classes[(x / 9) ** 2 + ((y + 38) / 8) ** 2 + 0 * height < 1] = AIRWAY
    lungs = ((np.abs(x) - 60) / 45) ** 2 + ((y + 25) / 50) ** 2 + ((height - shoulder + 75) / 60) ** 2
    classes[lungs < 1] = LUNG
    classes[face < 1] = BONE_SHELL
    classes[(head < 1) & (head > 0.85) & (height > skull)] = BONE_SHELL
    return classes


def _height_of(vertebrae: Mask, label: int) -> float:
    """Mean k of a label, or of the nearest label there is."""
    nearest = min(vertebrae.labels(), key=lambda present: abs(present - label))
    return float(np.flatnonzero((vertebrae.array == nearest).any(axis=(0, 1))).mean())


def _above(vertebrae: Mask, label: int) -> NDArray[np.bool_]:
    return np.asarray(np.arange(vertebrae.array.shape[2])[None, None] > _height_of(vertebrae, label))


def draw_palette(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draws a (256, 2) table of HU means and noise sds, one row a paint class.

    Two thirds of the draws keep to values CT shows; the rest roam freely around them.
    """
    wild = rng.random() < 0.33
    organs = rng.normal(50, 80 if wild else 30, 256)
    table = np.stack([organs, rng.uniform(5, 40, 256)], axis=1)
    contrast = rng.random() < 0.4
    table[ORGAN + 51 : ORGAN + 69, 0] += rng.uniform(50, 250) if contrast else 0
    table[ORGAN + 6, 0] = rng.choice([-600, 20, 50, 300])
    table[ORGAN + 18 : ORGAN + 21, 0] = rng.choice([-500, 0, 40, 250], 3)
    core = rng.uniform(40, 350)
    fixed = {
        AIR: (-1000, 10),
        SOFT: (rng.uniform(-110, 60), 25),
        SHELL: (core + rng.uniform(120, 600), rng.uniform(40, 150)),
        CORE: (core, rng.uniform(20, 80)),
        BONE_SHELL: (core + rng.uniform(120, 700), rng.uniform(40, 150)),
        BONE_CORE: (core + rng.uniform(-50, 150), rng.uniform(20, 80)),
        LUNG: (rng.uniform(-900, -600), rng.uniform(20, 120)),
        CARTILAGE: (rng.uniform(60, 250), 60),
        AIRWAY: (-980, 15),
        DISC: (rng.uniform(20, 120), 20),
        FAT: (-100, 15),
    }
    for row, values in fixed.items():
        table[row] = values
    if wild:
        table[:, 0] += rng.normal(0, 60, 256)
    return np.asarray(table, np.float32)


def draw_tones(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draws a (256, 2) table of means and noise sds for MR of no contrast in particular, one row a class.

    Only this is sure: air and cortical bone give little signal, and all marrow of a column looks alike.
    """
    table = np.stack([rng.uniform(0.15, 1.0, 256), rng.uniform(0.02, 0.15, 256)], axis=1)
    marrow = table[CORE, 0]
    table[BONE_CORE] = (np.clip(marrow + rng.normal(0, 0.1), 0.1, 1.0), table[CORE, 1])
    for shell in (SHELL, BONE_SHELL):
        table[shell, 0] = rng.uniform(0.05, 0.9) * marrow
    for empty in (AIR, AIRWAY, LUNG):
        table[empty] = (rng.uniform(0, 0.08), 0.03)
    if abs(table[DISC, 0] - marrow) < 0.1:
        table[DISC, 0] = marrow * rng.choice([0.5, 1.6])
    return np.asarray(table, np.float32)
