"""How well two outlines of one vertebra agree."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from spinelab.volume import Geometry

Bits = NDArray[np.bool_]


def dice(reference: Bits, prediction: Bits) -> float:
    """Returns the Dice coefficient of two masks of one shape; two empty ones agree fully (1)."""
    total = int(np.count_nonzero(reference)) + int(np.count_nonzero(prediction))
    return 1.0 if total == 0 else 2.0 * int(np.count_nonzero(reference & prediction)) / total


def hausdorff95_mm(reference: Bits, prediction: Bits, geometry: Geometry) -> float:
    """Returns the larger of the two directed 95 % surface distances in mm.

    Args:
        reference: (i, j, k) mask, not empty.
        prediction: (i, j, k) mask, not empty.
        geometry: Their grid; distances are taken between voxel centres in the world, so that tilted and
            oblique grids are measured right.
    """
    first, second = _surface_mm(reference, geometry), _surface_mm(prediction, geometry)
    there = np.percentile(cKDTree(second).query(first)[0], 95)
    back = np.percentile(cKDTree(first).query(second)[0], 95)
    return float(max(there, back))


def _surface_mm(mask: Bits, geometry: Geometry) -> NDArray[np.floating[Any]]:
    """(n, 3) world points of the voxels with a face neighbour outside the mask (or the grid)."""
    surface = mask & ~ndimage.binary_erosion(mask)
    return geometry.index_to_world(np.argwhere(surface))
