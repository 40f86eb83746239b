from dataclasses import replace

import numpy as np
import pytest

from spinelab.errors import GeometryError, InputError, LabelError
from spinelab.measurement import find_column, measure
from spinelab.measurement.slip import DiscSide, measure_slip
from spinelab.simulate.changes import combine, find_site
from spinelab.simulate.collapse import Collapse
from spinelab.simulate.degeneration import DiscNarrowing, EndplateSclerosis, Osteophytes, Slip
from spinelab.simulate.surroundings import plane_in, survey
from tests.phantom import make_phantom
from tests.simulate.places import phantom, site, warp


def still(motion):
    return np.allclose(motion.rotation, np.eye(3)) and np.allclose(motion.translation_mm, 0)


def test_a_narrowed_disc_keeps_its_shape_in_proportion():
    change = DiscNarrowing("L1", 40).fit(site())
    around = survey(site())
    below = plane_in(site(), site().plane_below)
    for x, y in ((0, 0), (12, 3), (-10, -9), (0, 13)):
        endplate = np.array([x, y, around.lower @ [1, x, y]])
        before = endplate[2] - below @ [1, x, y]
        moved = change.settle.apply(endplate)
        assert moved[2] - below @ [1, moved[0], moved[1]] == pytest.approx(0.6 * before, abs=0.15)
    assert change.map is None
    assert still(change.follow)
    facts = change.findings[0]
    assert facts["disc_mm"] == pytest.approx(0.6 * facts["disc_before_mm"], abs=0.01)
    assert facts["disc_before_mm"] == pytest.approx(8.0, abs=0.8)


def test_bodies_that_would_touch_are_refused_with_the_largest_possible():
    with pytest.raises(InputError, match=r"less disc L1 would touch the body below; the largest .* 8\d %"):
        DiscNarrowing("L1", 90).fit(site())


@pytest.mark.parametrize(("anterior", "left"), [(6.0, 0.0), (-3.0, 2.0)])
def test_a_slip_measures_as_asked_for(anterior, left):
    place = site()
    settle = Slip("L1", anterior, left).fit(place).settle.within(place.body.grid.axes, place.body.center_mm)
    upper, lower = place.body, place.below

    def slip(move):
        plane = replace(upper.inferior, point=move(upper.inferior.point))
        sides = (DiscSide(plane, move(upper.corners_mm[1])), DiscSide(lower.superior, lower.corners_mm[0]))
        return measure_slip("L1", sides[0], replace(sides[1], posterior=lower.grid.axes[1]))

    before, after = slip(lambda p: p), slip(settle.apply)
    assert after.anterior_mm - before.anterior_mm == pytest.approx(anterior, abs=0.01)
    assert after.left_mm - before.left_mm == pytest.approx(left, abs=0.01)
    assert np.allclose(settle.rotation, np.eye(3))


def test_the_last_lumbar_vertebra_slips_and_settles_on_the_sacrum():
    small = make_phantom(levels=("L4", "L5", "S"), spacing_mm=(1.5, 1.5, 1.5))
    place = find_site(find_column(small.mask, small.spine), "L5")
    assert Slip("L5", 5).fit(place).settle.translation_mm == pytest.approx([0, -5, 0], abs=0.3)
    assert DiscNarrowing("L5", 30).fit(place).settle.translation_mm == pytest.approx([0, 0, -3], abs=0.6)


def test_osteophytes_widen_the_rims_and_leave_the_heights():
    change = Osteophytes("L1", 5).fit(site())
    mask = warp(phantom().mask, site(), change)
    grown = (mask.array == 20) & (phantom().mask.array != 20)
    local = site().to_local(phantom().mask.geometry.index_to_world(np.argwhere(grown)))
    body, around = site().body, survey(site())
    assert (around.front_mm - local[:, 1]).max() == pytest.approx(5.0, abs=1.0)
    assert np.abs(local[:, 0]).max() - body.half_width_mm == pytest.approx(5.0, abs=1.5)
    assert local[:, 1].max() < around.back_mm - 2  # nothing towards the canal
    assert np.abs(local[:, 2]).min() > 0.15 * around.height_mm  # nothing at the waist
    spine = measure(None, mask, phantom().spine)
    for part in ("anterior", "middle", "posterior"):
        expected = phantom().truth["L1"].height_mm
        assert getattr(spine["L1"].heights_mm, part) == pytest.approx(expected, abs=0.8)


