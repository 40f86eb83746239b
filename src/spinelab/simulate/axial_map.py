"""A deformation along local z only, piecewise linear in every column: exactly invertible, never folds."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinelab.simulate.changes import Reach
from spinelab.simulate.rigid import Array

#: Points worked on at a time, which bounds the memory.
_BATCH = 100_000


@dataclass(frozen=True, eq=False)
class AxialMap:
    """Moves points along z; between the knots of a column heights are interpolated linearly.

    Knots between the columns are interpolated bilinearly. x and y stay, so the inverse is the same map with
    the knots exchanged.

    Attributes:
        x_mm, y_mm: Where the columns are, equally spaced.
        source_mm: (x, y, k) increasing heights.
        changed_mm: (x, y, k) where they come to lie, increasing; the first and last of each column stay, and
            in the outermost columns all do.
    """

    x_mm: Array
    y_mm: Array
    source_mm: Array
    changed_mm: Array

    def __post_init__(self) -> None:
        assert (np.diff(self.source_mm, axis=2) > 0).all()
        assert (np.diff(self.changed_mm, axis=2) > 0).all()

    @property
    def reach_mm(self) -> Reach:
        """The box outside which nothing moves."""
        moved = np.argwhere(np.abs(self.changed_mm - self.source_mm).max(axis=2) > 0)
        if len(moved) == 0:
            return ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0))
        low = np.maximum(moved.min(axis=0) - 1, 0)
        high = np.minimum(moved.max(axis=0) + 1, np.array(self.source_mm.shape[:2]) - 1)
        part = self.source_mm[low[0] : high[0] + 1, low[1] : high[1] + 1]
        return (
            (float(self.x_mm[low[0]]), float(self.x_mm[high[0]])),
            (float(self.y_mm[low[1]]), float(self.y_mm[high[1]])),
            (float(part[..., 0].min()), float(part[..., -1].max())),
        )

    def apply(self, source_mm: Array) -> Array:
        """Maps source points (n, 3) in local mm to where they come to lie."""
        return self._move(source_mm, self.source_mm, self.changed_mm)

    def undo(self, changed_mm: Array) -> Array:
        """Maps changed points (n, 3) in local mm back to where they came from."""
        return self._move(changed_mm, self.changed_mm, self.source_mm)

    def stretch(self, source_mm: Array) -> Array:
        """Returns (n,) dz'/dz, the factor on the volume, at source points (n, 3); 1 where nothing moves."""
        factor = np.ones(len(source_mm))
        for part, old, new, place in self._walk(source_mm, self.source_mm, self.changed_mm):
            ratio = np.diff(new, axis=1) / np.diff(old, axis=1)
            factor[part] = np.take_along_axis(ratio, place[:, None], axis=1)[:, 0]
        return factor

    def _move(self, points: Array, old: Array, new: Array) -> Array:
        moved = np.array(points, dtype=np.float64)
        for part, start, end, place in self._walk(points, old, new):
            at = place[:, None]
            low, high = (np.take_along_axis(start, at + i, axis=1)[:, 0] for i in (0, 1))
            to, top = (np.take_along_axis(end, at + i, axis=1)[:, 0] for i in (0, 1))
            moved[part, 2] = to + (moved[part, 2] - low) / (high - low) * (top - to)
        return moved

    def _walk(
        self, points: Array, old: Array, new: Array
    ) -> Iterator[tuple[NDArray[np.intp], Array, Array, NDArray[np.intp]]]:
        """Yields for the points between the knots: their numbers, knots old and new, and which interval."""
        step = np.array([self.x_mm[1] - self.x_mm[0], self.y_mm[1] - self.y_mm[0]])
        place = (points[:, :2] - [self.x_mm[0], self.y_mm[0]]) / step
        inside = (place >= 0) & (place <= np.array(old.shape[:2]) - 1)
        within = (points[:, 2] > old[..., 0].min()) & (points[:, 2] < old[..., -1].max())
        numbers = np.flatnonzero(inside.all(axis=1) & within)
        for start in range(0, len(numbers), _BATCH):
            part = numbers[start : start + _BATCH]
            knots, to = _blend(old, place[part]), _blend(new, place[part])
            interval = (points[part, 2, None] >= knots).sum(axis=1) - 1
            rows = (interval >= 0) & (interval < old.shape[2] - 1)
            yield part[rows], knots[rows], to[rows], interval[rows]


def _blend(knots: Array, place: Array) -> Array:
    """Returns (n, k) knots at fractional columns (n, 2), bilinear."""
    last = np.array(knots.shape[:2]) - 2
    base = np.clip(np.floor(place).astype(int), 0, last)
    u, v = (place - base).T[..., None]
    i, j = base.T
    near = (1 - v) * knots[i, j] + v * knots[i, j + 1]
    far = (1 - v) * knots[i + 1, j] + v * knots[i + 1, j + 1]
    return np.asarray((1 - u) * near + u * far)
