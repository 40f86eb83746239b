"""The whole of `measure` against phantoms of known truth."""

from dataclasses import replace

import numpy as np
import pytest

from spinelab.errors import GeometryError
from spinelab.measurement import measure
from spinelab.measurement.sampling import SoftOutline
from spinelab.spine import Spine, Vertebra
from spinelab.volume import Geometry, Image, Mask
from tests.phantom import Collapse, make_phantom

OBLIQUE = {"codes": "RAI", "oblique_deg": (9.0, -7.0, 6.0), "gantry_deg": 6.0}
SCOLIOSIS = {
    "levels": ("T9", "T10", "T11", "T12", "L1", "L2", "L3"),
    "coronal_deg": {"T9": -14.0, "L3": 16.0},
    "sagittal_deg": {"T9": -12.0, "L3": 10.0},
    "axial_deg": {"T9": 6.0, "L3": -6.0},
    "collapse": {"T11": Collapse(0.65, 0.8, 1.0), "L1": Collapse(1.0, 0.7, 1.0)},
    "slip_mm": {"L2": (6.0, -2.0)},
}


def errors(spine, phantom):
    found = []
    for vertebra in spine.vertebrae:
        truth = phantom.truth[vertebra.level]
        for heights, side in (
            (vertebra.heights_mm, 0),
            (vertebra.heights_left_mm, 1),
            (vertebra.heights_right_mm, -1),
        ):
            expected = truth.heights_at(side * truth.width_mm / 4)
            found += [getattr(heights, k) - getattr(expected, k) for k in ("anterior", "middle", "posterior")]
    return np.abs(found)


