"""One vertebra cut out of a mask and sampled in any frame, sub-voxel.

The label's indicator (1 inside, 0 outside), a little smoothed where voxels are large, is interpolated
linearly and read at 0.5. A label that reaches the border of the scan is continued a little beyond it: a
surface found outside the scan is then known to be cut.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.volume import Geometry, Mask

Array = NDArray[np.float64]
Samples = NDArray[np.float32]
Slices = tuple[slice, slice, slice]
#: Distance of the samples of a local grid.
STEP_MM = 1.0
#: Voxels kept around the label, and repeated beyond the scan where the label reaches its border.
PADDING = 3
#: No vertebra reaches farther than this from the centre of its body; strays beyond it are left out.
REACH_MM = 90.0
#: Standard deviation of the smoothing of the indicator as a fraction of the largest voxel edge.
SMOOTHING = 0.2
#: Below this voxel edge no smoothing is needed.
FINE_MM = 1.25


@dataclass(frozen=True, eq=False)
class SoftOutline:
    """One vertebra as it was outlined, before it was put onto the slices of the scan.

    Attributes:
        array: (i, j, k) float32 from 0 outside to 1 inside; the surface is at 0.5.
        geometry: Its grid, LPS mm; not the scan's.
    """

    array: Samples
    geometry: Geometry


@dataclass(frozen=True, eq=False)
class Cutout:
    """One label cut out of a scan.

    Attributes:
        array: (i, j, k) indicator, 0 to 1, float32.
        geometry: Its grid, LPS mm; it may reach beyond the scan.
        border: Voxels of the label on the outermost layer of the scan, (n, 3) LPS mm.
        border_area_mm2: (n,) area of each of them on that layer.
        volume_mm3: Of the label.
        scan: Grid of the whole scan.
    """

    array: Samples
    geometry: Geometry
    border: Array
    border_area_mm2: Array
    volume_mm3: float
    scan: Geometry

    def thickness_along(self, direction: Array) -> float:
        """Returns the distance of the scan's samples along a (3,) unit direction, mm."""
        return _distance_along(self.scan, direction)

    def step_along(self, direction: Array) -> float:
        """Returns the distance of the outline's own samples along a (3,) unit direction, mm."""
        return _distance_along(self.geometry, direction)

    def refined(self, outline: SoftOutline | None, direction: Array) -> "Cutout":
        """Returns the cutout with the outline's finer surfaces; itself where that knows no more.

        Args:
            outline: The same vertebra on a grid of its own; None where there is none.
            direction: (3,) unit direction along which the surfaces count.
        """
        if outline is None or max(outline.geometry.spacing_mm) >= self.thickness_along(direction):
            return self
        return replace(self, array=outline.array, geometry=outline.geometry)


@dataclass(frozen=True, eq=False)
class LocalGrid:
    """A regular grid in a vertebra's own axes.

    Attributes:
        origin_mm: (3,) its zero point, LPS mm.
        axes: (3, 3) rows left, posterior, superior in LPS.
        x_mm, y_mm, z_mm: Local coordinates of its samples to the left, back and head, equally spaced.
    """

    origin_mm: Array
    axes: Array
    x_mm: Array
    y_mm: Array
    z_mm: Array

    def to_world(self, local_mm: Array) -> Array:
        """Maps local points (..., 3) to LPS mm (..., 3)."""
        return np.asarray(self.origin_mm + local_mm @ self.axes)


def _distance_along(grid: Geometry, direction: Array) -> float:
    steps = grid.affine[:3, :3]
    lengths = np.linalg.norm(steps, axis=0)
    return float(lengths[np.argmax(np.abs(direction @ (steps / lengths)))])


def find_boxes(mask: Mask, centers_mm: Array | None = None) -> dict[int, Slices]:
    """Returns the index box of every label present, in one pass over the mask.

    Args:
        mask: Labels on the scan's grid.
        centers_mm: (n, 3) body centres, LPS mm: only what a vertebra about them may reach is looked at.
    """
    start, stop = np.zeros(3, int), np.array(mask.array.shape)
    if centers_mm is not None and len(centers_mm):
        index, reach = mask.geometry.world_to_index(centers_mm), _reach(mask.geometry)
        start = np.clip(np.floor(index.min(axis=0) - reach), 0, stop - 1).astype(int)
        stop = np.clip(np.ceil(index.max(axis=0) + reach), start + 1, stop).astype(int)
    part = mask.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    boxes = ndimage.find_objects(part if part.dtype.itemsize <= 4 else part.astype(np.int32))
    return {number + 1: _shift(box, start) for number, box in enumerate(boxes) if box is not None}


def _shift(box: Slices, start: Array) -> Slices:
    i, j, k = (slice(s.start + int(a), s.stop + int(a)) for s, a in zip(box, start, strict=True))
    return i, j, k


