"""Rigid motions and their logarithms."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RigidMotion:
    """x -> rotation @ x + translation.

    Attributes:
        rotation: (3, 3) proper rotation.
        translation_mm: (3,).
    """

    rotation: Array = field(default_factory=lambda: np.eye(3))
    translation_mm: Array = field(default_factory=lambda: np.zeros(3))

    def apply(self, points_mm: Array) -> Array:
        """Moves points (..., 3)."""
        return np.asarray(points_mm @ self.rotation.T + self.translation_mm)

    def turn(self, directions: Array) -> Array:
        """Turns directions (..., 3)."""
        return np.asarray(directions @ self.rotation.T)

    def inverse(self) -> "RigidMotion":
        """Returns the motion back."""
        return RigidMotion(self.rotation.T, -self.rotation.T @ self.translation_mm)

    def after(self, first: "RigidMotion") -> "RigidMotion":
        """Returns the motion that does `first`, then this one."""
        return RigidMotion(self.rotation @ first.rotation, self.apply(first.translation_mm))

    def within(self, axes: Array, origin_mm: Array) -> "RigidMotion":
        """Returns in world coordinates a motion that is given in a local frame.

        Args:
            axes: (3, 3) rows left, posterior, superior of the local frame in LPS.
            origin_mm: (3,) its zero point, LPS mm.
        """
        rotation = axes.T @ self.rotation @ axes
        return RigidMotion(rotation, origin_mm + self.translation_mm @ axes - rotation @ origin_mm)

    def twist(self) -> tuple[Array, Array]:
        """Returns its logarithm: (3,) angular velocity in radians and (3,) velocity of the origin in mm.

        Moving for unit time with velocity ``angular x point + linear`` is this motion (a screw).
        """
        angular: Array = Rotation.from_matrix(self.rotation).as_rotvec()
        return angular, np.asarray(np.linalg.solve(_left_jacobian(angular), self.translation_mm), np.float64)

    @classmethod
    def from_twist(cls, angular: Array, linear: Array) -> "RigidMotion":
        """Returns the motion with this logarithm (see `twist`)."""
        return cls(Rotation.from_rotvec(angular).as_matrix(), _left_jacobian(angular) @ linear)


def _left_jacobian(angular: Array) -> Array:
    """Returns (3, 3) V with translation = V @ linear velocity for a screw with this rotation vector."""
    angle = float(np.linalg.norm(angular))
    cross = np.array(
        [[0, -angular[2], angular[1]], [angular[2], 0, -angular[0]], [-angular[1], angular[0], 0]]
    )
    if angle < 1e-6:
        return np.asarray(np.eye(3) + cross / 2)
    first, second = (1 - np.cos(angle)) / angle**2, (angle - np.sin(angle)) / angle**3
    return np.asarray(np.eye(3) + first * cross + second * cross @ cross)
