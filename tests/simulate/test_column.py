"""The column a simulation starts from."""

import numpy as np
import pytest

from spinelab.errors import InputError
from spinelab.simulate.column import axes_of_tilts, chain_centers, find_source_column, tilts_of_axes
from spinelab.volume import Geometry, Mask
from tests.phantom import make_phantom


@pytest.mark.parametrize("tilts", [(0, 0, 0), (20, -15, 0), (-50, 30, 25), (5, 5, -40), (-170, 100, 10)])
def test_axes_and_leans_are_two_ways_to_say_the_same(tilts):
    axes = axes_of_tilts(*tilts)
    assert axes @ axes.T == pytest.approx(np.eye(3))
    assert np.linalg.det(axes) == pytest.approx(1)
    assert tilts_of_axes(axes) == pytest.approx(tilts)


def test_a_lean_to_the_left_and_a_turn_of_the_front_to_the_left():
    assert axes_of_tilts(45, 0, 0)[2] == pytest.approx([np.sqrt(0.5), 0, np.sqrt(0.5)])
    assert axes_of_tilts(0, 0, 90)[1] == pytest.approx([-1, 0, 0]), "the back looks right, the front left"


def test_a_column_has_the_leans_it_was_built_with():
    phantom = make_phantom(
        levels=("L1", "L2", "L3"), coronal_deg={"L1": -12.0, "L3": 12.0}, sagittal_deg={"L1": 6.0, "L3": -6.0}
    )
    column = find_source_column(phantom.mask)
    assert column.levels == ("L1", "L2", "L3")
    assert column.known.all()
    assert column.tilts_deg()[:, 0] == pytest.approx([-12, 0, 12], abs=1.0)
    assert column.tilts_deg()[:, 1] == pytest.approx([6, 0, -6], abs=1.0)
    assert np.linalg.norm(column.upper_mm[1] - column.lower_mm[0]) < 15


def test_a_chain_of_centres_alone():
    chain = chain_centers(("L1", "L2", "L3"), np.array([[0, 0, 60.0], [0, 0, 30], [0, 0, 0]]))
    assert chain.tilts_deg() == pytest.approx(np.zeros((3, 3)))
    assert chain.upper_mm[1].tolist() == [0, 0, 42]
    assert chain.half_mm[0] == pytest.approx([18.6, 14.1])


def block_mask(levels_by_slices: dict[int, tuple[int, int]]) -> Mask:
    array = np.zeros((60, 50, 120), np.uint8)
    for label, (low, high) in levels_by_slices.items():
        array[10:50, 10:40, low:high] = label
    return Mask(array, Geometry.from_spacing(array.shape, (1, 1, 1)))


def test_no_vertebra_and_a_single_one_are_refused():
    with pytest.raises(InputError, match="holds no vertebra; give one with VerSe numbers"):
        find_source_column(block_mask({}))
    with pytest.raises(InputError, match=r"shows 1 vertebral bodies with endplates .labels: L1.; .* two"):
        find_source_column(block_mask({20: (20, 45)}))


def test_names_out_of_order_are_refused():
    with pytest.raises(InputError, match="L2 lies above L1: names must run from the head down"):
        find_source_column(block_mask({20: (20, 45), 21: (55, 80)}))


def test_a_level_that_is_not_there():
    column = find_source_column(block_mask({20: (55, 80), 21: (20, 45)}))
    with pytest.raises(InputError, match="T9 is not in the mask; it holds L1, L2"):
        column.index("T9")
