"""The displacement field of a deformation on a grid, and volumes moved by it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.measurement.sampling import Slices
from spinelab.simulate.polyrigid import Float32, PolyrigidFlow
from spinelab.simulate.resampling import LabelReader, interpolate, lay_between, read_linear
from spinelab.simulate.rigid import Array
from spinelab.simulate.threads import map_in_threads
from spinelab.volume import Geometry, Image, Mask

Index = NDArray[np.intp]
#: Step of the grid near bone; far from it the field is smooth and this many steps suffice.
STEP_MM, COARSE = 2.5, 3
#: Up to this distance from a piece every node is computed for itself; the last part of it blends over.
NEAR_MM, BLEND_MM = 16.0, 8.0
#: Tissue is squeezed, or stretched, by at most this between neighbouring nodes.
LEAST_JACOBIAN = 0.04
#: Determinants are computed so many planes at a time.
_PLANES = 8
#: Points are followed until they are this close to where they belong, by steps of at most so much.
CLOSE_MM, LONGEST_MM = 0.01, 4.0


@dataclass(frozen=True, eq=False)
class Field:
    """Where every point after the deformation comes from.

    Attributes:
        source_minus_target_mm: (i, j, k, 3) LPS mm at nodes `STEP_MM` apart.
        geometry: Its grid, with the axes of the volume it was computed for.
    """

    source_minus_target_mm: Float32
    geometry: Geometry

    def warp(self, image: Image, target: Geometry, *, outside: float) -> Image:
        """Returns the deformed image on a grid, linear; `outside` where nothing was scanned.

        Raises:
            GeometryError: The grid has other axes than the field.
        """
        origins = lay_between(self.source_minus_target_mm, self.geometry, image.geometry, target)
        source = np.ascontiguousarray(image.array)
        moved = np.empty(target.shape, source.dtype)

        def fill(slab: Slices) -> None:
            moved[slab] = read_linear(source, origins.trace(slab), outside=outside)

        map_in_threads(fill, origins.slabs(_whole(target)))
        return replace(image, array=moved, geometry=target)

    def warp_mask(self, mask: Mask, target: Geometry, start: Index, stop: Index) -> Mask:
        """Returns the deformed mask on a grid: at each voxel the label that weighs most there.

        Args:
            mask: (i, j, k) labels.
            target: The grid.
            start, stop: (3,) the part of it that labels may come to lie in; the rest stays 0.

        Raises:
            GeometryError: The grid has other axes than the field.
        """
        origins = lay_between(self.source_minus_target_mm, self.geometry, mask.geometry, target)
        reader = LabelReader(mask.array)
        moved = np.zeros(target.shape, mask.array.dtype)
        i, j, k = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))

        def fill(slab: Slices) -> None:
            moved[slab] = reader.read(origins.trace(slab))

        map_in_threads(fill, origins.slabs((i, j, k)))
        return replace(mask, array=moved, geometry=target)

    def source_of(self, points_mm: Array) -> Array:
        """Returns where points (n, 3), LPS mm, of the deformed scan come from, as its voxels do."""
        index = self.geometry.world_to_index(points_mm).T
        shift = [
            ndimage.map_coordinates(self.source_minus_target_mm[..., axis], index, order=1, mode="nearest")
            for axis in range(3)
        ]
        return np.asarray(points_mm + np.stack(shift, axis=-1))

    def target_of(self, points_mm: Array, start_mm: Array) -> Array:
        """Returns where points (n, 3) of the scan end up, LPS mm: the inverse of `source_of`.

        Args:
            points_mm: Points before the deformation.
            start_mm: (n, 3) about where they end up.
        """
        target = np.array(start_mm, np.float64)
        todo = np.arange(len(target))
        for _ in range(40):
            rest = points_mm[todo] - self.source_of(target[todo])
            todo, rest = todo[far := np.abs(rest).max(axis=1) >= CLOSE_MM], rest[far]
            if not len(todo):
                break
            target[todo] += self._step(target[todo], rest)
        return target

    def _step(self, target_mm: Array, rest_mm: Array) -> Array:
        """Returns a damped Newton step (n, 3) that brings `source_of` closer by `rest_mm`."""
        slopes = [
            self.source_of(target_mm + step) - self.source_of(target_mm - step) for step in 0.5 * np.eye(3)
        ]
        slope = np.stack(slopes, axis=-1)
        step = np.linalg.solve(slope.transpose(0, 2, 1) @ slope + 1e-3 * np.eye(3), (
            slope.transpose(0, 2, 1) @ rest_mm[..., None]))[..., 0]  # fmt: skip
        length = np.linalg.norm(step, axis=1, keepdims=True)
        return np.asarray(step * np.minimum(1.0, LONGEST_MM / np.maximum(length, 1e-9)))

    @cached_property
    def jacobian(self) -> Float32:
        """(i, j, k) the determinant of the map target -> source: volume before over volume after."""
        along = np.linalg.inv(self.geometry.affine[:3, :3] / STEP_MM).astype(np.float32)
        shift = self.source_minus_target_mm @ along.T
        found = np.empty(shift.shape[:3], np.float32)

        def fill(first: int) -> None:
            last, low = min(first + _PLANES, len(shift)), max(first - 1, 0)
            found[first:last] = _determinant(shift[low : last + 1])[first - low : last - low]

        map_in_threads(fill, range(0, len(shift), _PLANES))
        return found


def compute_field(
    flow: PolyrigidFlow, geometry: Geometry, undo: Callable[[Array], Array] | None = None
) -> Field:
    """Computes where the points of a volume come from.

    Args:
        flow: The motion of the pieces.
        geometry: Grid of the volume to be filled.
        undo: What comes before the motion, backwards: maps LPS points (n, 3) after the changes of single
            vertebrae to those before.
    """
    grid = _lay_nodes(geometry)
    knots = tuple((count - 1) // COARSE + 1 for count in grid.shape)
    coarse = _locate(grid, COARSE * np.indices(knots).reshape(3, -1).T)
    away = _refine(flow.distance_after(coarse).reshape(knots))
    whole = _refine((flow.backward(coarse) - coarse).astype(np.float32).reshape(*knots, 3))
    by_height = np.roll(np.arange(3), -grid.axes_by_world[2])
    index = np.argwhere((away < NEAR_MM).transpose(by_height))[:, np.argsort(by_height)]
    near = tuple(index.T)
    points = _locate(grid, index)
    source = flow.backward(points, near=True)
    if undo is not None:
        source = undo(source)
    share = np.clip((NEAR_MM - away[near]) / BLEND_MM, 0, 1)[:, None]
    whole[near] += share * ((source - points).astype(np.float32) - whole[near])
    return _unfold(Field(whole, grid))


def _locate(grid: Geometry, index: Index) -> Array:
    return np.asarray(grid.index_to_world(index), np.float64)


def _lay_nodes(geometry: Geometry) -> Geometry:
    """Returns a grid of nodes `STEP_MM` apart that holds another one, along its axes."""
    per_voxel = STEP_MM / np.array(geometry.spacing_mm)
    cells = np.ceil(((np.array(geometry.shape) - 1) / per_voxel + 2) / COARSE).astype(int)
    i, j, k = (int(n) for n in COARSE * cells + 1)
    affine = np.array(geometry.affine)
    affine[:3, :3] *= per_voxel
    affine[:3, 3] = geometry.index_to_world(-per_voxel)
    return Geometry((i, j, k), affine)


def _determinant(shift: Float32) -> Float32:
    """Returns the determinant of the slope of x + shift, (i, j, k, 3) along the axes, STEP_MM apart."""
    rows = []
    for axis in range(3):
        slope = [np.gradient(shift[..., part], STEP_MM, axis=axis) for part in range(3)]
        slope[axis] += 1
        rows.append(slope)
    (a, b, c), (d, e, f), (g, h, i) = rows
    return np.asarray(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g), np.float32)


def _unfold(field: Field) -> Field:
    """Smooths the field where the grid is too coarse for its shear, as between sliding facets.

    The flow itself never folds; sampled on a grid it may.
    """
    folded = field.jacobian < LEAST_JACOBIAN
    if not folded.any():
        return field
    box = ndimage.find_objects(ndimage.binary_dilation(folded, iterations=12).astype(np.int8))[0]
    shift = field.source_minus_target_mm.copy()
    part = Field(shift[box], field.geometry.cropped([s.start for s in box], [s.stop for s in box]))
    for _ in range(30):
        folded = part.jacobian < LEAST_JACOBIAN
        if not folded.any():
            break
        soft = ndimage.binary_dilation(folded, iterations=2)
        smooth = ndimage.gaussian_filter(part.source_minus_target_mm, (1.0, 1.0, 1.0, 0.0))
        part.source_minus_target_mm[soft] = smooth[soft]
        part = replace(part)  # its jacobian is no longer the one it remembers
    return replace(field, source_minus_target_mm=shift)


def _refine(values: Float32) -> Float32:
    """Fills COARSE steps between nodes (i, j, k, ...) linearly."""
    for axis in range(3):
        places = np.arange((values.shape[axis] - 1) * COARSE + 1) / COARSE
        values = interpolate(values, places.astype(np.float32), axis)
    return values


def _whole(geometry: Geometry) -> Slices:
    i, j, k = (slice(0, count) for count in geometry.shape)
    return i, j, k
