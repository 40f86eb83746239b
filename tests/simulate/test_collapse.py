from dataclasses import replace

import numpy as np
import pytest

from spinelab.errors import GeometryError, InputError, LabelError
from spinelab.measurement import measure
from spinelab.simulate.collapse import Collapse
from spinelab.simulate.prediction import predict_heights, push_body
from tests.simulate.places import phantom, site, warp

JUDGED_BY = {"wedge": "anterior_percent", "biconcave": "middle_percent", "crush": "crush_percent"}
SHAPES = tuple(JUDGED_BY)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_asked_for_is_measured_on_the_deformed_mask(shape):
    errors = []
    for loss in (15, 40, 60):
        change = Collapse("L1", shape, loss).fit(site())
        spine = measure(None, warp(phantom().mask, site(), change), phantom().spine)
        errors.append(getattr(spine["L1"].height_loss, JUDGED_BY[shape]) - loss)
        predicted, measured = predict_heights(site().body, change), spine["L1"].heights_mm
        for part in ("anterior", "middle", "posterior"):
            assert getattr(measured, part) == pytest.approx(getattr(predicted, part), abs=1.25)
        assert spine["L2"].heights_mm.middle == pytest.approx(phantom().truth["L2"].height_mm, abs=1.0)
    # Where an endplate sinks evenly the nearest voxels all err alike, by up to half a voxel an endplate.
    assert np.abs(errors).max() < (2.0 if shape == "wedge" else 100 * 1.0 / phantom().truth["L1"].height_mm)
    assert abs(np.mean(errors)) < 2.0


@pytest.mark.parametrize("endplate", ["superior", "inferior", "both"])
@pytest.mark.parametrize("shape", SHAPES)
def test_predicted_heights_have_exactly_the_loss(shape, endplate):
    change = Collapse("L1", shape, 40, endplate).fit(site())
    heights = predict_heights(site().body, change)
    reference = {
        "wedge": (heights.anterior, heights.posterior),
        "biconcave": (heights.middle, heights.posterior),
    }
    if shape in reference:
        part, whole = reference[shape]
        assert 1 - part / whole == pytest.approx(0.4, abs=1e-3)
    else:
        near = [predict_heights(site(n).body, change=NOTHING).posterior for n in ("T12", "L2")]
        assert 1 - heights.posterior / np.mean(near) == pytest.approx(0.4, abs=1e-3)


NOTHING = replace(Collapse("L1", "wedge", 10).fit(site()), map=None)


def test_a_crush_with_no_neighbour_in_view_is_judged_by_itself():
    alone = replace(site(), above=None, below=None, farther=(None, None))
    heights = predict_heights(alone.body, Collapse("L1", "crush", 30).fit(alone))
    assert heights.posterior == pytest.approx(0.7 * predict_heights(alone.body, NOTHING).posterior, abs=0.01)