@pytest.mark.parametrize("grid", [{}, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize(("slice_mm", "height_mm"), [(1.0, 1.0), (3.0, 1.5)])
def test_accuracy_against_the_truth(grid, slice_mm, height_mm):
    phantom = make_phantom(**SCOLIOSIS, **grid, spacing_mm=(1.0, 1.0, slice_mm))
    spine = measure(phantom.image, phantom.mask, phantom.spine)
    found = errors(spine, phantom)
    # With 3 mm slices a mask's endplate is known to half a slice: 1.5 mm holds for most readings.
    assert np.quantile(found, 1.0 if slice_mm == 1.0 else 0.85) < height_mm
    assert found.mean() < height_mm / 2
    assert len(spine.curvature.coronal) == 1
    curve = spine.curvature.coronal[0]
    assert curve.angle_deg == pytest.approx(phantom.cobb_deg(curve.upper, curve.lower), abs=2)
    assert curve.angle_deg == pytest.approx(30, abs=4)
    assert curve.convex == "left"
    kyphosis = spine.curvature.kyphosis
    truth = phantom.cobb_deg(kyphosis.upper, kyphosis.lower, plane="sagittal")
    assert kyphosis.angle_deg == pytest.approx(abs(truth), abs=2)
    slip = spine["L2"].slip
    expected = phantom.slip_mm("L2")
    assert slip.above == "L1"
    assert (slip.anterior_mm, slip.left_mm) == pytest.approx(expected, abs=1.5)
    assert spine["T12"].height_loss.neighbours_percent < 10
    assert spine["T11"].height_loss.anterior_percent == pytest.approx(35, abs=7)


@pytest.fixture(scope="module")
def measured():
    phantom = make_phantom(levels=("T12", "L1", "L2", "L3"), collapse={"L1": Collapse(0.6, 0.6, 0.6)})
    return phantom, measure(phantom.image, phantom.mask, phantom.spine)


def test_everything_is_filled_in(measured):
    phantom, spine = measured
    for vertebra in spine.vertebrae:
        assert vertebra.complete
        assert vertebra.flags == ()
        assert np.linalg.norm(np.subtract(vertebra.center_mm, phantom.truth[vertebra.level].center_mm)) < 0.6
        assert vertebra.frame.matrix() == pytest.approx(phantom.truth[vertebra.level].axes, abs=0.05)
        assert vertebra.density.median_hu == pytest.approx(180, abs=5)
        count = np.count_nonzero(phantom.mask.array == vertebra.label)
        assert vertebra.volume_mm3 == pytest.approx(count * 1.5**3)
    assert spine["T12"].slip is None
    assert spine.warnings == ()


def test_crush_is_seen_against_the_neighbours(measured):
    loss = measured[1]["L1"].height_loss
    assert loss.crush_percent == pytest.approx(40, abs=5)
    assert loss.anterior_percent < 5


def test_result_goes_through_json(measured):
    assert Spine.from_dict(measured[1].to_dict()) == measured[1]


def test_without_an_image_geometry_is_still_measured(measured):
    phantom, spine = measured
    alone = measure(None, phantom.mask, phantom.spine)
    assert alone["L1"].density is None
    assert alone["L1"].heights_mm == spine["L1"].heights_mm


def test_an_mr_has_no_density(measured):
    phantom, _ = measured
    image = replace(phantom.image, modality="MR")
    assert measure(image, phantom.mask, phantom.spine)["L1"].density is None


def test_image_on_another_grid_is_refused(measured):
    phantom, _ = measured
    image = phantom.image.cropped((0, 0, 0), (5, 5, 5))
    with pytest.raises(GeometryError, match="not on the same grid; resample one onto the other first"):
        measure(image, phantom.mask, phantom.spine)


def test_cut_bodies_have_no_heights_there_and_say_so():
    phantom = make_phantom(levels=("L1", "L2", "L3"), cut_mm=(9.0, -15.0))
    spine = measure(phantom.image, phantom.mask, phantom.spine)
    assert not spine["L1"].complete
    assert "cut" in spine["L1"].flags
    assert spine["L1"].heights_mm is None
    assert spine["L1"].center_mm == phantom.spine["L1"].center_mm
    assert spine["L2"].complete
    assert spine["L2"].height_loss.anterior_percent < 5
    assert spine["L2"].slip is None, "beside a body that is cut"
    assert spine["L3"].slip is not None


def test_what_the_detector_calls_cut_stays_cut():
    phantom = make_phantom(levels=("L1", "L2"))
    first = replace(phantom.spine["L1"], complete=False)
    spine = measure(None, phantom.mask, Spine((first, phantom.spine["L2"])))
    assert not spine["L1"].complete
    assert spine["L1"].flags == ("cut",)


def test_a_cut_spinous_process_is_flagged_and_the_body_complete():
    phantom = make_phantom(levels=("L1", "L2"), posterior_cut_mm=15.0)
    vertebra = measure(phantom.image, phantom.mask, phantom.spine)["L1"]
    assert vertebra.complete
    assert vertebra.flags == ("posterior elements cut",)


def test_thick_slices_are_flagged_and_warned_of():
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=(1, 1, 5))
    spine = measure(phantom.image, phantom.mask, phantom.spine)
    assert "thick slices" in spine["L1"].flags
    assert any("slices 5.0 mm apart" in sentence for sentence in spine.warnings)


def test_outlines_of_their_own_grid_save_what_thick_slices_lose():
    column = {"levels": ("T12", "L1", "L2"), "collapse": {"L1": Collapse(0.7, 0.75, 1.0)}}
    fine, thick = make_phantom(**column, spacing_mm=(1, 1, 1)), make_phantom(**column, spacing_mm=(1, 1, 5))
    outlines = {
        v.label: SoftOutline((fine.mask.array == v.label).astype(np.float32), fine.mask.geometry)
        for v in fine.spine.vertebrae
    }
    without = measure(None, thick.mask, thick.spine)
    spine = measure(None, thick.mask, thick.spine, outlines=outlines)
    assert errors(without, thick).max() > 1.5
    assert errors(spine, thick).max() < 1.0
    assert spine["L1"].slice_mm == pytest.approx(5)
    assert spine["L1"].volume_mm3 == without["L1"].volume_mm3


def test_a_body_cut_by_the_scan_stays_cut_in_its_own_outline():
    column = {"levels": ("T12", "L1", "L2"), "cut_mm": (8.0, -15.0)}
    whole = make_phantom(levels=column["levels"], spacing_mm=(1, 1, 1))
    thick = make_phantom(**column, spacing_mm=(1, 1, 5))
    voxels = np.stack(np.meshgrid(*map(np.arange, whole.mask.array.shape), indexing="ij"), axis=-1)
    index = thick.mask.geometry.world_to_index(whole.mask.geometry.index_to_world(voxels))
    in_view = ((index > -0.5) & (index < np.array(thick.mask.array.shape) - 0.5)).all(axis=-1)
    outlines = {
        v.label: SoftOutline(
            ((whole.mask.array == v.label) & in_view).astype(np.float32), whole.mask.geometry
        )
        for v in thick.spine.vertebrae
    }
    without = measure(None, thick.mask, thick.spine)["T12"]
    cut = measure(None, thick.mask, thick.spine, outlines=outlines)["T12"]
    assert not cut.complete
    assert not without.complete
    assert cut.heights_mm is None
    assert without.heights_mm is None


def test_outlines_coarser_than_the_slices_change_nothing(measured):
    phantom, spine = measured
    grid = Geometry.from_spacing((4, 4, 4), (2, 2, 2))
    coarse = {v.label: SoftOutline(np.zeros(grid.shape, np.float32), grid) for v in spine.vertebrae}
    assert measure(phantom.image, phantom.mask, phantom.spine, outlines=coarse) == spine


def test_metal_takes_the_density_away():
    phantom = make_phantom(levels=("L1", "L2"), metal=("L2",))
    spine = measure(phantom.image, phantom.mask, phantom.spine)
    assert spine["L2"].flags == ("metal",)
    assert spine["L2"].density is None
    assert spine["L1"].density is not None


def test_contrast_medium_is_warned_of():
    phantom = make_phantom(spacing_mm=(2, 2, 2), aorta_hu=250)
    spine = measure(phantom.image, phantom.mask, phantom.spine)
    assert any("contrast medium likely: density reads high" in sentence for sentence in spine.warnings)


def test_a_patient_turned_about_the_long_axis_is_warned_of():
    phantom = make_phantom(axial_deg={"T12": 20.0})
    spine = measure(phantom.image, phantom.mask, phantom.spine)
    assert any("turned by" in sentence for sentence in spine.warnings)


def test_partial_kyphosis_says_so():
    phantom = make_phantom(levels=("T8", "T9", "T10", "T11"), spacing_mm=(2, 2, 2))
    spine = measure(None, phantom.mask, phantom.spine)
    assert "kyphosis measured from T8 to T11: T4 to T12 is not all in view" in spine.warnings


def test_no_mask_voxels_leave_none_and_a_flag():
    phantom = make_phantom(levels=("L1", "L2", "L3"))
    array = np.where(phantom.mask.array == 21, 0, phantom.mask.array)
    spine = measure(phantom.image, Mask(array, phantom.mask.geometry), phantom.spine)
    assert spine["L2"].flags == ("no mask",)
    assert spine["L2"].heights_mm is None
    assert spine["L3"].slip is None


@pytest.mark.parametrize("kind", ["sliver", "one voxel", "noise", "empty", "full"])
def test_bad_masks_give_none_and_never_a_crash(kind):
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=(2, 2, 2))
    array = np.array(phantom.mask.array)
    inside = np.argwhere(array == 20)
    array[array == 20] = 0
    if kind == "sliver":
        array[tuple(inside[inside[:, 2] == int(np.median(inside[:, 2]))].T)] = 20
    elif kind == "one voxel":
        array[tuple(inside[0])] = 20
    elif kind == "noise":
        array = np.random.default_rng(0).integers(0, 28, array.shape).astype(np.uint8)
    elif kind == "full":
        array[:] = 20
    vertebra = measure(phantom.image, Mask(array, phantom.mask.geometry), phantom.spine)["L1"]
    assert vertebra.heights_mm is None
    assert vertebra.frame is None
    assert vertebra.flags