@pytest.mark.parametrize(("where", "sign"), [("left", 1), ("right", -1)])
def test_osteophytes_grow_on_the_side_and_endplate_asked_for(where, sign):
    change = Osteophytes("L1", 6, where, "inferior").fit(site())
    points = np.random.default_rng(0).uniform(-40, 40, (40_000, 3))
    there = change.apply(points)
    moved = np.abs(there - points).max(axis=1) > 0.05
    assert moved.any()
    assert (sign * points[moved, 0] > 0).all()
    assert (points[moved, 2] < 0).all()
    assert np.abs(change.undo(there) - points).max() < 1e-3


def test_sclerosis_is_dense_at_the_endplate_and_fades():
    change = EndplateSclerosis("L1", 8, 300, "superior").fit(site())
    top = survey(site()).sample(survey(site()).top_mm, np.zeros((1, 3)))[0]
    depths = np.array([0.0, 4, 8, 20, -2])
    points = np.stack([0 * depths, 0 * depths, top - depths], axis=1)
    hu = np.full(5, 150.0)
    assert change.shade(hu, points, modality="CT") == pytest.approx([450, 300, 150, 150, 150], abs=0.5)
    assert (change.shade(hu, points, modality="MR") == hu).all()
    assert (change.shade(hu, points + np.array([0, 40, 0]), modality="CT") == hu).all()
    assert change.shade(np.array([900.0]), points[:1], modality="CT")[0] == 1000
    assert change.map is None
    assert still(change.follow)
    assert still(change.settle)


def test_all_of_them_compose_with_a_collapse():
    findings = [
        Osteophytes("L1", 4),
        EndplateSclerosis("L1", 6, 200),
        DiscNarrowing("L1", 30),
        Slip("L1", 4),
        Collapse("L1", "wedge", 30),
    ]
    whole = combine([finding.fit(site()) for finding in findings])
    points = np.random.default_rng(0).uniform(-40, 40, (20_000, 3))
    assert np.abs(whole.undo(whole.apply(points)) - points).max() < 1e-3
    assert [entry["finding"] for entry in whole.to_dict()["findings"]] == [
        "osteophytes",
        "endplate sclerosis",
        "disc narrowing",
        "slip",
        "collapse",
    ]
    assert whole.settle.translation_mm[1] < -3
    assert not still(whole.follow)


NO_NEIGHBOUR = "the endplate below the disc of L3 is not in view"


@pytest.mark.parametrize("finding", [DiscNarrowing("L3", 30), Slip("L3", 4)])
def test_a_disc_needs_both_its_bodies(finding):
    with pytest.raises(GeometryError, match=NO_NEIGHBOUR):
        finding.fit(site("L3"))


def test_a_slip_needs_its_own_endplate():
    cut = replace(site(), body=replace(site().body, inferior=None))
    with pytest.raises(GeometryError, match="the inferior endplate of L1 is not in view"):
        Slip("L1", 4).fit(cut)


@pytest.mark.parametrize(
    ("slip", "message"),
    [
        (Slip("L1", 20), r"slip of 20 mm forwards; L1 slips by at most 1\d\.\d mm"),
        (Slip("L1", 0, -15), r"slip of -15 mm to the left; L1 slips by at most 1\d\.\d mm"),
    ],
)
def test_a_slip_beyond_half_the_body_is_refused(slip, message):
    with pytest.raises(InputError, match=message):
        slip.fit(site())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DiscNarrowing("L1", 0), "loss of disc height of 0 %; choose more than 0 and at most 90 %"),
        (lambda: DiscNarrowing("L1", 95), "loss of disc height of 95 %"),
        (lambda: Slip("L1", 0), "slip of 0 mm forwards and 0 mm to the left"),
        (lambda: Slip("L1", float("nan")), "slip of nan mm forwards"),
        (lambda: Osteophytes("L1", 13), "osteophyte of 13 mm; choose more than 0 and at most 12 mm"),
        (lambda: Osteophytes("L1", 3, "behind"), "found where 'behind'; choose around, anterior, left"),
        (lambda: Osteophytes("L1", 3, "left", "top"), "found endplate 'top'; choose superior, inferior"),
        (lambda: EndplateSclerosis("L1", 16, 100), "depth of sclerosis of 16 mm"),
        (lambda: EndplateSclerosis("L1", 5, -1), "density of sclerosis of -1 HU"),
        (lambda: EndplateSclerosis("L1", 5, 100, "no"), "found endplate 'no'"),
        (lambda: DiscNarrowing("Q1", 10), "no vertebral level 'Q1'"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises((InputError, LabelError), match=message):
        make()
