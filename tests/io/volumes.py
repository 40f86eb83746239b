"""Small volumes whose voxels are all different enough to notice any mix-up, on many grids."""

from itertools import permutations, product

import numpy as np

from spinelab.volume import Geometry, Image, Mask

SHAPE = (9, 10, 12)
CODES = ["".join(code) for axes in permutations(("LR", "PA", "SI")) for code in product(*axes)]


def grid(shape=SHAPE, spacing=(4.0, 4.5, 5.0), codes="LPS", turn_deg=0.0, shear=0.0) -> Geometry:
    """Returns a grid off the origin; turned about two axes, its third axis leaning by `shear` mm a mm."""
    turn = np.deg2rad(turn_deg)
    c, s = np.cos(turn), np.sin(turn)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    lean = np.eye(3)
    lean[1, 2] = shear
    affine = np.eye(4)
    affine[:3, :3] = rotation @ lean @ np.diag(spacing)
    affine[:3, 3] = (-31.25, 17.5, 402.75)
    return Geometry(shape, affine).reoriented(codes)


def labels(geometry: Geometry) -> Mask:
    """Returns a mask that no axis swap or flip leaves alike."""
    array = np.arange(np.prod(geometry.shape)).reshape(geometry.shape) % 29
    return Mask(array.astype(np.uint8), geometry)


def ct(shape=(24, 24, 24), spacing=(2.0, 2.0, 2.0), seed=0) -> Image:
    """Returns a body of muscle with fat, a bone and air around it, with noise: int16 HU."""
    array = np.random.default_rng(seed).normal(0, 12, shape)
    array += 45
    array[:, : shape[1] // 4] += -145
    array[:, :2] += -900
    array[8:14, 10:16] += 600
    return Image(array.round().clip(-1000).astype(np.int16), Geometry.from_spacing(shape, spacing))
