"""Volumes read where a field says their voxels come from, a slab at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.errors import GeometryError
from spinelab.measurement.sampling import Slices
from spinelab.volume import Geometry

Float32 = NDArray[np.float32]
#: About so many voxels are worked on at a time.
SLAB_VOXELS = 400_000
#: Axes of the target may run off those of the field by so many nodes over the whole volume.
ASKEW = 0.01
_CORNERS = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]


@dataclass(frozen=True, eq=False)
class Origins:
    """Where voxels of a target come from, as indices into a source.

    Attributes:
        shift: (3, i, j, k) source minus target at the nodes of a field, in voxels of the source.
        places: For each axis (n,) where the target's voxels lie among the nodes.
        matrix: (3, 4) index of a target voxel to that of the source, were there no field.
    """

    shift: Float32
    places: tuple[Float32, Float32, Float32]
    matrix: NDArray[np.float64]

    def slabs(self, box: Slices) -> Iterator[Slices]:
        """Yields a box of the target's voxels in thin slabs."""
        first, other, last = box
        thick = max(1, SLAB_VOXELS // max(1, (other.stop - other.start) * (last.stop - last.start)))
        for start in range(first.start, first.stop, thick):
            yield slice(start, min(start + thick, first.stop)), other, last

    def trace(self, box: Slices) -> Float32:
        """Returns (3, i, j, k) the source indices of a box of the target's voxels."""
        near = self.places[0][box[0]]
        low = int(np.clip(np.floor(near.min()), 0, self.shift.shape[1] - 2))
        high = int(np.clip(np.ceil(near.max()) + 1, low + 2, self.shift.shape[1]))
        index = self.shift[:, low:high]
        for axis in (2, 1, 0):
            places = self.places[axis][box[axis]] - (low if axis == 0 else 0)
            index = interpolate(index, places, axis + 1)
        for row in range(3):
            index[row] += np.float32(self.matrix[row, 3])
            for axis in range(3):
                slope = self.matrix[row, axis]
                if slope != 0:
                    line = slope * np.arange(box[axis].start, box[axis].stop)
                    index[row] += line.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        return index


def lay_between(shift_mm: Float32, nodes: Geometry, source: Geometry, target: Geometry) -> Origins:
    """Lays a field between the volume that is read and the one to be filled.

    Args:
        shift_mm: (i, j, k, 3) source minus target, LPS mm.
        nodes: Grid of the field.
        source: Grid of the volume that is read.
        target: Grid to be filled, its axes parallel to those of the field.

    Raises:
        GeometryError: The axes of the target are not those of the field.
    """
    among = np.linalg.inv(nodes.affine) @ target.affine
    steps = np.diag(among)[:3]
    if np.abs((among[:3, :3] - np.diag(steps)) * target.shape).max() > ASKEW:
        raise GeometryError(
            f"a field with the axes {nodes.codes} moves volumes along these alone, found {target.codes} or "
            "an oblique grid; compute the field for this grid"
        )
    x, y, z = (
        (among[axis, 3] + steps[axis] * np.arange(count)).astype(np.float32)
        for axis, count in enumerate(target.shape)
    )
    into = np.linalg.inv(source.affine)
    shift = np.einsum("ab,ijkb->aijk", into[:3, :3].astype(np.float32), shift_mm)
    return Origins(np.ascontiguousarray(shift), (x, y, z), (into @ target.affine)[:3])


def interpolate(values: Float32, places: Float32, axis: int) -> Float32:
    """Returns values at fractional places along an axis, linear, the outermost beyond the ends."""
    low = np.clip(np.floor(places).astype(int), 0, values.shape[axis] - 2)
    share = np.clip(places - low, 0, 1).astype(np.float32)
    share = share.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    here: Float32 = np.take(values, low, axis=axis)
    beyond = np.take(values, low + 1, axis=axis)
    beyond -= here
    beyond *= share
    here += beyond
    return here


def read_linear(array: NDArray[Any], index: Float32, *, outside: float) -> NDArray[Any]:
    """Returns an image at fractional indices, linear, rounded where it holds integers.

    Args:
        array: (i, j, k) intensities.
        index: (3, ...) where to read.
        outside: What lies more than half a voxel beyond the outermost voxels.
    """
    output = array.dtype if np.issubdtype(array.dtype, np.integer) else np.float32
    found = ndimage.map_coordinates(array, index, order=1, mode="nearest", prefilter=False, output=output)
    for row, count in zip(index, array.shape, strict=True):
        if row.min() < -0.5 or row.max() > count - 0.5:
            found[(row < -0.5) | (row > count - 0.5)] = outside
    return np.asarray(found)


class LabelReader:
    """A mask read at fractional indices: the label that weighs most among the eight voxels around.

    Args:
        array: (i, j, k) labels, 0 where there is none.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        box = (ndimage.find_objects((array != 0).view(np.int8)) or [tuple(slice(0, 1) for _ in range(3))])[0]
        start = np.array([max(part.start - 1, 0) for part in box])
        part = array[tuple(slice(a, s.stop + 1) for a, s in zip(start, box, strict=True))]
        #: A label at the border of the scan goes on for half a voxel.
        self._labels = np.ascontiguousarray(np.pad(part, 1, mode="edge"))
        self._start = start - 1
        self._low = np.maximum(-0.5 - self._start, 0)
        self._high = np.minimum(np.array(array.shape) - 0.5 - self._start, np.array(self._labels.shape) - 1)
        self._mixed = np.zeros(self._labels.shape, bool)
        first, *others = (self._corner(self._labels, corner) for corner in _CORNERS)
        for other in others:
            self._corner(self._mixed, (0, 0, 0))[...] |= first != other

    @staticmethod
    def _corner(array: NDArray[Any], corner: tuple[int, int, int]) -> NDArray[Any]:
        """Returns for each cell between voxels the one at a corner of it (a view)."""
        return array[tuple(slice(c, n - 1 + c) for c, n in zip(corner, array.shape, strict=True))]

    def read(self, index: Float32) -> NDArray[Any]:
        """Returns the labels at indices (3, ...), 0 outside the scan."""
        flat = index.reshape(3, -1) - self._start.astype(np.float32)[:, None]
        known = np.ones(flat.shape[1], bool)
        for row, low, high in zip(flat, self._low, self._high, strict=True):
            known &= (row >= low) & (row < high)
        found = np.zeros(flat.shape[1], self._labels.dtype)
        near = flat[:, known]
        cell = near.astype(np.int32)
        place = np.ravel_multi_index(tuple(cell), self._labels.shape)
        labels = self._labels.ravel()[place]
        mixed = self._mixed.ravel()[place]
        labels[mixed] = self._weigh(place[mixed], near[:, mixed] - cell[:, mixed])
        found[known] = labels
        return found.reshape(index.shape[1:])

    def _weigh(self, place: NDArray[np.intp], share: Float32) -> NDArray[Any]:
        """Returns the label that weighs most in cells (n,) at shares (3, n) of the way through them."""
        strides = np.array(self._labels.strides) // self._labels.itemsize
        around = [self._labels.ravel()[place + int(strides @ corner)] for corner in _CORNERS]
        sides = np.stack([1 - share, share])
        weights = [sides[a, 0] * sides[b, 1] * sides[c, 2] for a, b, c in _CORNERS]
        best, most = around[0], np.full(len(place), -1.0, np.float32)
        for label in around:
            total = sum(w * (other == label) for w, other in zip(weights, around, strict=True))
            better = total > most
            best, most = np.where(better, label, best), np.where(better, total, most)
        return best
