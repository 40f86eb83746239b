"""The rigid motion of what rests on a plane that tips."""

import numpy as np
from scipy.spatial.transform import Rotation

from spinelab.simulate.rigid import Array, RigidMotion


def tip_plane(plane: Array, tilt: Array, *, y_mm: float, lift_mm: float) -> RigidMotion:
    """Returns the motion that tips a plane about a point of it, and lifts that point.

    Args:
        plane: (3,) coefficients, z = p0 + p1 x + p2 y, local mm.
        tilt: (2,) what its slopes along x and y grow by.
        y_mm: The point lies at x = 0 and this y.
        lift_mm: How far it moves along z.
    """
    before = np.array([-plane[1], -plane[2], 1.0])
    rotation = _turn_onto(before, before - np.array([tilt[0], tilt[1], 0.0]))
    pivot = np.array([0.0, y_mm, plane[0] + plane[2] * y_mm])
    return RigidMotion(rotation, pivot + np.array([0.0, 0.0, lift_mm]) - rotation @ pivot)


def _turn_onto(before: Array, after: Array) -> Array:
    """Returns the (3, 3) smallest rotation from one direction onto another."""
    axis = np.cross(before, after)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-12:
        return np.eye(3)
    angle = np.arctan2(sine, float(before @ after))
    return np.asarray(Rotation.from_rotvec(axis / sine * angle).as_matrix())