def test_a_neighbour_that_collapsed_itself_is_no_reference():
    flat = Collapse("L2", "wedge", 40).fit(site("L2"))
    place = replace(site(), above=None, below=push_body(site("L2").body, flat), farther=(None, None))
    alone = predict_heights(place.body, Collapse("L1", "crush", 30).fit(place)).posterior
    assert alone == pytest.approx(0.7 * predict_heights(place.body, NOTHING).posterior, abs=0.01)
    beyond = replace(place, farther=(None, site("L3").body))
    third = predict_heights(site("L3").body, NOTHING).posterior
    assert predict_heights(place.body, Collapse("L1", "crush", 30).fit(beyond)).posterior == pytest.approx(
        0.7 * third, abs=0.01
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_undo_inverts_apply_and_nothing_moves_outside_the_reach(shape):
    change = Collapse("L1", shape, 55).fit(site())
    low, high = np.array(change.reach_mm).T
    points = np.random.default_rng(1).uniform(low - 6, high + 6, (40_000, 3))
    there = change.apply(points)
    assert np.abs(change.undo(there) - points).max() < 1e-3
    outside = ((points < low) | (points > high)).any(axis=1)
    assert np.abs(there - points)[outside].max() < 1e-9
    assert np.abs(there - points)[~outside].max() > 5
    assert (there[:, :2] == points[:, :2]).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_columns_never_fold(shape):
    change = Collapse("L1", shape, 60).fit(site())
    z = np.linspace(-40, 40, 1601)
    for x, y in np.random.default_rng(2).uniform((-34, -30), (34, 24), (60, 2)):
        line = np.stack([np.full_like(z, x), np.full_like(z, y), z], axis=1)
        assert (np.diff(change.apply(line)[:, 2]) > 0).all()


@pytest.mark.parametrize(("shape", "behind_mm"), [("wedge", 0.0), ("biconcave", 0.0), ("crush", 7.0)])
def test_canal_and_arch_and_the_bodies_next_to_it_stay(shape, behind_mm):
    change = Collapse("L1", shape, 50).fit(site())
    back = float(np.nanmedian(site().body.back_mm[np.abs(site().body.grid.x_mm) <= 3]))
    points = np.random.default_rng(3).uniform((-40, back + behind_mm, -40), (40, back + 60, 40), (20_000, 3))
    assert np.abs(change.apply(points) - points).max() < 0.01
    before, after = phantom().mask.array, warp(phantom().mask, site(), change).array
    for label in (19, 21):
        assert np.count_nonzero((before == label) != (after == label)) < 0.002 * np.count_nonzero(
            before == label
        )


def test_the_column_above_follows_a_wedge_about_the_posterior_wall():
    change = Collapse("L1", "wedge", 40).fit(site())
    angle = np.degrees(np.arctan2(change.follow.rotation[1, 2], change.follow.rotation[2, 2]))
    assert -30 < angle < -15  # the axis above tips forwards
    body = site().body
    middle = np.abs(body.grid.x_mm) <= 3
    back, front = np.nanmedian(body.back_mm[middle]), np.nanmedian(body.front_mm[middle])
    top = site().to_local(body.superior.point)[2]
    pivot, rim = np.array([0.0, back, top]), np.array([0.0, front, top])
    assert np.linalg.norm(change.follow.apply(pivot) - pivot) < 0.2
    sunk = change.apply(rim[None])[0]
    assert change.follow.apply(rim)[2] == pytest.approx(sunk[2], abs=2.5)
    assert np.allclose(change.settle.rotation, np.eye(3))
    assert np.allclose(change.settle.translation_mm, 0)


def test_the_column_above_sinks_by_a_crush_and_stays_on_the_rims_of_a_biconcave_body():
    body = site().body
    change = Collapse("L1", "crush", 40).fit(site())
    lost = predict_heights(body, NOTHING).middle - predict_heights(body, change).middle
    sunk = change.settle.after(change.follow).apply(np.zeros(3))
    assert sunk[2] == pytest.approx(-lost, abs=0.3)
    assert np.abs(sunk[:2]).max() < 0.5
    dent = Collapse("L1", "biconcave", 40).fit(site())
    assert np.abs(dent.settle.after(dent.follow).apply(np.zeros(3))).max() < 0.05


def test_an_inferior_wedge_settles_the_vertebra_itself():
    change = Collapse("L1", "wedge", 40, "inferior").fit(site())
    assert np.allclose(change.follow.rotation, np.eye(3))
    assert -30 < np.degrees(np.arctan2(change.settle.rotation[1, 2], change.settle.rotation[2, 2])) < -15


def test_bone_mass_is_kept_in_ct_and_mr_is_left_alone():
    change = Collapse("L1", "crush", 50).fit(replace(site(), cancellous_hu=150.0))
    points = np.array([[0.0, 0, 0], [5, 2, 3], [0, 0, 30], [0, -40, 0], [0, 30, 0]])
    before = np.array([150.0, 100.0, 150.0, 150.0, 150.0])
    squeezed = change.map.stretch(points)[0]
    assert 0.3 < squeezed < 0.5
    risen = 150 / squeezed - 150
    gained = change.shade(before, points, modality="CT") - before
    assert gained == pytest.approx([risen, risen, 0, 0, 0], abs=1.0)
    assert (change.shade(before, points, modality="MR") == before).all()
    assert change.shade(np.array([950.0, 1200]), points[:2], modality="CT").tolist() == [1000, 1200]


def test_without_a_ct_no_density_is_made_up():
    points = np.zeros((1, 3))
    change = Collapse("L1", "crush", 50).fit(site())
    assert change.shade(np.array([150.0]), points, modality="CT")[0] == 150


@pytest.mark.parametrize(
    ("level", "shape", "loss", "endplate", "message"),
    [
        ("L9", "wedge", 20, None, "no vertebral level 'L9'"),
        ("L1", "burst", 20, None, "found shape 'burst'; choose wedge, biconcave or crush"),
        ("L1", "wedge", 0, None, "height loss of 0 %; choose more than 0 and at most 70 %"),
        ("L1", "wedge", 71, None, "height loss of 71 %"),
        ("L1", "wedge", float("nan"), None, "height loss of nan %"),
        ("L1", "wedge", 20, "upper", "found endplate 'upper'; choose superior, inferior or both"),
    ],
)
def test_what_makes_no_sense_is_refused(level, shape, loss, endplate, message):
    with pytest.raises((InputError, LabelError), match=message):
        Collapse(level, shape, loss, endplate)


def test_a_loss_that_would_fold_is_refused_with_the_largest_possible():
    with pytest.raises(InputError, match=r"wedge of 70 % would fold L1; the largest possible is 6\d %"):
        Collapse("L1", "wedge", 70).fit(site())


def test_a_body_that_lost_more_already_is_refused():
    change = Collapse("L1", "wedge", 40).fit(site())
    pushed = replace(site(), body=push_body(site().body, change))
    with pytest.raises(InputError, match=r"has lost \d\d % as a wedge, asked for 20 %"):
        Collapse("L1", "wedge", 20).fit(pushed)


@pytest.mark.parametrize("name", ["superior", "inferior"])
def test_an_endplate_out_of_view_is_refused(name):
    cut = replace(site(), body=replace(site().body, **{name: None}))
    with pytest.raises(GeometryError, match=f"the {name} endplate of L1 is not in view"):
        Collapse("L1", "wedge", 20).fit(cut)


def test_heights_out_of_view_are_refused():
    body = site().body
    cut = replace(site(), body=replace(body, top_cut=np.ones_like(body.top_cut)))
    with pytest.raises(GeometryError, match="the heights of L1 that a wedge is judged by cannot be read"):
        Collapse("L1", "wedge", 20).fit(cut)


def test_parameters_are_json_values():
    finding = Collapse("L1", "wedge", 30)
    change = finding.fit(site())
    assert (
        change.to_dict()["findings"]
        == [finding.to_dict()]
        == [{"finding": "collapse", "level": "L1", "shape": "wedge", "loss_percent": 30, "endplate": None}]
    )
    assert len(change.to_dict()["follow"]["rotation"]) == 3
