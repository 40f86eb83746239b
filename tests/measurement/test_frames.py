import numpy as np
import pytest

from spinelab.measurement.frames import build_axes, column_axes, frame_of, turn_to_symmetry
from spinelab.measurement.sampling import cut_out, find_boxes
from tests.phantom import make_phantom


def test_axes_of_a_straight_column_are_the_patients():
    centers = np.array([[0.0, 0, 60], [0, 0, 30], [0, 0, 0]])
    for axes in column_axes(centers):
        assert axes == pytest.approx(np.eye(3))


def test_axes_follow_the_neighbours():
    centers = np.array([[30.0, 0, 30], [0, 0, 0], [-30, 0, -30]])
    assert column_axes(centers)[1][2] == pytest.approx([0.5**0.5, 0, 0.5**0.5])


@pytest.mark.parametrize("up", [[0.0, 0, 0], [1.0, 0, 0], [0.0, 0, -1.0]])
def test_directions_that_do_not_go_up_become_the_patients(up):
    assert build_axes(np.array(up)) == pytest.approx(np.eye(3))


def test_axes_are_orthonormal_and_right_handed():
    axes = build_axes(np.array([0.3, -0.4, 0.8]), np.array([0.1, 1.0, 0.2]))
    assert axes @ axes.T == pytest.approx(np.eye(3))
    assert np.linalg.det(axes) == pytest.approx(1)
    assert frame_of(axes).matrix() == pytest.approx(axes)


@pytest.mark.parametrize("turn", [-18.0, 0.0, 12.0])
def test_mirror_symmetry_finds_the_axial_rotation(turn):
    phantom = make_phantom(levels=("L2",), axial_deg={"L2": turn})
    center = np.array(phantom.spine["L2"].center_mm)
    cutout = cut_out(phantom.mask, 21, find_boxes(phantom.mask)[21], center)
    axes, moved = turn_to_symmetry(cutout, center + np.array([4.0, 0, 0]), np.eye(3))
    assert axes[1] @ phantom.truth["L2"].axes[1] > np.cos(np.radians(2.5))
    assert abs((moved - center) @ axes[0]) < 1.5
