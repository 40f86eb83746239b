import numpy as np
import pytest

from spinelab.simulate.axial_map import AxialMap


def ramp(sink=2.0):
    """Five by five columns 2 mm apart; in the inner ones z = 10 sinks between fixed points at 0 and 14."""
    line = np.arange(5) * 2.0
    knots = np.broadcast_to(np.array([0.0, 10.0, 14.0]), (5, 5, 3))
    moved = np.array(knots)
    moved[1:-1, 1:-1, 1] -= sink
    return AxialMap(line, line, knots, moved)


def test_heights_between_the_knots_are_interpolated():
    points = np.array([[4.0, 4, 10], [4, 4, 5], [4, 4, 12], [4, 4, 0], [4, 4, 14], [4, 4, 15], [4, 4, -1]])
    assert ramp().apply(points)[:, 2].tolist() == [8, 4, 11, 0, 14, 15, -1]


def test_columns_between_the_knots_fade_to_the_edge():
    assert ramp().apply(np.array([[1.0, 4, 10], [0, 4, 10], [-3, 4, 10]]))[:, 2].tolist() == [9, 10, 10]


def test_undo_is_the_inverse():
    points = np.random.default_rng(0).uniform(-2, 16, (5000, 3))
    there = ramp(7.5).apply(points)
    assert np.abs(there - points).max() > 5
    assert np.abs(ramp(7.5).undo(there) - points).max() < 1e-9


def test_stretch_is_the_ratio_of_lengths():
    points = np.array([[4.0, 4, 5], [4, 4, 12], [4, 4, 20], [-9, 4, 5]])
    assert ramp().stretch(points) == pytest.approx([0.8, 1.5, 1, 1])


def test_reach_is_the_box_of_what_moves():
    assert ramp().reach_mm == ((0.0, 8.0), (0.0, 8.0), (0.0, 14.0))
    assert ramp(0.0).reach_mm == ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0))


def test_a_column_that_would_fold_is_no_map():
    with pytest.raises(AssertionError):
        ramp(10.0)
