import numpy as np
import pytest

from spinelab.measurement.bodies import Body
from spinelab.measurement.heights import compare_heights, exclude_spill, measure_heights
from spinelab.measurement.sampling import LocalGrid
from spinelab.measurement.surfaces import Plane
from spinelab.spine import HeightLoss, Heights

LINE = np.arange(-20.0, 21.0)


def wedge(cut=False):
    """A body 40 mm wide and deep, 20 mm high in front and 28 mm behind."""
    height = np.broadcast_to(24 + LINE / 5, (41, 41))
    none = np.zeros((41, 41), bool)
    top_cut = none.copy()
    if cut:
        top_cut[:, :12] = True
    wall = np.full(41, 20.0)
    grid = LocalGrid(np.zeros(3), np.eye(3), LINE, LINE, LINE)
    corners = np.zeros((2, 3))
    return Body(grid, height / 2, -height / 2, top_cut, none, -wall, wall, 20.0, corners, None, None)


def test_heights_are_means_over_the_bands_inside_the_rim():
    heights = measure_heights(wedge())
    # Columns at 10-25 % of 40 mm: y = -16 ... -10, mean -13, and so 24 - 13 / 5.
    assert heights.anterior == pytest.approx(24 - 13 / 5)
    assert heights.middle == pytest.approx(24)
    assert heights.posterior == pytest.approx(24 + 13 / 5)


def test_a_single_ragged_column_does_not_count():
    body = wedge()
    top = np.array(body.top_mm)
    top[20, 5] += 15
    ragged = Body(**{**body.__dict__, "top_mm": top})
    assert measure_heights(ragged).anterior == pytest.approx(24 - 13 / 5, abs=0.1)


def test_a_cut_endplate_gives_no_height_there():
    assert measure_heights(wedge(cut=True)) == Heights(None, pytest.approx(24), pytest.approx(26.6))


def test_a_plane_beside_the_mask_gives_no_heights():
    body = wedge()
    wall = np.where(np.abs(LINE) < 5, body.back_mm, np.nan)
    narrow = Body(**{**body.__dict__, "front_mm": -wall, "back_mm": wall})
    assert measure_heights(narrow, 0.5) == Heights(None, None, None)


def test_wedge_and_crush_against_the_neighbours():
    normal, wedged, crushed = Heights(20.0, 20.0, 20.0), Heights(12.0, 15.0, 20.0), Heights(10.0, 10.0, 10.0)
    losses = compare_heights([normal, wedged, normal])
    assert losses[1] == HeightLoss(pytest.approx(40), pytest.approx(25), pytest.approx(0), pytest.approx(40))
    assert compare_heights([normal, crushed, normal])[1] == HeightLoss(0.0, 0.0, 50.0, 50.0)


def test_references_above_and_below_are_averaged():
    losses = compare_heights(
        [Heights(18.0, 18.0, 18.0), Heights(16.0, 16.0, 16.0), Heights(22.0, 22.0, 22.0)]
    )
    assert losses[1].crush_percent == pytest.approx(20)


def test_a_collapsed_neighbour_is_skipped_for_the_next():
    collapsed = Heights(8.0, 10.0, 20.0)
    losses = compare_heights([Heights(20.0, 20.0, 20.0), collapsed, Heights(10.0, 10.0, 10.0)])
    assert losses[2].crush_percent == pytest.approx(50)
    assert compare_heights([collapsed, Heights(10.0, 10.0, 10.0)])[1].crush_percent is None


def test_references_farther_than_two_vertebrae_do_not_count():
    unknown: list[Heights | None] = [None, None]
    losses = compare_heights([Heights(20.0, 20.0, 20.0), *unknown, Heights(10.0, 10.0, 10.0)])
    assert losses[3].crush_percent is None
    assert losses[3].anterior_percent == 0
    assert losses[1] is None


def test_what_has_no_reference_is_none():
    assert compare_heights([Heights(None, 20.0, None)]) == [None]


def test_taller_in_front_is_no_loss():
    assert compare_heights([Heights(25.0, 22.0, 20.0)])[0].anterior_percent == 0


def test_columns_that_run_into_the_neighbour_are_not_believed():
    body = wedge()
    top = np.array(body.top_mm)
    top[:, 30:] += 12
    spilled = Body(**{**body.__dict__, "top_mm": top})
    above = Plane(np.array([0.0, 0, 1]), np.array([0.0, 0, 18.0]))
    assert measure_heights(spilled).posterior == pytest.approx(24 + 13 / 5 + 12)
    kept = exclude_spill(spilled, above, None, 1.0)
    assert measure_heights(kept) == Heights(pytest.approx(24 - 13 / 5), pytest.approx(24), None)
    below = Plane(np.array([0.0, 0, 1]), np.array([0.0, 0, -9.0]))
    assert measure_heights(exclude_spill(body, None, below, 1.0)) == Heights(pytest.approx(21.4), None, None)
    assert measure_heights(exclude_spill(body, above, None, 1.0)) == measure_heights(body)
