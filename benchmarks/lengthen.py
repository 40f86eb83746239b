"""Make a simulated long scan: a real one reflected head to foot again and again until it has enough slices.

The copies meet slice on equal slice, so the column runs on without a step; there is no such patient, and
only as many vertebrae as one person has can be named in it. It serves to measure time and memory alone.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray


def reflect_positions(count: int, step: float, slices: int) -> NDArray[np.float64]:
    """Returns where along `slices` source slices each of `count` output slices lies, there and back again.

    Example:
        >>> reflect_positions(6, 1.0, 3).tolist()
        [0.0, 1.0, 2.0, 1.0, 0.0, 1.0]
    """
    period = 2 * (slices - 1)
    along = np.mod(np.arange(count) * step, period)
    return np.asarray(np.minimum(along, period - along))


def lengthen(source: Path, target: Path, *, slices: int, slice_mm: float) -> None:
    """Writes `source` reflected, interpolated to `slices` slices of `slice_mm`, int16, uncompressed."""
    image: Any = SimpleITK.ReadImage(str(source))
    voxels = SimpleITK.GetArrayViewFromImage(image)
    spacing = image.GetSpacing()
    out = np.empty((slices, *voxels.shape[1:]), dtype=np.int16)
    for index, position in enumerate(reflect_positions(slices, slice_mm / spacing[2], voxels.shape[0])):
        low = int(position)
        high = min(low + 1, voxels.shape[0] - 1)
        part = position - low
        out[index] = np.rint((1 - part) * voxels[low] + part * voxels[high])
    long: Any = SimpleITK.GetImageFromArray(out)
    long.SetSpacing((spacing[0], spacing[1], slice_mm))
    long.SetOrigin(image.GetOrigin())
    long.SetDirection(image.GetDirection())
    SimpleITK.WriteImage(long, str(target), useCompression=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--slice-mm", type=float, default=1.0)
    options = parser.parse_args()
    lengthen(options.source, options.target, slices=options.slices, slice_mm=options.slice_mm)