def test_a_mask_that_spills_over_its_neighbour_loses_that_height():
    phantom = make_phantom(levels=("L1", "L2", "L3"), spacing_mm=(1, 1, 1))
    truth = phantom.truth["L2"]
    index = np.argwhere(phantom.mask.array >= 0)
    local = (phantom.mask.geometry.index_to_world(index) - truth.center_mm) @ truth.axes.T
    ledge = (np.abs(local[:, 0]) < 15) & (np.abs(local[:, 1] - 10) < 5) & (np.abs(local[:, 2] - 17) < 8)
    array = np.array(phantom.mask.array)
    array[tuple(index[ledge].T)] = 21
    vertebra = measure(None, Mask(array, phantom.mask.geometry), phantom.spine)["L2"]
    assert vertebra.heights_mm.posterior is None
    assert vertebra.heights_mm.anterior == pytest.approx(truth.heights_mm.anterior, abs=1)
    assert vertebra.flags == ("height unreadable",)


def test_a_stray_voxel_far_away_changes_nothing(measured):
    phantom, spine = measured
    array = np.array(phantom.mask.array)
    array[0, 0, 0] = 20
    other = measure(phantom.image, Mask(array, phantom.mask.geometry), phantom.spine)
    assert other["L1"].heights_mm == spine["L1"].heights_mm


