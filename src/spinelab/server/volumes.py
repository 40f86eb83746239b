"""The part of a scan around the column, small enough for a browser: what the linked views show."""

import gzip
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinelab.spine import Spine
from spinelab.volume import Geometry, Image, Mask

#: Finest voxel edge of the views.
VIEW_MM = 1.0
#: The same for browsers that have no graphics card to draw with.
COARSE_MM = 2.0
#: No view has more voxels than this; a longer column gets larger ones.
MOST_VOXELS = 5_000_000
#: What is shown around the body centres: left-right, front, back, head-foot, mm.
BESIDE_MM, FRONT_MM, BACK_MM, ALONG_MM = 60.0, 34.0, 60.0, 40.0
_AIR_HU = -1024


def lay_view(spine: Spine, geometry: Geometry, finest_mm: float = VIEW_MM) -> Geometry:
    """Returns the upright grid of the views: around the column where there is one, within the scan.

    Args:
        spine: What was found; without vertebrae the whole scan is shown.
        geometry: The scan's grid, in any orientation.
        finest_mm: Least edge of a voxel.
    """
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in geometry.shape])).reshape(3, -1).T
    world = geometry.index_to_world(corners)
    low, high = world.min(axis=0), world.max(axis=0)
    if spine.vertebrae:
        centers = spine.centers_mm
        low = np.maximum(low, centers.min(axis=0) - np.array([BESIDE_MM, FRONT_MM, ALONG_MM]))
        high = np.minimum(high, centers.max(axis=0) + np.array([BESIDE_MM, BACK_MM, ALONG_MM]))
        high = np.maximum(high, low + 10.0)
    step = max(finest_mm, (float(np.prod(high - low)) / MOST_VOXELS) ** (1 / 3))
    shape = np.maximum(2, np.ceil((high - low) / step)).astype(int)
    return Geometry.from_spacing(shape.tolist(), (step, step, step), (low + step / 2).tolist())


def pack_scan(image: Image, view: Geometry) -> bytes:
    """Returns the scan on the view's grid as NIfTI, int16 HU, compressed with gzip.

    Args:
        image: (i, j, k) CT in HU, any grid.
        view: An upright grid, as from `lay_view`.
    """
    finest = max(1.0, min(view.spacing_mm) / max(image.spacing_mm))
    source = image if finest < 2 else image.shrunk(min(view.spacing_mm))
    array = np.clip(np.rint(source.resampled(view, outside=_AIR_HU).array), -1024, 3071)
    return _pack(array.astype("<i2"), view, 4)


def pack_mask(mask: Mask, view: Geometry) -> bytes:
    """Returns the labels on the view's grid as NIfTI, uint8, compressed with gzip; labels above 255 go."""
    array = mask.resampled(view).array
    return _pack(np.where(array > 255, 0, array).astype("<u1"), view, 2)


def _pack(array: NDArray[Any], view: Geometry, code: int) -> bytes:
    """NIfTI-1 with the sform alone; files are RAS, so x and y change sign."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ view.affine
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, *view.shape, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, code, 8 * array.dtype.itemsize)
    struct.pack_into("<8f", head, 76, 1, *view.spacing_mm, 0, 0, 0, 0)
    struct.pack_into("<3f", head, 108, 352, 1, 0)
    struct.pack_into("<B", head, 123, 2)
    struct.pack_into("<2h", head, 252, 0, 1)
    struct.pack_into("<12f", head, 280, *affine[:3].ravel())
    head[344:348] = b"n+1\0"
    return gzip.compress(bytes(head) + array.tobytes(order="F"), compresslevel=1, mtime=0)
