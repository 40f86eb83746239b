"""Rigid pieces in soft tissue: a smooth, invertible motion of all space.

Every piece (a vertebra) goes its screw path from where it is to where it shall be in unit time, and every
other point is carried along by the pieces around it, the nearest most, as in the log-Euclidean polyrigid
transforms of Arsigny et al. (2009). Their weights are fixed in space; here they travel with the pieces, so
that a vertebra that moves by several times its own size still moves as one rigid body. The motion is the
flow of one velocity field that changes with time: it has an inverse, got by running time backwards.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.measurement.sampling import Slices
from spinelab.simulate.rigid import Array, RigidMotion
from spinelab.simulate.threads import THREADS, map_in_threads
from spinelab.volume import Mask

Float32 = NDArray[np.float32]
#: Distance from a piece up to which points move with it, practically alone.
SOFT_MM = 0.4
#: Tissue this far from every piece is held back as much as it is carried along.
FAR_MM = 110.0
#: Grids of distances reach this far beyond their vertebra, in steps of so much.
BORDER_MM, SHAPE_STEP_MM = 8.0, 1.5
#: Close to a piece others farther than this do not matter, fading over the last part.
OUT_OF_MIND_MM, FADE_MM = 90.0, 30.0
_CHUNK = 8192
#: Midpoint steps a motion is cut into.
STEPS = 4


class Shape(Protocol):
    """What a piece looks like: the distance to it, 0 inside."""

    def distance(self, points_mm: Float32) -> Float32:
        """Returns the distances (n,) in mm of points (3, n), LPS mm, in the space of the scan."""

    def least_distance(self, point_mm: Array) -> float:
        """Returns a distance in mm that a point (3,) has at least."""


@dataclass(frozen=True, eq=False)
class SampledShape:
    """A shape given by distances on a grid, `BORDER_MM` all along the grid's border.

    Attributes:
        distance_mm: (i, j, k) distance to the surface, negative inside, on LPS axes.
        origin_mm: (3,) of the first sample.
        step_mm: Distance of the samples.
    """

    distance_mm: Float32
    origin_mm: Array
    step_mm: float

    def distance(self, points_mm: Float32) -> Float32:
        """See `Shape`; beyond the grid the way to the grid is added."""
        index = (points_mm - self.origin_mm.astype(np.float32)[:, None]) / np.float32(self.step_mm)
        last = np.array(self.distance_mm.shape, np.float32)[:, None] - 1
        beyond = np.maximum(np.maximum(-index, index - last), 0)
        out = np.sqrt(np.einsum("in,in->n", beyond, beyond)) * np.float32(self.step_mm)
        inside = np.flatnonzero(out == 0)
        found = ndimage.map_coordinates(self.distance_mm, index[:, inside], order=1, mode="nearest")
        out += np.float32(BORDER_MM)
        out[inside] = np.maximum(found, 0)
        return np.asarray(out)

    def least_distance(self, point_mm: Array) -> float:
        """See `Shape`."""
        last = self.origin_mm + self.step_mm * (np.array(self.distance_mm.shape) - 1)
        return float(np.linalg.norm(np.maximum(np.maximum(self.origin_mm - point_mm, point_mm - last), 0)))


def sample_shape(
    mask: Mask, label: int, box: Slices, change: Callable[[Array], Array] | None = None
) -> SampledShape:
    """Samples the distance to a label of a mask.

    Args:
        mask: (i, j, k) labels.
        label: The one wanted.
        box: Its index box.
        change: Maps points after a change of the vertebra's own shape to those before it, LPS mm (n, 3).
    """
    corners = np.array(np.meshgrid(*[[s.start, s.stop - 1] for s in box], indexing="ij")).reshape(3, -1).T
    world = mask.geometry.index_to_world(corners)
    origin = world.min(axis=0) - BORDER_MM - 2
    shape = np.ceil((world.max(axis=0) + BORDER_MM + 2 - origin) / SHAPE_STEP_MM).astype(int) + 1
    axes = [o + SHAPE_STEP_MM * np.arange(n) for o, n in zip(origin, shape, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    index = mask.geometry.world_to_index(points if change is None else change(points))
    low = np.maximum([s.start - 2 for s in box], 0)
    part = mask.array[tuple(slice(a, s.stop + 2) for a, s in zip(low, box, strict=True))] == label
    soft = ndimage.map_coordinates(part.astype(np.float32), (index - low).T, order=1, mode="nearest")
    inside = soft.reshape(shape) >= 0.5
    outer = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    distance = (np.sign(outer) * (np.abs(outer) - 0.5) * SHAPE_STEP_MM).astype(np.float32)
    return SampledShape(_level_border(distance), origin, SHAPE_STEP_MM)


def _level_border(distance: Float32) -> Float32:
    """Lets distances run into `BORDER_MM` at their grid's border, so that they go on smoothly outside."""
    steps = [np.minimum(np.arange(n), np.arange(n)[::-1]) for n in distance.shape]
    away = np.minimum(np.minimum(steps[0][:, None, None], steps[1][:, None]), steps[2])
    share = np.clip(away * SHAPE_STEP_MM / (BORDER_MM - 2), 0, 1).astype(np.float32)
    share = share * share * (3 - 2 * share)
    return np.asarray(share * distance + (1 - share) * np.float32(BORDER_MM))