def test_lordosis_and_slip_reach_the_sacrum():
    phantom = make_phantom(
        levels=("L1", "L2", "L3", "L4", "L5", "S"),
        sagittal_deg={"L1": 14.0, "L5": -14.0, "S": -32.0},
        slip_mm={"S": (6.0, 0.0)},
    )
    center = tuple(float(v) for v in phantom.truth["S"].center_mm)
    listed = Spine((*phantom.spine.vertebrae, Vertebra("S", center, 0.9)))
    spine = measure(phantom.image, phantom.mask, listed)
    lordosis = spine.curvature.lordosis
    assert (lordosis.upper, lordosis.lower, lordosis.convex) == ("L1", "S", "anterior")
    assert lordosis.angle_deg == pytest.approx(-phantom.cobb_deg("L1", "S", plane="sagittal"), abs=2)
    assert spine["S"].slip.anterior_mm == pytest.approx(phantom.slip_mm("S")[0], abs=1.5)
    assert spine["S"].frame.superior == pytest.approx(tuple(phantom.truth["S"].axes[2]), abs=0.03)
    assert spine["S"].heights_mm is None
    assert spine["S"].flags == ()
    unlisted = measure(None, phantom.mask, phantom.spine)
    assert unlisted.curvature.lordosis.lower == "S"
    assert unlisted.curvature.lordosis.angle_deg == pytest.approx(lordosis.angle_deg, abs=0.5)


def test_atlas_and_axis_have_no_heights():
    phantom = make_phantom(levels=("C3", "C4"), spacing_mm=(1, 1, 1))
    renamed = {3: 1, 4: 2}
    array = np.zeros_like(phantom.mask.array)
    for old, new in renamed.items():
        array[phantom.mask.array == old] = new
    names = {"C3": "C1", "C4": "C2"}
    spine = Spine(tuple(replace(v, level=names[v.level]) for v in phantom.spine.vertebrae))
    found = measure(phantom.image, Mask(array, phantom.mask.geometry), spine)
    assert found["C1"].frame is None
    assert found["C1"].flags == ()
    assert found["C2"].frame is not None
    assert found["C2"].heights_mm is None
    assert found["C2"].density is None


def test_an_empty_spine_stays_empty(measured):
    phantom, _ = measured
    assert measure(phantom.image, phantom.mask, Spine(())).vertebrae == ()


def test_integer_masks_of_any_width_are_read(measured):
    phantom, spine = measured
    wide = Mask(phantom.mask.array.astype(np.int64), phantom.mask.geometry)
    assert measure(None, wide, phantom.spine)["L1"].heights_mm == spine["L1"].heights_mm


def test_image_values_do_not_move_the_geometry(measured):
    phantom, spine = measured
    image = Image(phantom.image.array.astype(np.float32) + 100, phantom.image.geometry, "CT")
    assert measure(image, phantom.mask, phantom.spine)["L1"].frame == spine["L1"].frame
