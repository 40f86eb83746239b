"""The displacement field on its grid."""

import numpy as np
import pytest

from spinelab.simulate.field import LEAST_JACOBIAN, STEP_MM, Field, compute_field
from spinelab.simulate.polyrigid import BlockShape, PolyrigidFlow
from spinelab.simulate.rigid import RigidMotion
from spinelab.volume import Geometry, Image, Mask

HALF = np.array([8.0, 6.0, 5.0])


def turned(geometry: Geometry, degrees: float) -> Geometry:
    """The grid turned about the patient's long axis."""
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return Geometry(geometry.shape, turn @ geometry.affine)


def test_the_jacobian_of_a_linear_field_is_its_determinant_whatever_the_axes():
    slopes = np.array([[0.1, 0.05, 0.0], [-0.02, -0.2, 0.1], [0.0, 0.03, 0.3]])
    for degrees in (0.0, 25.0):
        nodes = turned(Geometry.from_spacing((20, 6, 5), (STEP_MM,) * 3), degrees)
        world = np.asarray(nodes.index_to_world(np.indices(nodes.shape).reshape(3, -1).T))
        field = Field((world @ slopes.T).reshape(*nodes.shape, 3).astype(np.float32), nodes)
        assert field.jacobian == pytest.approx(np.linalg.det(np.eye(3) + slopes), abs=1e-4)


def test_a_field_moves_volumes_of_any_axes_alike():
    """One rigid piece in a volume turned in space: its block of labels goes with it."""
    motion = RigidMotion(np.eye(3), np.array([6.0, 0.0, 4.5]))
    straight = Geometry.from_spacing((40, 36, 32), (1.5, 1.5, 1.5), (-29, -26, -24))
    for geometry in (straight, turned(straight, 30.0), straight.reoriented("PIR")):
        points = np.asarray(geometry.index_to_world(np.indices(geometry.shape).reshape(3, -1).T))
        inside = (np.abs(points) <= HALF).all(axis=1).reshape(geometry.shape)
        flow = PolyrigidFlow([BlockShape(np.zeros(3), np.eye(3), HALF)], [motion])
        field = compute_field(flow, geometry)
        assert field.jacobian.min() > LEAST_JACOBIAN
        assert field.source_of(motion.translation_mm[None])[0] == pytest.approx(np.zeros(3), abs=0.02)
        start, stop = np.zeros(3, int), np.array(geometry.shape)
        mask = field.warp_mask(Mask(inside.astype(np.uint8), geometry), geometry, start, stop)
        image = field.warp(Image(np.float32(100 * inside), geometry), geometry, outside=0.0)
        expected = points[inside.ravel()].mean(axis=0) + motion.translation_mm
        assert image.array.ravel() @ points / image.array.sum() == pytest.approx(expected, abs=0.05)
        assert points[mask.array.ravel() > 0].mean(axis=0) == pytest.approx(expected, abs=0.75)
        assert (mask.array > 0).sum() == pytest.approx(inside.sum(), rel=0.02)
