"""The frame in which each vertebra is outlined: shared by the training recipe and the reader.

Local axes are (left, posterior, superior) millimetres around the body centre; arrays of a vertebra's
patch are (i, j, k) along them.
"""

import numpy as np
from numpy.typing import NDArray

OUTLINE_SPACING_MM = 1.25
OUTLINE_SHAPE = (88, 80, 56)
#: Middle of the patch against the body centre: bodies lie in front of and above their spinous processes.
OUTLINE_OFFSET_MM = (0.0, 20.0, -9.0)
_SPOT_SIGMA_MM = 5.0


def column_frames(centers_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns (n, 3, 3) frames along the column, rows left, posterior, superior in LPS.

    Superior is the tangent of the line through the neighbouring centres, left the patient's left made
    orthogonal to it.

    Args:
        centers_mm: (n, 3) body centres, LPS mm, head down.
    """
    count = len(centers_mm)
    frames = np.tile(np.eye(3), (count, 1, 1))
    for place in range(count):
        above, below = centers_mm[max(place - 1, 0)], centers_mm[min(place + 1, count - 1)]
        superior = above - below
        length = np.linalg.norm(superior)
        superior = superior / length if length > 1 else np.array([0.0, 0.0, 1.0])
        left = np.array([1.0, 0.0, 0.0]) - superior[0] * superior
        if np.linalg.norm(left) < 0.2:
            left = np.cross([0.0, 1.0, 0.0], superior)
        left = left / np.linalg.norm(left)
        frames[place] = np.stack([left, np.cross(superior, left), superior])
    return frames


def neighbour_map(neighbours_mm: NDArray[np.float64], points_mm: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the map that tells the network which vertebra is meant.

    +1 in a spot at the own centre (the local origin), -1 at those of the neighbours.

    Args:
        neighbours_mm: (n, 3) centres of the other vertebrae in local mm.
        points_mm: (i, j, k, 3) local mm of the patch's voxels.
    """
    left, posterior, superior = np.ascontiguousarray(np.moveaxis(points_mm, -1, 0), np.float32)

    def spot(center: NDArray[np.float32]) -> NDArray[np.float32]:
        square = (left - center[0]) ** 2 + (posterior - center[1]) ** 2 + (superior - center[2]) ** 2
        return np.asarray(np.exp(square * np.float32(-0.5 / _SPOT_SIGMA_MM**2)), np.float32)

    spots = spot(np.zeros(3, np.float32))
    for center in neighbours_mm.astype(np.float32):
        spots -= spot(center)
    return spots
