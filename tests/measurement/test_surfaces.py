import numpy as np
import pytest

from spinelab.measurement.sampling import LocalGrid
from spinelab.measurement.surfaces import (
    evaluate_plane,
    find_surfaces,
    fit_plane,
    fit_surface,
    smooth_steps,
)

LINE = np.arange(-15.0, 16.0)
GRID = LocalGrid(np.zeros(3), np.eye(3), LINE, LINE, LINE)
ALL = np.ones((31, 31), bool)


def test_surfaces_of_a_slab():
    values = np.zeros((31, 31, 31), np.float32)
    values[:, :, 10:20] = 1
    values[0] = 0
    top, bottom = find_surfaces(values, GRID, 0.0)
    assert top[5, 5] == pytest.approx(4.5)
    assert bottom[5, 5] == pytest.approx(-5.5)
    assert np.isnan(top[0]).all()


def test_a_small_hole_does_not_end_a_column():
    values = np.zeros((31, 31, 31), np.float32)
    values[:, :, 10:20] = 1
    values[5, 5, 16:18] = 0
    assert find_surfaces(values, GRID, 0.0)[0][5, 5] == pytest.approx(4.5)


def test_plane_is_found_under_a_tenth_of_spikes():
    surface = 3 + 0.2 * LINE[:, None] - 0.1 * LINE[None, :]
    surface[::3, ::3] += 12
    plane = fit_plane(GRID, surface, ALL, 1.0)
    assert plane == pytest.approx([3, 0.2, -0.1], abs=1e-6)


def test_less_than_half_an_endplate_gives_no_plane():
    surface = np.full((31, 31), 2.0)
    surface[:16] = np.nan
    assert fit_plane(GRID, surface, ALL, 1.0) is None
    assert fit_surface(GRID, surface, ALL, 1.0) is None


def test_world_plane_has_a_unit_normal():
    plane = fit_surface(GRID, np.broadcast_to(LINE[:, None], (31, 31)).copy(), ALL, 1.0)
    assert plane.normal == pytest.approx([-(0.5**0.5), 0, 0.5**0.5])
    assert plane.point == pytest.approx([0, 0, 0], abs=1e-9)


def test_no_plane_is_a_constant():
    assert evaluate_plane(None, LINE[:, None], LINE, 7.0).shape == (31, 31)
    assert evaluate_plane(np.array([1.0, 2, 0]), LINE[:, None], LINE, 7.0)[0, 0] == pytest.approx(-29)


def test_steps_are_smoothed_only_where_slices_are_thick():
    rest = np.where(LINE[:, None] > 0, 2.5, -2.5) * np.ones((31, 31))
    assert smooth_steps(rest, ALL, 1.0) is rest
    smooth = smooth_steps(rest, ALL, 5.0)
    assert abs(smooth[15, 15]) < 1
    assert smooth[0, 15] == pytest.approx(-2.5, abs=0.01)