@dataclass(frozen=True, eq=False)
class BlockShape:
    """A body and its arch as two boxes in the vertebra's own axes: quick, for training.

    Attributes:
        center_mm: (3,) body centre, LPS mm.
        axes: (3, 3) rows left, posterior, superior.
        half_mm: (3,) half width, depth and height of the body.
    """

    center_mm: Array
    axes: Array
    half_mm: Array

    def distance(self, points_mm: Float32) -> Float32:
        """See `Shape`."""
        local = self.axes.astype(np.float32) @ (points_mm - self.center_mm.astype(np.float32)[:, None])
        half = self.half_mm.astype(np.float32)[:, None]
        arch_half = half * np.array([[0.9], [1.3], [0.6]], np.float32)
        arch = np.array([[0.0], [2.3], [-0.6]], np.float32) * half
        return np.minimum(_to_box(local, half), _to_box(local - arch, arch_half))

    def least_distance(self, point_mm: Array) -> float:
        """See `Shape`."""
        return float(np.linalg.norm(point_mm - self.center_mm) - 4 * self.half_mm.max())


def _to_box(local: Float32, half: Float32) -> Float32:
    outside = np.maximum(np.abs(local) - half, 0)
    return np.asarray(np.sqrt(np.einsum("in,in->n", outside, outside)), np.float32)


class PolyrigidFlow:
    """The motion of all space that moves each piece rigidly.

    Args:
        shapes: Where the pieces are before.
        motions: The rigid motion of each.
        steps: Midpoint steps the motion is cut into.
        threads: Threads that points are moved by.
    """

    def __init__(
        self,
        shapes: Sequence[Shape],
        motions: Sequence[RigidMotion],
        *,
        steps: int = STEPS,
        threads: int = THREADS,
    ) -> None:
        self.threads = threads
        self.shapes = tuple(shapes)
        self.motions = tuple(motions)
        self.steps = steps
        self._twists = [motion.twist() for motion in motions]

    def forward(self, points_mm: Array) -> Array:
        """Moves points (..., 3), LPS mm, from the scan to where they end up."""
        return self._run(points_mm, np.linspace(0, 1, self.steps + 1))

    def backward(self, points_mm: Array, *, near: bool = False) -> Array:
        """Returns for points (..., 3), LPS mm, after the motion where in the scan they come from.

        Args:
            points_mm: Where they are.
            near: They lie close to a piece: those farther than `OUT_OF_MIND_MM` are left out, which is quick
                where the points are sorted by height.
        """
        return self._run(points_mm, np.linspace(1, 0, self.steps + 1), near=near)

    def distance_after(self, points_mm: Array) -> Float32:
        """Returns the distance in mm of points (n, 3), LPS mm, to the nearest piece after the motion."""
        nearest = np.full(len(points_mm), np.inf, np.float32)
        for shape, motion in zip(self.shapes, self.motions, strict=True):
            home = motion.inverse().apply(points_mm).astype(np.float32)
            nearest = np.minimum(nearest, shape.distance(np.ascontiguousarray(home.T)))
        return nearest

    def _run(self, points_mm: Array, times: Array, *, near: bool = False) -> Array:
        flat = np.ascontiguousarray(np.asarray(points_mm, np.float32).reshape(-1, 3).T)
        chunks = [flat[:, i : i + _CHUNK] for i in range(0, flat.shape[1], _CHUNK)]
        moved = map_in_threads(
            lambda chunk: self._integrate(chunk, times, near), chunks, threads=self.threads
        )
        out = np.concatenate(moved, axis=1) if moved else flat
        return out.T.astype(np.float64).reshape(np.shape(points_mm))

    def _integrate(self, points: Float32, times: Array, near: bool) -> Float32:
        for start, stop in pairwise(times):
            step = np.float32(stop - start)
            half = points + step / 2 * self._velocity(points, float(start), near)
            points = points + step * self._velocity(half, float(start + stop) / 2, near)
        return points

    def _velocity(self, points: Float32, time: float, near: bool) -> Float32:
        """Returns the velocity (3, n) at points (3, n) at a time between 0 and 1."""
        middle = points.mean(axis=1)
        spread = float(np.sqrt(((points - middle[:, None]) ** 2).sum(axis=0).max()))
        share = np.full(points.shape[1], _weight(np.float32(FAR_MM)), np.float32)
        total = np.zeros_like(points)
        for shape, (angular, linear) in zip(self.shapes, self._twists, strict=True):
            back = RigidMotion.from_twist(-time * angular, -time * linear)
            if near and shape.least_distance(back.apply(middle)) - spread > OUT_OF_MIND_MM:
                continue
            home = back.rotation.astype(np.float32) @ points
            home += back.translation_mm.astype(np.float32)[:, None]
            distance = shape.distance(home)
            weight = _weight(distance)
            if near:
                weight *= np.clip((OUT_OF_MIND_MM - distance) / FADE_MM, 0, 1)
            spin = np.array(
                [[0, -angular[2], angular[1]], [angular[2], 0, -angular[0]], [-angular[1], angular[0], 0]],
                np.float32,
            )
            speed = spin @ points
            speed += linear.astype(np.float32)[:, None]
            speed *= weight
            total += speed
            share += weight
        total /= share
        return total


def _weight(distance: Float32 | np.float32) -> Float32:
    """Weight of a piece at a distance: about 1 / distance^3, bounded inside."""
    square = distance * distance + np.float32(SOFT_MM**2)
    return np.asarray(1 / (square * np.sqrt(square)), np.float32)
