"""Voxels and where they are: `Geometry`, and `Image` and `Mask` on one.

World coordinates are patient **LPS millimetres** throughout (x to the left, y to the back, z to the
head), as in DICOM and ITK. Arrays are indexed ``[i, j, k]``, the three index axes of the affine (the
order of NIfTI and of SimpleITK's ``GetSize``, the reverse of ``GetArrayFromImage``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.errors import GeometryError

Modality = Literal["CT", "MR", "XR", "unknown"]
Float = NDArray[np.floating[Any]]
_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))


@dataclass(frozen=True, eq=False)
class Geometry:
    """The grid of a volume in the patient.

    Attributes:
        shape: Voxels along i, j, k.
        affine: (4, 4) float64, homogeneous voxel index (i, j, k, 1) to LPS mm. Columns need not be
            orthogonal (gantry tilt) and may be left-handed, but must be independent.

    Example:
        >>> geometry = Geometry.from_spacing((4, 4, 2), (1.0, 1.0, 2.5))
        >>> geometry.codes
        'LPS'
        >>> geometry.index_to_world(np.array([1, 0, 1])).tolist()
        [1.0, 0.0, 2.5]
    """

    shape: tuple[int, int, int]
    affine: Float

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError(f"affine must be a finite 4x4 matrix, found {affine.tolist()}")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(f"a volume has three dimensions of at least 1, found {self.shape}")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise GeometryError("voxel axes are degenerate (a spacing of zero or parallel axes)")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @classmethod
    def from_spacing(
        cls,
        shape: Sequence[int],
        spacing_mm: Sequence[float],
        origin_mm: Sequence[float] = (0.0, 0.0, 0.0),
    ) -> "Geometry":
        """Returns an axis-aligned LPS geometry (i to the left, j to the back, k to the head)."""
        affine = np.diag([*spacing_mm, 1.0])
        affine[:3, 3] = origin_mm
        return cls((shape[0], shape[1], shape[2]), affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel edge lengths along i, j, k in mm."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return (float(lengths[0]), float(lengths[1]), float(lengths[2]))

    @property
    def axes_by_world(self) -> tuple[int, int, int]:
        """For world x, y, z: the index axis that runs closest to it (each used once)."""
        directions = np.abs(self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0))
        chosen = [-1, -1, -1]
        for _ in range(3):
            world, axis = np.unravel_index(int(np.argmax(directions)), (3, 3))
            chosen[int(world)] = int(axis)
            directions[world, :] = -1
            directions[:, axis] = -1
        return (chosen[0], chosen[1], chosen[2])

    @property
    def codes(self) -> str:
        """Axis codes: the patient side each index axis points to, e.g. "LPS" or "PIR"."""
        letters = ["", "", ""]
        for world, axis in enumerate(self.axes_by_world):
            letters[axis] = _LETTERS[world][int(self.affine[world, axis] > 0)]
        return "".join(letters)

    def index_to_world(self, index: Any) -> Float:
        """Maps voxel indices (..., 3) to LPS mm (..., 3)."""
        points = np.asarray(index, dtype=np.float64)
        return np.asarray(points @ self.affine[:3, :3].T + self.affine[:3, 3])

    def world_to_index(self, world_mm: Any) -> Float:
        """Maps LPS mm (..., 3) to fractional voxel indices (..., 3)."""
        inverse = np.linalg.inv(self.affine)
        points = np.asarray(world_mm, dtype=np.float64)
        return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3])

    def contains(self, world_mm: Any, margin_mm: float = 0.0) -> NDArray[np.bool_]:
        """Tells for LPS points (..., 3) whether they lie in the volume, `margin_mm` inside it."""
        index = self.world_to_index(world_mm)
        margin = margin_mm / np.asarray(self.spacing_mm)
        upper = np.asarray(self.shape) - 1 - margin
        inside = (index >= margin) & (index <= upper)
        return np.asarray(inside.all(axis=-1))

    def same_grid(self, other: "Geometry", tolerance_mm: float = 1e-3) -> bool:
        """Tells whether both have the same shape and all corners within `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        gap = self.index_to_world(corners) - other.index_to_world(corners)
        return bool(np.linalg.norm(gap, axis=1).max() <= tolerance_mm)

    def cropped(self, start: Sequence[int], stop: Sequence[int]) -> "Geometry":
        """Returns the geometry of ``array[start:stop]``."""
        affine = np.array(self.affine)
        affine[:3, 3] = self.index_to_world(np.asarray(start))
        return Geometry((stop[0] - start[0], stop[1] - start[1], stop[2] - start[2]), affine)

    def resampled(self, spacing_mm: Sequence[float]) -> "Geometry":
        """Returns a grid over the same extent and axes with (about) the spacing given per axis.

        The outer faces of the field of view stay where they are to within half a voxel.
        """
        old = np.asarray(self.spacing_mm)
        new = np.asarray(spacing_mm, dtype=np.float64)
        shape = np.maximum(1, np.round(np.asarray(self.shape) * old / new)).astype(int)
        affine = np.array(self.affine)
        affine[:3, :3] = self.affine[:3, :3] / old * new
        shift = (np.asarray(self.shape) - 1) / 2 - (shape - 1) / 2 * new / old
        affine[:3, 3] = self.index_to_world(shift)
        return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def reoriented(self, codes: str) -> "Geometry":
        """Returns the same voxels with the axes permuted and flipped to `codes`."""
        order, flips = _reorientation(self.codes, codes)
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        shape = [self.shape[axis] for axis in order]
        for target, (axis, flip) in enumerate(zip(order, flips, strict=True)):
            matrix[axis, target] = -1 if flip else 1
            matrix[axis, 3] = self.shape[axis] - 1 if flip else 0
        return Geometry((shape[0], shape[1], shape[2]), self.affine @ matrix)


def _reorientation(source: str, target: str) -> tuple[list[int], list[bool]]:
    """Returns for each target axis the source axis and whether it is flipped."""
    pairs = {letter: pair for pair in _LETTERS for letter in pair}
    if sorted(map(str, {pairs.get(letter) for letter in target})) != sorted(map(str, _LETTERS)):
        raise GeometryError(f"axis codes name each of L/R, P/A, S/I once, found {target!r}")
    order = [next(a for a, s in enumerate(source) if s in pairs[t]) for t in target]
    return order, [source[axis] != code for axis, code in zip(order, target, strict=True)]


@dataclass(frozen=True, eq=False)
class _Volume:
    """What `Image` and `Mask` share; never made by itself."""

    array: NDArray[Any]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise GeometryError(f"array of shape {self.array.shape} on a grid of shape {self.geometry.shape}")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel edge lengths along i, j, k in mm."""
        return self.geometry.spacing_mm


V = TypeVar("V", bound=_Volume)


def _crop(volume: V, start: Sequence[int], stop: Sequence[int]) -> V:
    slices = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    return replace(volume, array=volume.array[slices], geometry=volume.geometry.cropped(start, stop))


def _reorient(volume: V, codes: str) -> V:
    order, flips = _reorientation(volume.geometry.codes, codes)
    array = np.transpose(volume.array, order)
    array = array[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    return replace(volume, array=array, geometry=volume.geometry.reoriented(codes))


def _resample(volume: _Volume, target: Geometry, order: int, outside: float) -> NDArray[Any]:
    matrix = np.linalg.inv(volume.geometry.affine) @ target.affine
    return np.asarray(
        ndimage.affine_transform(
            volume.array,
            matrix[:3, :3],
            offset=matrix[:3, 3],
            output_shape=target.shape,
            order=order,
            mode="constant",
            cval=outside,
        )
    )


@dataclass(frozen=True, eq=False)
class Image(_Volume):
    """A scan: intensities on a grid.

    Attributes:
        array: (i, j, k) intensities; HU for CT. Integer or float32.
        geometry: Its grid, LPS mm.
        modality: "CT", "MR", "XR" or "unknown".
        info: Facts about the acquisition worth carrying (never patient identifiers), e.g.
            ``{"kernel": "B30f", "contrast": "portal"}``.
    """

    modality: Modality = "unknown"
    info: dict[str, str] = field(default_factory=dict)

    def cropped(self, start: Sequence[int], stop: Sequence[int]) -> "Image":
        """Returns the part ``array[start:stop]`` (a view)."""
        return _crop(self, start, stop)

    def reoriented(self, codes: str) -> "Image":
        """Returns the same voxels with axes permuted and flipped to `codes` (a view)."""
        return _reorient(self, codes)

    def resampled(self, target: Geometry, outside: float = -1024.0) -> "Image":
        """Returns the image on another grid, linear, `outside` beyond its own.

        No smoothing is applied: when shrinking a lot, smooth first.
        """
        return replace(self, array=_resample(self, target, 1, outside), geometry=target)

    def shrunk(self, spacing_mm: float) -> "Image":
        """Returns the image on about cubic voxels of `spacing_mm`, averaged, then linear; float32.

        Whole blocks of voxels are averaged first, so the cost and the memory are those of one pass
        over the scan however large it is.
        """
        factors = [max(1, int(spacing_mm / s + 0.01)) for s in self.spacing_mm]
        factors = [min(f, n) for f, n in zip(factors, self.array.shape, strict=True)]
        shape = [n // f for n, f in zip(self.array.shape, factors, strict=True)]
        total = np.zeros(shape, np.float32)
        offsets = np.ndindex(factors[0], factors[1], factors[2])
        for offset in offsets:
            total += self.array[
                tuple(slice(o, o + n * f, f) for o, n, f in zip(offset, shape, factors, strict=True))
            ]
        total /= float(np.prod(factors))
        affine = np.array(self.geometry.affine)
        affine[:3, :3] = affine[:3, :3] * factors
        affine[:3, 3] = self.geometry.index_to_world((np.asarray(factors) - 1) / 2)
        blocks = Geometry((shape[0], shape[1], shape[2]), affine)
        target = self.geometry.resampled([spacing_mm] * 3)
        matrix = np.linalg.inv(blocks.affine) @ target.affine
        array = ndimage.affine_transform(
            total,
            np.diag(matrix[:3, :3]),
            offset=matrix[:3, 3],
            output_shape=target.shape,
            order=1,
            mode="nearest",
        )
        return replace(self, array=array, geometry=target)


@dataclass(frozen=True, eq=False)
class Mask(_Volume):
    """Labels on a grid.

    Attributes:
        array: (i, j, k) unsigned integers; VerSe numbers unless said, 0 is background.
        geometry: Its grid, LPS mm.
    """

    def cropped(self, start: Sequence[int], stop: Sequence[int]) -> "Mask":
        """Returns the part ``array[start:stop]`` (a view)."""
        return _crop(self, start, stop)

    def reoriented(self, codes: str) -> "Mask":
        """Returns the same voxels with axes permuted and flipped to `codes` (a view)."""
        return _reorient(self, codes)

    def resampled(self, target: Geometry) -> "Mask":
        """Returns the labels on another grid, nearest neighbour, 0 beyond its own."""
        return replace(self, array=_resample(self, target, 0, 0), geometry=target)

    def labels(self) -> tuple[int, ...]:
        """Returns the labels present, ascending, without 0."""
        present = np.unique(self.array)
        return tuple(int(value) for value in present if value)
