"""The displacement field of a deformation on a grid, and volumes moved by it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.simulate.polyrigid import Float32, PolyrigidFlow
from spinelab.simulate.rigid import Array
from spinelab.volume import Geometry, Image, Mask

Index = NDArray[np.intp]
#: Step of the grid near bone; far from it the field is smooth and this many steps suffice.
STEP_MM, COARSE = 2.5, 3
#: Up to this distance from a piece every node is computed for itself; the last part of it blends over.
NEAR_MM, BLEND_MM = 16.0, 8.0
#: Tissue is squeezed, or stretched, by at most this between neighbouring nodes.
LEAST_JACOBIAN = 0.04


#: Points are followed until they are this close to where they belong, by steps of at most so much.
CLOSE_MM, LONGEST_MM = 0.01, 4.0


@dataclass(frozen=True, eq=False)
class Field:
    """Where every point after the deformation comes from.

    Attributes:
        source_minus_target_mm: (i, j, k, 3) LPS mm on LPS axes.
        geometry: Its grid.
    """

    source_minus_target_mm: Float32
    geometry: Geometry

    def warp(self, image: Image, target: Geometry, *, outside: float) -> Image:
        """Returns the deformed image on a grid, linear; `outside` where nothing was scanned."""
        values = image.array.astype(np.float32, copy=False)
        array = self._resample(values, image.geometry, target, outside, linear=True)
        if np.issubdtype(image.array.dtype, np.integer):
            array = np.round(array)
        return replace(image, array=array.astype(image.array.dtype), geometry=target)

    def warp_mask(self, mask: Mask, target: Geometry, start: Index, stop: Index) -> Mask:
        """Returns the deformed mask on a grid: at each voxel the label that weighs most there.

        Args:
            mask: (i, j, k) labels.
            target: The grid.
            start, stop: (3,) the part of it that labels may come to lie in; the rest stays 0.
        """
        part = target.cropped(start.tolist(), stop.tolist())
        array = np.zeros(target.shape, mask.array.dtype)
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        array[box] = self._resample(mask.array, mask.geometry, part, 0, linear=False)
        return replace(mask, array=array, geometry=target)

    def _resample(
        self, array: NDArray[Any], source: Geometry, target: Geometry, outside: float, *, linear: bool
    ) -> NDArray[Any]:
        import SimpleITK

        sitk: Any = SimpleITK
        resampler = sitk.ResampleImageFilter()
        resampler.SetSize(target.shape)
        resampler.SetOutputSpacing(target.spacing_mm)
        resampler.SetOutputOrigin(tuple(float(x) for x in target.affine[:3, 3]))
        resampler.SetOutputDirection(_direction(target))
        resampler.SetInterpolator(sitk.sitkLinear if linear else sitk.sitkLabelLinear)
        resampler.SetDefaultPixelValue(float(outside))
        resampler.SetTransform(self._transform)
        moved = sitk.GetArrayFromImage(resampler.Execute(_as_itk(array, source)))
        return np.asarray(moved).transpose(2, 1, 0)

    @cached_property
    def _transform(self) -> Any:
        import SimpleITK

        sitk: Any = SimpleITK

        vectors = np.ascontiguousarray(self.source_minus_target_mm.transpose(2, 1, 0, 3), np.float64)
        field = sitk.GetImageFromArray(vectors, isVector=True)
        field.SetSpacing(self.geometry.spacing_mm)
        field.SetOrigin(tuple(float(x) for x in self.geometry.affine[:3, 3]))
        return sitk.DisplacementFieldTransform(field)

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

    def jacobian(self) -> Float32:
        """Returns (i, j, k) the determinant of the map target -> source: volume before over volume after."""
        return _determinant(self.source_minus_target_mm)


def _direction(geometry: Geometry) -> list[float]:
    """Returns the direction matrix of a grid, row by row; sheared and left-handed ones as they are."""
    axes = geometry.affine[:3, :3] / np.array(geometry.spacing_mm)
    return [float(value) for value in axes.ravel()]


def _as_itk(array: NDArray[Any], geometry: Geometry) -> Any:
    import SimpleITK

    sitk: Any = SimpleITK
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing(geometry.spacing_mm)
    image.SetOrigin(tuple(float(x) for x in geometry.affine[:3, 3]))
    image.SetDirection(_direction(geometry))
    return image


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
    corners = np.array(np.meshgrid(*[[0, n - 1] for n in geometry.shape], indexing="ij")).reshape(3, -1).T
    world = geometry.index_to_world(corners)
    origin = world.min(axis=0) - STEP_MM
    cells = np.ceil((world.max(axis=0) + STEP_MM - origin) / (STEP_MM * COARSE)).astype(int)
    coarse = _nodes(origin, cells + 1, STEP_MM * COARSE)
    away = _refine(flow.distance_after(coarse).reshape(cells + 1))
    shift = (flow.backward(coarse) - coarse).astype(np.float32).reshape(*(cells + 1), 3)
    whole = np.stack([_refine(shift[..., axis]) for axis in range(3)], axis=-1)
    index = np.argwhere((away < NEAR_MM).transpose(2, 0, 1))[:, [1, 2, 0]]  # by height
    near = tuple(index.T)
    points = origin + STEP_MM * index
    source = flow.backward(points, near=True)
    if undo is not None:
        source = undo(source)
    share = np.clip((NEAR_MM - away[near]) / BLEND_MM, 0, 1)[:, None]
    whole[near] += share * ((source - points).astype(np.float32) - whole[near])
    affine = np.diag([STEP_MM, STEP_MM, STEP_MM, 1.0])
    affine[:3, 3] = origin
    shape = (int(whole.shape[0]), int(whole.shape[1]), int(whole.shape[2]))
    return _unfold(Field(whole, Geometry(shape, affine)))


def _determinant(shift: Float32) -> Float32:
    """Returns the determinant of the slope of x + shift, (i, j, k, 3) at nodes STEP_MM apart."""
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
    shift = field.source_minus_target_mm
    folded = _determinant(shift) < LEAST_JACOBIAN
    if not folded.any():
        return field
    box = ndimage.find_objects(ndimage.binary_dilation(folded, iterations=12).astype(np.int8))[0]
    part = shift[box]
    for _ in range(30):
        folded = _determinant(part) < LEAST_JACOBIAN
        if not folded.any():
            break
        soft = ndimage.binary_dilation(folded, iterations=2)
        smooth = np.stack([ndimage.gaussian_filter(part[..., a], 1.0) for a in range(3)], axis=-1)
        part[soft] = smooth[soft]
    return field


def _nodes(origin: Array, shape: NDArray[np.intp], step: float) -> Array:
    axes = [o + step * np.arange(n) for o, n in zip(origin, shape, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _refine(values: Float32) -> Float32:
    """Fills COARSE steps between nodes linearly, axis by axis."""
    for axis in range(3):
        values = np.moveaxis(values, axis, 0)
        fine = np.empty(((len(values) - 1) * COARSE + 1, *values.shape[1:]), np.float32)
        fine[::COARSE] = values
        for part in range(1, COARSE):
            share = np.float32(part / COARSE)
            fine[part::COARSE] = (1 - share) * values[:-1] + share * values[1:]
        values = np.moveaxis(fine, 0, axis)
    return values
