"""Voxels on their way in: the narrowest type that holds them exactly, filled block by block.

Reading a file in blocks of slices keeps the peak memory near the size of the result, also for
compressed 64-bit files.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_INT16 = np.iinfo(np.int16)
#: About how many voxels a block should have.
BLOCK_VOXELS = 4_000_000


def slices_per_block(shape: Sequence[int]) -> int:
    """Returns how many k slices of a volume of `shape` (i, j, k) make a block of moderate size."""
    return max(1, BLOCK_VOXELS // max(1, shape[0] * shape[1]))


def _fits_int16(block: NDArray[Any]) -> bool:
    if block.dtype.kind == "b" or block.dtype in (np.int16, np.int8, np.uint8):
        return True
    low, high = block.min(), block.max()
    if not (low >= _INT16.min and high <= _INT16.max):  # also False for NaN
        return False
    return block.dtype.kind in "iu" or bool((np.rint(block) == block).all())


class VoxelStore:
    """Collects k slices into one (i, j, k) array.

    The array is int16 as long as every value is a whole number that fits, float32 from the first value
    that does not. Its memory order is that of the files (i fastest).

    Args:
        shape: Voxels along i, j, k.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self._array: NDArray[Any] = np.zeros(tuple(shape), dtype=np.int16, order="F")

    def put(self, start: int, block: NDArray[Any]) -> None:
        """Stores `block` (i, j, n) at k = `start` ... `start` + n - 1."""
        if self._array.dtype == np.int16 and not _fits_int16(block):
            self._array = self._array.astype(np.float32, order="F")
        self._array[:, :, start : start + block.shape[2]] = block

    def array(self) -> NDArray[Any]:
        """Returns what was stored: (i, j, k), int16 or float32."""
        return self._array
