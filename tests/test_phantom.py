import numpy as np
import pytest

from tests.phantom import AIR_HU, TRABECULAR_HU, Collapse, make_phantom


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "ASL", "SLP"])
def test_grid_reads_as_asked(codes):
    phantom = make_phantom(levels=("L1", "L2"), codes=codes, oblique_deg=(7, -5, 9), gantry_deg=8)
    assert phantom.mask.geometry.codes == codes
    assert phantom.image.geometry is phantom.mask.geometry


def test_body_centres_bear_their_label_and_trabecular_density():
    phantom = make_phantom(levels=("T12", "L1", "L2"), noise_hu=0, codes="RAS")
    for name, label in (("T12", 19), ("L1", 20), ("L2", 21)):
        index = tuple(
            np.round(phantom.mask.geometry.world_to_index(phantom.truth[name].center_mm)).astype(int)
        )
        assert phantom.mask.array[index] == label
        assert phantom.image.array[index] == TRABECULAR_HU


def test_canal_is_a_hole_between_body_and_arch():
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=(1, 1, 1))
    body = phantom.truth["L1"]
    line = body.center_mm + np.outer(np.arange(-14, 45), body.axes[1])
    index = np.round(phantom.mask.geometry.world_to_index(line)).astype(int)
    inside = phantom.mask.array[tuple(index.T)] == 20
    assert np.count_nonzero(np.diff(inside.astype(int)) == 1) == 1


def test_truth_of_a_plain_body_is_its_height_everywhere():
    heights = make_phantom(levels=("L1", "L2")).truth["L1"].heights_mm
    assert (heights.anterior, heights.middle, heights.posterior) == pytest.approx((26.5, 26.5, 26.5))


def test_wedge_takes_a_third_of_the_anterior_height():
    heights = (
        make_phantom(levels=("L1", "L2"), collapse={"L1": Collapse(2 / 3, 5 / 6, 1)}).truth["L1"].heights_mm
    )
    assert heights.anterior == pytest.approx(26.5 * 2 / 3, abs=0.05)
    assert heights.posterior == pytest.approx(26.5, abs=0.05)


def test_cobb_angle_is_the_difference_of_tilts():
    phantom = make_phantom(levels=("L1", "L2", "L3"), coronal_deg={"L1": -8, "L3": 12})
    assert phantom.cobb_deg("L1", "L3") == pytest.approx(20)
    assert phantom.cobb_deg("L1", "L3", plane="sagittal") == pytest.approx(0, abs=1e-6)


def test_slip_is_the_shift_asked_for():
    phantom = make_phantom(levels=("L4", "L5"), slip_mm={"L5": (6.0, -2.0)})
    wider = (phantom.truth["L4"].depth_mm - phantom.truth["L5"].depth_mm) / 2
    assert phantom.slip_mm("L5") == pytest.approx((6.0 - wider, -2.0))


def test_cut_takes_that_much_of_the_first_body():
    whole = make_phantom(levels=("L1", "L2"), spacing_mm=(1, 1, 1))
    cut = make_phantom(levels=("L1", "L2"), spacing_mm=(1, 1, 1), cut_mm=(10, -15))
    assert whole.mask.array.shape[2] - cut.mask.array.shape[2] == 25
    assert np.any(cut.mask.array[:, :, -1] == 20)


def test_air_lies_behind_the_skin():
    phantom = make_phantom(levels=("L1", "L2"), noise_hu=0)
    assert phantom.image.array[0, -1, 0] == AIR_HU


def test_same_seed_same_scan():
    first, second = make_phantom(levels=("L1",), seed=3), make_phantom(levels=("L1",), seed=3)
    np.testing.assert_array_equal(first.image.array, second.image.array)


def test_grids_turned_too_far_are_refused():
    with pytest.raises(ValueError, match="keep each below 40 degrees"):
        make_phantom(levels=("L1",), oblique_deg=(0, 0, 80))
