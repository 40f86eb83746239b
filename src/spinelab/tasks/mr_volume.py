"""An MR scan as the landmark network sees it: upright, 2 mm, without contrast, brightness and coil."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.tasks.locate import upright
from spinelab.volume import Geometry, Image

Floats = NDArray[np.float32]

#: Cubic voxels everything is brought to; across the network sees every second one.
STEP_MM = 2.0
ACROSS = 2
#: Width over which brightness and spread are taken away, and how far the rest may reach.
_LOCAL_MM, _LARGEST = 24.0, 3.0


@dataclass(frozen=True, eq=False)
class MrVolume:
    """A scan on cubic voxels of `STEP_MM` with LPS axes.

    Attributes:
        array: (i, j, k) float32, locally normalised, about -3 to 3; 0 outside the field of view.
        seen: (i, j, k) bool, inside the field of view.
        geometry: Its grid.
    """

    array: Floats
    seen: NDArray[np.bool_]
    geometry: Geometry


def normalise_scan(image: Image) -> MrVolume:
    """Brings a scan of any axes, spacing and contrast to what the network was trained on.

    Brightness and spread are taken relative to the neighbourhood, so that neither the units of the scanner
    nor the fall-off of a surface coil matter. Across (left to right) it is smoothed to slices of about 4 mm.
    """
    small = upright(image, STEP_MM)
    seen = small.array > -3e4
    values = np.where(seen, small.array, 0).astype(np.float32)
    even = level_out(values, seen, (STEP_MM, STEP_MM, STEP_MM))
    blended = ndimage.correlate1d(even, [0.25, 0.5, 0.25], axis=0, mode="nearest")
    return MrVolume(np.asarray(blended, np.float32), seen, small.geometry)


def level_out(
    values: Floats, seen: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Takes brightness and spread of the neighbourhood away.

    Args:
        values: (i, j, k), 0 where not seen.
        seen: (i, j, k) inside the field of view.
        spacing_mm: Edges of a voxel.

    Returns:
        (i, j, k), about -3 to 3; 0 where not seen.
    """
    weight = seen.astype(np.float32)
    sizes = [max(3, round(_LOCAL_MM / step * 6**0.5)) for step in spacing_mm]
    share = np.maximum(_smooth(weight, sizes), 1e-3)
    values = np.asarray(values - _smooth(values, sizes) / share * weight, np.float32)
    spread = np.sqrt(np.maximum(_smooth(values**2, sizes) / share, 0))
    floor = 0.1 * float(np.percentile(spread[seen], 90)) if seen.any() else 1.0
    even = np.clip(values / (spread + max(floor, 1e-6)), -_LARGEST, _LARGEST) * weight
    return np.asarray(even, np.float32)


def _smooth(values: Floats, sizes: list[int]) -> Floats:
    """Smooths by two boxes, as wide together as a bell of sizes / sqrt(6) voxels; nothing lies outside."""
    once = ndimage.uniform_filter(values, sizes, mode="constant")
    return np.asarray(ndimage.uniform_filter(once, sizes, mode="constant"), np.float32)
