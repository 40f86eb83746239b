"""Rigid motions."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spinelab.simulate.rigid import RigidMotion


def draw(seed: int) -> RigidMotion:
    rng = np.random.default_rng(seed)
    return RigidMotion(Rotation.from_rotvec(rng.normal(0, 0.8, 3)).as_matrix(), rng.normal(0, 40, 3))


def test_a_quarter_turn_about_z_moves_left_to_back():
    motion = RigidMotion(Rotation.from_euler("z", 90, degrees=True).as_matrix(), np.array([0.0, 0.0, 5.0]))
    assert motion.apply(np.array([1.0, 0.0, 0.0])) == pytest.approx([0, 1, 5])
    assert motion.turn(np.array([1.0, 0.0, 0.0])) == pytest.approx([0, 1, 0])


@pytest.mark.parametrize("seed", range(4))
def test_inverse_order_and_logarithm(seed):
    first, second = draw(seed), draw(seed + 10)
    points = np.random.default_rng(0).normal(0, 100, (5, 3))
    assert first.inverse().apply(first.apply(points)) == pytest.approx(points)
    assert second.after(first).apply(points) == pytest.approx(second.apply(first.apply(points)))
    again = RigidMotion.from_twist(*first.twist())
    assert again.apply(points) == pytest.approx(first.apply(points))


def test_two_halves_of_a_screw_make_the_whole():
    motion = draw(3)
    angular, linear = motion.twist()
    half = RigidMotion.from_twist(angular / 2, linear / 2)
    assert half.after(half).apply(np.array([10.0, 0, 0])) == pytest.approx(
        motion.apply(np.array([10.0, 0, 0]))
    )


def test_the_logarithm_of_a_shift_is_the_shift():
    angular, linear = RigidMotion(np.eye(3), np.array([1.0, 2.0, 3.0])).twist()
    assert angular == pytest.approx(np.zeros(3))
    assert linear == pytest.approx([1, 2, 3])


def test_a_local_motion_in_the_world():
    axes = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # its left is the patient's back
    local = RigidMotion(np.eye(3), np.array([2.0, 0.0, 0.0]))
    assert local.within(axes, np.array([5.0, 5.0, 5.0])).apply(np.zeros(3)) == pytest.approx([0, 2, 0])
    turned = RigidMotion(Rotation.from_euler("z", 30, degrees=True).as_matrix())
    origin = np.array([5.0, -4.0, 3.0])
    assert turned.within(axes, origin).apply(origin) == pytest.approx(origin)
