import numpy as np
import pytest

from spinelab.measurement.bodies import find_body
from spinelab.measurement.frames import column_axes
from spinelab.measurement.sampling import cut_out, find_boxes
from spinelab.volume import Mask
from tests.phantom import make_phantom


def find(phantom, name, shift=(0.0, 0.0, 0.0)):
    names = list(phantom.spine.levels)
    axes = column_axes(phantom.spine.centers_mm)[names.index(name)]
    label, center = phantom.spine[name].label, np.array(phantom.spine[name].center_mm) + shift
    cutout = cut_out(phantom.mask, label, find_boxes(phantom.mask)[label], center)
    return find_body(cutout, center, axes)


@pytest.mark.parametrize("codes", ["LPS", "PIR"])
def test_centre_axes_and_size_of_a_tilted_body(codes):
    phantom = make_phantom(
        levels=("T12", "L1", "L2"),
        spacing_mm=(1, 1, 1),
        codes=codes,
        oblique_deg=(6, -8, 5),
        coronal_deg={"T12": -8, "L2": 12},
        sagittal_deg={"T12": -6, "L2": 9},
    )
    body, truth = find(phantom, "L1", shift=(3.0, -4.0, 3.0)), phantom.truth["L1"]
    assert np.linalg.norm(body.center_mm - truth.center_mm) < 0.6
    assert body.grid.axes[2] @ truth.axes[2] > np.cos(np.radians(1.0))
    assert body.grid.axes[1] @ truth.axes[1] > np.cos(np.radians(2.5))
    assert 2 * body.half_width_mm == pytest.approx(truth.width_mm, abs=1.0)
    assert body.depth_mm == pytest.approx(truth.depth_mm, abs=1.0)
    for plane, superior in ((body.superior, True), (body.inferior, False)):
        assert plane.normal @ truth.endplate_normal(superior=superior) > np.cos(np.radians(1.0))
        row = 0 if superior else 1
        assert np.linalg.norm(body.corners_mm[row] - truth.corner(superior=superior)) < 1.5


def test_a_mask_of_bodies_alone_does_as_well():
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=(1, 1, 1), posterior_elements=False)
    body = find(phantom, "L1")
    assert np.linalg.norm(body.center_mm - phantom.truth["L1"].center_mm) < 0.6


def test_cervical_transverse_processes_do_not_widen_the_body():
    phantom = make_phantom(levels=("C4", "C5", "C6"), spacing_mm=(1, 1, 1))
    assert 2 * find(phantom, "C5").half_width_mm == pytest.approx(phantom.truth["C5"].width_mm, abs=1.0)


def test_body_is_found_from_a_centre_far_off():
    phantom = make_phantom(levels=("L1", "L2"))
    body = find(phantom, "L1", shift=(30.0, 40.0, 25.0))
    assert np.linalg.norm(body.center_mm - phantom.truth["L1"].center_mm) < 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_sliver_is_no_body(axis):
    phantom = make_phantom(levels=("L1", "L2"))
    found = np.argwhere(phantom.mask.array == 20)
    array = np.zeros_like(phantom.mask.array)
    kept = found[found[:, axis] == int(np.median(found[:, axis]))]
    array[tuple(kept.T)] = 20
    mask = Mask(array, phantom.mask.geometry)
    center = np.array(phantom.spine["L1"].center_mm)
    assert find_body(cut_out(mask, 20, find_boxes(mask)[20], center), center, np.eye(3)) is None


def test_posterior_elements_alone_are_no_body():
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=(1, 1, 1))
    truth = phantom.truth["L1"]
    index = np.argwhere(phantom.mask.array == 20)
    local = (phantom.mask.geometry.index_to_world(index) - truth.center_mm) @ truth.axes.T
    array = np.array(phantom.mask.array)
    array[tuple(index[local[:, 1] < truth.depth_mm / 2 + 3].T)] = 0
    array[array != 20] = 0
    mask = Mask(array, phantom.mask.geometry)
    cutout = cut_out(mask, 20, find_boxes(mask)[20], truth.center_mm)
    assert find_body(cutout, truth.center_mm, np.eye(3)) is None


def test_endplate_out_of_view_has_no_plane():
    phantom = make_phantom(levels=("L1", "L2"), cut_mm=(10.0, -15.0))
    body = find(phantom, "L1")
    assert body.superior is None
    assert np.isnan(body.corners_mm[0]).all()
    assert body.inferior is not None
