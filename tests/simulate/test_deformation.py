"""Scans and masks deformed, and their truth, on phantoms."""

from dataclasses import replace

import numpy as np
import pytest

from spinelab.errors import GeometryError, InputError
from spinelab.measurement import measure
from spinelab.measurement.named_mask import spine_of_mask
from spinelab.simulate.collapse import Collapse
from spinelab.simulate.column import find_source_column
from spinelab.simulate.deformation import deform, plan, settle
from spinelab.simulate.deformity import CurveRequest, Deformity, draw_deformity
from spinelab.simulate.degeneration import DiscNarrowing
from spinelab.simulate.truth import describe_truth, spine_of_truth
from spinelab.volume import Mask
from tests.phantom import make_phantom

LEVELS = ("T12", "L1", "L2", "L3", "L4")


@pytest.fixture(scope="module")
def phantom():
    made = make_phantom(levels=LEVELS, spacing_mm=(1.25, 1.25, 1.5))
    return replace(made, image=replace(made.image, modality="CT"))


@pytest.fixture(scope="module")
def curved(phantom):
    column = find_source_column(phantom.mask)
    request = CurveRequest(cobb_deg=35.0, side="left")
    deformity = draw_deformity(column, request, np.random.default_rng(5))
    return deform(phantom.image, phantom.mask, deformity, column=column, grow=True)


def test_the_curve_measured_again_is_the_one_known(curved):
    curve = curved.truth["cobb_deg"][0]
    assert curve["angle_deg"] == pytest.approx(35, abs=0.1)
    again = measure(None, curved.mask, spine_of_mask(curved.mask)).curvature.coronal
    assert len(again) == len(curved.truth["cobb_deg"])
    assert again[0].angle_deg == pytest.approx(35, abs=2.0)
    assert again[0].convex == curve["convex"] == "left"


def test_bodies_are_where_the_truth_says_and_keep_their_shape(phantom, curved):
    truth = {entry["level"]: entry for entry in curved.truth["vertebrae"]}
    spine = measure(None, curved.mask, spine_of_mask(curved.mask))
    assert spine.levels == LEVELS
    for vertebra in spine.vertebrae:
        entry = truth[vertebra.level]
        assert np.linalg.norm(np.subtract(vertebra.center_mm, entry["center_mm"])) < 1.0
        assert vertebra.heights_mm.posterior == pytest.approx(entry["heights_mm"]["posterior"], abs=0.8)
        before = (phantom.mask.array == vertebra.label).sum()
        assert (curved.mask.array == vertebra.label).sum() == pytest.approx(before, rel=0.06)
    assert curved.truth["checks"]["least_jacobian"] > 0
    assert curved.truth["checks"]["edges_in_bodies_within_1_percent"] > 0.98
    assert spine_of_truth(curved.truth).levels == LEVELS


def test_image_mask_and_points_move_together(phantom, curved):
    image, mask = curved.image, curved.mask
    body = image.array[mask.array == 21].mean()
    assert body == pytest.approx(phantom.image.array[phantom.mask.array == 21].mean(), rel=0.1)
    points = np.array([entry["center_mm"] for entry in curved.truth["vertebrae"]])
    back = curved.deformation.to_source(points)
    source = np.array([phantom.truth[name].center_mm for name in LEVELS])
    assert np.linalg.norm(back - source, axis=1).max() < 1.5
    assert np.linalg.norm(curved.deformation.to_target(back) - points, axis=1).max() < 0.2


def test_grown_grids_hold_what_was_there(phantom, curved):
    old, new = phantom.image.geometry, curved.image.geometry
    assert new.spacing_mm == pytest.approx(old.spacing_mm)
    corner = new.world_to_index(old.index_to_world(np.zeros(3)))
    assert corner == pytest.approx(np.round(corner), abs=1e-6)
    assert (np.array(new.shape) >= old.shape).all()


def test_nothing_asked_for_changes_nothing(phantom):
    same = deform(phantom.image, phantom.mask, Deformity())
    assert same.image.geometry.same_grid(phantom.image.geometry)
    assert np.abs(same.image.array.astype(float) - phantom.image.array).max() <= 1
    assert (same.mask.array == phantom.mask.array).all()
    assert same.truth["cobb_deg"] == []


def test_a_collapse_lowers_what_is_above_and_leaves_the_loss_asked_for(phantom):
    result = deform(
        phantom.image, phantom.mask, Deformity(findings=(Collapse("L2", "wedge", 40.0),)), grow=True
    )
    truth = {entry["level"]: entry for entry in result.truth["vertebrae"]}
    assert truth["T12"]["center_mm"][2] - truth["L4"]["center_mm"][2] < (
        phantom.truth["T12"].center_mm[2] - phantom.truth["L4"].center_mm[2] - 3
    )
    heights = truth["L2"]["heights_mm"]
    assert 100 * (1 - heights["anterior"] / heights["posterior"]) == pytest.approx(40, abs=1)
    spine = measure(result.image, result.mask, spine_of_mask(result.mask))
    assert spine["L2"].height_loss.anterior_percent == pytest.approx(40, abs=4)
    assert abs(spine["L1"].height_loss.anterior_percent) < 6
    core = result.mask.array == 21
    assert result.image.array[core].mean() > phantom.image.array[phantom.mask.array == 21].mean() + 20


def test_a_curve_beside_findings_has_the_angle_asked_for(phantom):
    column = find_source_column(phantom.mask)
    findings = (Collapse("L1", "wedge", 40.0), DiscNarrowing("L2", 50.0))
    settled = settle(phantom.image, column, findings)
    assert settled.levels == column.levels
    request = CurveRequest(cobb_deg=30.0)
    deformity = draw_deformity(settled, request, np.random.default_rng(2), findings=findings)
    moved = plan(phantom.image, phantom.mask, column, deformity)
    truth = describe_truth(column, moved.motions, moved.changes, moved.target)
    assert max(curve["angle_deg"] for curve in truth["cobb_deg"]) == pytest.approx(30, abs=0.05)


def test_grids_must_agree(phantom):
    cropped = Mask(phantom.mask.array[:-2], phantom.mask.geometry.cropped((0, 0, 0), (
        phantom.mask.array.shape[0] - 2, *phantom.mask.array.shape[1:])))  # fmt: skip
    with pytest.raises(GeometryError, match="are not on the same grid; give the mask that was drawn on this"):
        deform(phantom.image, cropped, Deformity())


def test_angles_that_fold_are_refused_with_the_largest_share(phantom):
    with pytest.raises(InputError, match=r"turn by \d+ degrees .* multiply the angles by 0\.\d+ or less"):
        deform(phantom.image, phantom.mask, Deformity(coronal_deg={"L1": -40.0, "L2": 40.0}))


def test_levels_that_are_not_there_are_refused(phantom):
    with pytest.raises(InputError, match="T3 is not in the mask"):
        deform(phantom.image, phantom.mask, Deformity(coronal_deg={"T3": 5.0}))
    with pytest.raises(InputError, match="T3 is not in the mask"):
        deform(phantom.image, phantom.mask, Deformity(findings=(Collapse("T3", "crush", 30.0),)))