def _reach(scan: Geometry) -> Array:
    """Returns (3,) how many voxels along each axis a vertebra may reach from its body's centre."""
    return np.asarray(REACH_MM * np.linalg.norm(np.linalg.inv(scan.affine[:3, :3]), axis=1))


def cut_out(mask: Mask, label: int, box: Slices, center_mm: Array) -> Cutout | None:
    """Cuts a label out of a mask, padded; None where it has no voxel near its centre.

    Args:
        mask: Labels on the scan's grid.
        label: The one wanted.
        box: Its index box, from `find_boxes`.
        center_mm: (3,) about where its body is, LPS mm.
    """
    scan = mask.geometry
    reach = _reach(scan)
    middle = scan.world_to_index(center_mm)
    shape = np.asarray(scan.shape)
    first = np.maximum([s.start for s in box], np.floor(middle - reach)).astype(int)
    last = np.minimum([s.stop for s in box], np.ceil(middle + reach)).astype(int)
    if (last <= first).any():
        return None
    start, stop = np.maximum(first - PADDING, 0), np.minimum(last + PADDING, shape)
    crop = mask.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] == label
    count = int(np.count_nonzero(crop))
    if count == 0:
        return None
    border, area = _find_border(crop, start, scan)
    missing = [(PADDING - a, PADDING - b) for a, b in zip(first - start, stop - last, strict=True)]
    padded = np.pad(crop, missing, mode="edge").astype(np.float32)
    before = np.array([pair[0] for pair in missing])
    geometry = scan.cropped(start - before, start - before + padded.shape)
    volume = count * abs(float(np.linalg.det(scan.affine[:3, :3])))
    return Cutout(_smooth(padded, scan.spacing_mm), geometry, border, area, volume, scan)


def _smooth(indicator: Samples, spacing_mm: tuple[float, float, float]) -> Samples:
    if max(spacing_mm) <= FINE_MM:
        return indicator
    sigma = [SMOOTHING * max(spacing_mm) / s for s in spacing_mm]
    smoothed: Samples = ndimage.gaussian_filter(indicator, sigma, mode="nearest", truncate=3)
    return smoothed


def _find_border(crop: NDArray[np.bool_], start: Array, scan: Geometry) -> tuple[Array, Array]:
    """Returns LPS mm and area of the label's voxels on the scan's outermost layers."""
    points, areas = [], []
    for axis in range(3):
        sides = np.delete(scan.affine[:3, :3], axis, axis=1)
        area = float(np.linalg.norm(np.cross(sides[:, 0], sides[:, 1])))
        for layer in {0, scan.shape[axis] - 1}:
            place = layer - int(start[axis])
            if not 0 <= place < crop.shape[axis]:
                continue
            found = np.argwhere(crop.take(place, axis=axis))
            index = np.insert(found, axis, place, axis=1) + start
            points.append(scan.index_to_world(index))
            areas.append(np.full(len(index), area))
    if not points:
        return np.zeros((0, 3)), np.zeros(0)
    return np.concatenate(points), np.concatenate(areas)


def sample(cutout: Cutout, grid: LocalGrid) -> Samples:
    """Samples a cutout's indicator on a local grid: (x, y, z) float32, 0 beyond the cutout."""
    lines = (grid.x_mm, grid.y_mm, grid.z_mm)
    steps = np.array([line[1] - line[0] for line in lines])
    first = grid.to_world(np.array([line[0] for line in lines]))
    inverse = np.linalg.inv(cutout.geometry.affine[:3, :3])
    sampled: Samples = ndimage.affine_transform(
        cutout.array,
        inverse @ (grid.axes.T * steps),
        offset=cutout.geometry.world_to_index(first),
        output_shape=tuple(len(line) for line in lines),
        order=1,
        mode="constant",
        cval=0.0,
    )
    return sampled


def find_deepest_point(cutout: Cutout) -> Array:
    """Returns (3,) LPS mm the point with most of the label around it, which lies in the body."""
    sigma = [min(6.0 / s, 20.0) for s in cutout.geometry.spacing_mm]
    around = ndimage.gaussian_filter(cutout.array, sigma, mode="constant", truncate=2)
    return np.asarray(
        cutout.geometry.index_to_world(np.unravel_index(int(around.argmax()), around.shape)), dtype=np.float64
    )


def lies_outside(scan: Geometry, points_mm: Array) -> NDArray[np.bool_]:
    """Tells for LPS points (..., 3) whether they lie beyond the centres of the scan's outermost voxels."""
    index = scan.world_to_index(points_mm)
    beyond = (index < 1e-6) | (index > np.asarray(scan.shape) - 1 - 1e-6)
    return np.asarray(beyond.any(axis=-1))
