"""How many patches the usual sliding window takes on a scan, and what that many passes cost."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATCH = 128
SPACING_MM = 1.5


def resample_shape(shape: Sequence[int], spacing_mm: Sequence[float], target_mm: float) -> tuple[int, ...]:
    """Returns the voxels along each axis of the same extent at `target_mm`."""
    return tuple(round(n * old / target_mm) for n, old in zip(shape, spacing_mm, strict=True))


def count_patches(shape: Sequence[int], patch: int = PATCH, step: float = 0.5) -> int:
    """Returns how many patches cover a volume, at most `step` patch lengths apart along each axis.

    A side shorter than the patch is padded to it and takes one.

    Example:
        >>> count_patches((128, 129, 193))
        6
    """
    return math.prod(1 + max(0, math.ceil((n - patch) / (patch * step))) for n in shape)


def extrapolate(seconds: Sequence[float], count: int) -> float:
    """Returns the seconds for `count` passes from some that were timed: their mean times the count."""
    return sum(seconds) / len(seconds) * count


def crop_to_nonzero(array: NDArray[Any]) -> tuple[int, ...]:
    """Returns the shape of the smallest box that holds every voxel other than 0 (all of it if none)."""
    filled = np.asarray(array != 0)
    shape = []
    for axis in range(filled.ndim):
        others = tuple(a for a in range(filled.ndim) if a != axis)
        index = np.flatnonzero(filled.any(axis=others))
        shape.append(int(index[-1] - index[0] + 1) if index.size else filled.shape[axis])
    return tuple(shape)
