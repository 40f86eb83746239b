"""A deformation away from the body's axis only, piecewise linear on every ray: exactly invertible."""

from dataclasses import dataclass

import numpy as np

from spinelab.simulate.changes import Reach
from spinelab.simulate.rigid import Array


@dataclass(frozen=True, eq=False)
class RimBulge:
    """Pushes the rims of a body outwards.

    On a ray the rim moves out by what is given for its direction and fades with the height from it; nothing
    moves inside `core` of the way to the rim. Direction and height stay, so the inverse is exact.

    Attributes:
        y_mm: Where the axis is (x = 0).
        angles: (a,) directions in radians, 0 to the front, positive to the left, from -pi to pi, increasing.
        radius_mm: (2, a) distance of the superior and the inferior rim from the axis.
        height_mm: (2, a) their local z.
        size_mm: (2, a) how far they move out.
        inward_mm: From the rim towards the middle of the body, where the bulge has faded.
        outward_mm: (2,) towards the disc above and below, where it has faded.
        core: Share of the radius inside which nothing moves.
        carried_mm: Half thickness of what is carried whole at the rim.
    """

    y_mm: float
    angles: Array
    radius_mm: Array
    height_mm: Array
    size_mm: Array
    inward_mm: float
    outward_mm: tuple[float, float]
    core: float
    carried_mm: float

    @property
    def beyond_mm(self) -> float:
        """How far beyond the rim tissue moves."""
        return self.carried_mm + 4.0 + 2.0 * float(self.size_mm.max())

    @property
    def reach_mm(self) -> Reach:
        """The box outside which nothing moves."""
        used = self.size_mm.max(axis=0) > 0
        if not used.any():
            return ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0))
        around = np.convolve(np.r_[used[-1], used, used[0]], np.ones(3), "valid") > 0
        far = (self.radius_mm.max(axis=0) + self.beyond_mm)[around]
        x = np.r_[0.0, far * np.sin(self.angles[around])]
        y = self.y_mm - np.r_[0.0, far * np.cos(self.angles[around])]
        z = self.height_mm[:, around]
        return (
            (float(x.min()), float(x.max())),
            (float(y.min()), float(y.max())),
            (float(z[1].min() - self.outward_mm[1]), float(z[0].max() + self.outward_mm[0])),
        )

    def apply(self, source_mm: Array) -> Array:
        """Maps source points (n, 3) in local mm to where they come to lie."""
        return self._move(source_mm, forwards=True)

    def undo(self, changed_mm: Array) -> Array:
        """Maps changed points (n, 3) in local mm back to where they came from."""
        return self._move(changed_mm, forwards=False)

    def _move(self, points: Array, *, forwards: bool) -> Array:
        moved = np.array(points, dtype=np.float64)
        x, ahead = moved[:, 0], self.y_mm - moved[:, 1]
        distance, direction = np.hypot(x, ahead), np.arctan2(x, ahead)
        rim, push = self._look(direction, moved[:, 2])
        near = (push > 0) & (distance > self.core * rim) & (distance < rim + self.beyond_mm)
        rim, push, distance = rim[near], push[near], distance[near]
        still = [self.core * rim, rim - self.carried_mm, rim + self.carried_mm, rim + self.beyond_mm]
        shifted = [still[0], still[1] + push, still[2] + push, still[3]]
        old, new = (still, shifted) if forwards else (shifted, still)
        after = new[0] + (distance - old[0]) * (new[1] - new[0]) / (old[1] - old[0])
        for i in (1, 2):
            part = new[i] + (distance - old[i]) * (new[i + 1] - new[i]) / (old[i + 1] - old[i])
            after = np.where(distance > old[i], part, after)
        moved[near, 0] = x[near] * after / distance
        moved[near, 1] = self.y_mm - ahead[near] * after / distance
        return moved

    def _look(self, direction: Array, z: Array) -> tuple[Array, Array]:
        """Returns (n,) distance of the nearer rim in these directions, and its push at height z."""

        def along(values: Array) -> Array:
            return np.asarray(np.interp(direction, self.angles, values, period=2 * np.pi))

        pushes = []
        for row, sign in ((0, 1.0), (1, -1.0)):
            beyond = sign * (z - along(self.height_mm[row]))
            share = np.where(beyond > 0, beyond / self.outward_mm[row], -beyond / self.inward_mm)
            pushes.append(along(self.size_mm[row]) * np.cos(np.pi / 2 * np.clip(share, 0, 1)) ** 2)
        upper = pushes[0] >= pushes[1]
        rim = np.where(upper, along(self.radius_mm[0]), along(self.radius_mm[1]))
        return rim, np.where(upper, pushes[0], pushes[1])
