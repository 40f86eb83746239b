import numpy as np
import pytest

from spinelab.simulate.column_line import CHORD_LEVELS, deviate_from_chord, trace_centers


def test_a_lean_to_the_left_puts_lower_centres_to_the_right() -> None:
    points = trace_centers(np.full(3, 30.0), np.array([2.0, 4.0]))
    assert points == pytest.approx(np.array([[0, 0], [-1, -np.sqrt(3)], [-3, -3 * np.sqrt(3)]]))


def test_the_step_between_two_vertebrae_leans_half_way() -> None:
    points = trace_centers(np.array([0.0, 60.0]), np.ones(1))
    assert points[1] == pytest.approx([-0.5, -np.sqrt(3) / 2])


def test_deviation_is_to_the_left_and_zero_where_there_is_no_chord() -> None:
    points = np.column_stack([np.zeros(9), -np.arange(9.0)])
    points[4, 0] = 1.5
    away = deviate_from_chord(points)
    assert CHORD_LEVELS == 4
    assert away == pytest.approx([0, 0, 0, 0, 1.5, 0, 0, 0, 0])


def test_a_straight_oblique_column_does_not_deviate() -> None:
    assert deviate_from_chord(trace_centers(np.full(17, 20.0), np.ones(16))) == pytest.approx(np.zeros(17))
