"""Segmentation end to end on phantoms, the networks stood in for by formulas of the image."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from spinelab import models
from spinelab.anatomy import level
from spinelab.errors import ModalityError, ModelError
from spinelab.tasks import segment as task
from spinelab.tasks import walk
from spinelab.tasks.locate import Overview
from spinelab.tasks.segment import SegmentOptions, segment
from spinelab.volume import Image
from tests.phantom import make_phantom
from tests.tasks.volumes import blind_near, dice, grid, locate_truth, network, outline_nearest_body, world_of

LEVELS = ("T12", "L1", "L2", "L3")
COARSE = (3.0, 3.0, 3.0)


def put_in(patch, phantom, names):
    """Puts formulas in place of the shipped networks; returns what `load` was asked for."""
    asked = []
    nets = {
        "locate": network("locate", partial(locate_truth, phantom=phantom, names=names)),
        "outline": network("outline", outline_nearest_body),
    }

    def load(name, *, folder=None, device="cpu", threads=0):
        asked.append((name, folder, device, threads))
        return nets[name]

    patch.setattr(models, "load", load)
    return asked


@pytest.fixture
def stand_in(monkeypatch):
    return partial(put_in, monkeypatch)


@pytest.fixture(scope="module")
def with_options():
    """What `load` was asked for and `progress` was told when all four bodies were segmented."""
    phantom = make_phantom(levels=LEVELS, spacing_mm=COARSE, cut_mm=(-60.0, -60.0))
    told = []
    with pytest.MonkeyPatch.context() as patch:
        asked = put_in(patch, phantom, LEVELS)
        found = segment(
            phantom.image,
            SegmentOptions(threads=3, device="cuda", weights=Path("mine")),
            progress=lambda stage, fraction: told.append((stage, round(fraction, 3))),
        )
    return found, asked, told


def misses_by_mm(found, phantom, name):
    return np.linalg.norm(np.array(found.spine[name].center_mm) - phantom.truth[name].center_mm)


@pytest.mark.parametrize(
    ("codes", "oblique", "gantry", "spacing"),
    [
        ("PIR", (0, 0, 0), 0, (1.2, 1.2, 3.0)),
        ("RAS", (8, -6, 10), 0, (1.5, 1.5, 2.0)),
        ("SRA", (0, 0, 0), 15, (1.5, 1.5, 2.5)),
    ],
)
def test_every_vertebra_is_named_in_order_on_the_scans_own_grid(stand_in, codes, oblique, gantry, spacing):
    phantom = make_phantom(
        levels=LEVELS, codes=codes, oblique_deg=oblique, gantry_deg=gantry, spacing_mm=spacing
    )
    stand_in(phantom, LEVELS)
    found = segment(phantom.image)
    assert found.spine.levels == LEVELS
    assert found.mask.array.shape == phantom.image.array.shape
    assert found.mask.geometry is phantom.image.geometry
    assert found.mask.array.dtype == np.uint8
    assert found.mask.labels() == tuple(sorted(level(name).label for name in LEVELS))
    for name in LEVELS:
        vertebra = found.spine[name]
        assert vertebra.complete, name
        assert vertebra.flags == ()
        assert misses_by_mm(found, phantom, name) < 2
        assert vertebra.detection >= 0.3 + 0.67 * 0.75, "three of its four starts or all ended in it"
        assert dice(found, phantom, name) > 0.85
    assert found.spine.warnings == ()
    assert found.spine.numbering.probability > 0.5
    assert set(found.seconds) == {"locate", "walk", "outline"}
    assert all(value >= 0 for value in found.seconds.values())


def test_a_sliver_of_a_vertebra_at_each_end_is_outlined_and_its_centre_inferred(stand_in):
    phantom = make_phantom(levels=LEVELS, spacing_mm=COARSE, cut_mm=(23.0, 24.0))
    stand_in(phantom, LEVELS[1:-1])
    found = segment(phantom.image)
    assert found.spine.levels == LEVELS
    for name in (LEVELS[0], LEVELS[-1]):
        vertebra = found.spine[name]
        assert not vertebra.complete
        assert vertebra.detection is None
        assert vertebra.flags == ("centre inferred", "cut")
        assert misses_by_mm(found, phantom, name) < 4
        assert dice(found, phantom, name) > 0.6
    assert all(found.spine[name].complete for name in LEVELS[1:-1])
    assert found.spine.warnings == ()


def test_what_is_in_view_of_a_cut_body_is_found_by_the_walk_and_flagged(stand_in):
    phantom = make_phantom(levels=LEVELS, spacing_mm=COARSE, cut_mm=(17.0, 6.0))
    stand_in(phantom, LEVELS[1:])
    found = segment(phantom.image)
    assert found.spine.levels == LEVELS
    for name in (LEVELS[0], LEVELS[-1]):
        assert found.spine[name].flags == ("cut",)
        assert not found.spine[name].complete
        assert 0.6 < found.spine[name].detection < 0.9, "fewer than all starts ended in it"
        assert dice(found, phantom, name) > 0.75
    # of T12, 25 mm high, 8 mm are in view: the middle of those is known, not that of the body
    sliver = found.spine["T12"].center_mm[2] - phantom.truth["T12"].center_mm[2]
    assert sliver == pytest.approx((8 - 25) / 2, abs=2.5)
    assert misses_by_mm(found, phantom, "L3") < 4
    for name in LEVELS[1:-1]:
        assert found.spine[name].complete
        assert misses_by_mm(found, phantom, name) < 2


def test_cut_vertebrae_are_left_out_on_request(stand_in):
    phantom = make_phantom(levels=LEVELS, spacing_mm=COARSE, cut_mm=(17.0, 6.0))
    stand_in(phantom, LEVELS[1:])
    found = segment(phantom.image, SegmentOptions(partial=False))
    assert found.spine.levels == LEVELS[1:-1], "T12 is found by the walk and L3 by the detector; both are cut"
    assert found.mask.labels() == tuple(level(name).label for name in LEVELS[1:-1])


def test_where_all_are_cut_and_none_is_asked_for_that_is_said(stand_in):
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=COARSE, cut_mm=(6.0, 6.0))
    stand_in(phantom, ("L1", "L2"))
    found = segment(phantom.image, SegmentOptions(partial=False))
    assert found.spine.vertebrae == ()
    assert found.spine.numbering is None
    assert not found.mask.array.any()
    assert found.spine.warnings == (
        "No vertebra is wholly in view; those that are cut were left out as asked.",
    )


def test_nothing_is_made_up_beyond_the_ends_where_no_bone_is(with_options):
    found, _, _ = with_options
    assert found.spine.levels == LEVELS
    assert found.spine.warnings == ()


def test_those_between_and_at_an_end_that_the_detector_misses_are_found_by_the_walk(stand_in):
    levels = ("T11", *LEVELS)
    phantom = make_phantom(levels=levels, spacing_mm=COARSE)
    stand_in(phantom, ("T11", "T12", "L2"))
    found = segment(phantom.image)
    assert found.spine.levels == levels
    for name in ("L1", "L3"):
        assert found.spine[name].flags == ()
        assert found.spine[name].complete
        assert found.spine[name].detection >= 0.3 + 0.67 * 0.5
        assert misses_by_mm(found, phantom, name) < 2
        assert dice(found, phantom, name) > 0.85
    assert found.spine.warnings == ()


def test_one_between_that_the_walk_misses_too_is_inferred_and_said_to_be(stand_in, monkeypatch):
    levels = ("T11", *LEVELS)
    phantom = make_phantom(levels=levels, spacing_mm=COARSE)
    stand_in(phantom, ("T11", "T12", "L2", "L3"))
    monkeypatch.setattr(walk, "outline_one", blind_near(phantom.truth["L1"].center_mm, 18.0))
    found = segment(phantom.image)
    assert found.spine.levels == levels
    assert found.spine["L1"].detection is None
    assert found.spine["L1"].flags == ("centre inferred",)
    assert found.spine["L1"].complete
    assert misses_by_mm(found, phantom, "L1") < 4
    assert found.spine.warnings == ("L1: not seen by the detector, inferred from the neighbours.",)


def test_where_the_walk_finds_too_little_the_first_answer_stands(stand_in, monkeypatch):
    phantom = make_phantom(levels=LEVELS, spacing_mm=COARSE)
    stand_in(phantom, LEVELS)
    monkeypatch.setattr(walk, "outline_one", blind_near(np.zeros(3), 200.0))
    found = segment(phantom.image)
    assert found.spine.levels == LEVELS
    for name in LEVELS:
        assert found.spine[name].detection == pytest.approx(0.85, abs=0.08), "the height of the heat map"
        assert misses_by_mm(found, phantom, name) < 2
        assert dice(found, phantom, name) > 0.85


def test_a_scan_without_a_spine_gives_none_and_says_so(stand_in):
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=COARSE)
    stand_in(phantom, ())
    found = segment(phantom.image)
    assert found.spine.vertebrae == ()
    assert found.spine.numbering is None
    assert found.spine.warnings == ("No vertebra was found in this scan.",)
    assert not found.mask.array.any()
    assert found.mask.array.shape == phantom.image.array.shape
    assert set(found.seconds) == {"locate", "walk", "outline"}


@pytest.mark.parametrize("seen", [("L3", "L4", "L5", "S"), ("L3", "L4", "L5")])
def test_the_sacrum_names_the_last_vertebra_and_is_not_outlined(stand_in, seen):
    phantom = make_phantom(levels=("L3", "L4", "L5", "S"), spacing_mm=COARSE)
    stand_in(phantom, seen)
    found = segment(phantom.image)
    assert found.spine.levels == ("L3", "L4", "L5")
    assert found.mask.labels() == (22, 23, 24)
    assert all(misses_by_mm(found, phantom, name) < 3 for name in found.spine.levels)


def overview_of_the_sacrum(place_mm, share):
    """Maps on a 3 mm grid about the origin whose levels tell the sacrum, at `share`, near a place."""
    geometry = grid((24, 24, 40), COARSE)
    near = np.linalg.norm(world_of(geometry) - place_mm, axis=-1) < 10
    levels = np.zeros((26, *near.shape), np.float16)
    levels[23] = 1
    levels[23, near], levels[25, near] = 1 - share, share
    heat, tissue = np.zeros(near.shape, np.float32), np.zeros((4, *near.shape), np.float16)
    return Overview(geometry, heat, tissue, levels[:, ::2, ::2, ::2], np.ones(near.shape, bool))


ABOVE, LAST = np.array([0.0, 0.0, 40.0]), np.array([0.0, 0.0, 5.0])


@pytest.mark.parametrize("below_mm", [24.0, 31.0, 38.0])
def test_s1_is_looked_for_about_a_step_below_the_last_body(below_mm):
    place = LAST - (0, 0, below_mm)
    found = task._look_for_sacrum(overview_of_the_sacrum(place, 1.0), ABOVE, LAST)
    assert len(found) == 1
    assert np.linalg.norm(np.array(found[0].center_mm) - place) < 3.5, "tried in steps of 3.5 mm"
    assert found[0].level_probabilities[25] > 0.6
    assert found[0].score == 0.6


def test_no_s1_where_the_maps_do_not_show_it_or_its_place_is_out_of_view():
    place = LAST - (0, 0, 31.0)
    assert task._look_for_sacrum(overview_of_the_sacrum(place, 0.3), ABOVE, LAST) == []
    above_it = overview_of_the_sacrum(LAST, 1.0)
    assert task._look_for_sacrum(above_it, ABOVE, LAST) == [], "the last body itself is not tried"
    at_the_border = overview_of_the_sacrum(np.array([0.0, 0.0, -64.0]), 1.0)
    assert task._look_for_sacrum(at_the_border, ABOVE - (0, 0, 37), LAST - (0, 0, 37)) == []


def test_a_chain_of_the_sacrum_alone_is_no_vertebra(stand_in, monkeypatch):
    phantom = make_phantom(levels=("L4", "L5", "S"), spacing_mm=COARSE)
    stand_in(phantom, ("L4", "L5", "S"))
    name_column = task.name_column

    def sacral(chain):
        named = name_column(chain)
        assert named.levels[-1] == "S"
        return replace(named, points=named.points[-1:], levels=("S",), probabilities=(0.9,))

    monkeypatch.setattr(task, "name_column", sacral)
    found = segment(phantom.image)
    assert found.spine.vertebrae == ()
    assert found.spine.warnings == ("Only the sacrum was found; no vertebra is in view.",)


@pytest.mark.parametrize(
    ("levels", "end", "side", "variants", "wanted"),
    [
        (("T12", "L1"), 0, -1, (), "T11"),
        (("T12", "L1"), 1, +1, (), "L2"),
        (("T13", "L1"), 0, -1, ("T13",), "T12"),
        (("T12", "T13"), 1, +1, ("T13",), "L1"),
        (("C1", "C2"), 0, -1, (), None),
        (("L4", "L5"), 1, +1, (), None),
        (("L5", "L6"), 1, +1, ("L6",), None),
        (("L5", "S"), 1, +1, (), None),
        (("L3", "L4"), 1, +1, ("L4 last",), None),
        (("L3", "L4"), 1, +1, (), "L5"),
    ],
)
def test_what_comes_beyond_an_end(levels, end, side, variants, wanted):
    class Named:
        class numbering:  # noqa: N801
            pass

    Named.levels, Named.numbering.variants = levels, variants
    assert task._next_level(Named, end, side) == wanted


@pytest.mark.parametrize("size", [0.6, 1.0, 1.2])
def test_the_step_beyond_an_end_is_as_large_as_the_person(size):
    class Named:
        levels = ("L1", "L2")

    from spinelab.tasks.column_prior import expected_spacing_mm

    centers = np.array([[0.0, 0, expected_spacing_mm("L1", "L2")[0] * size], [0.0, 0, 0]])
    below = task._step_on(Named, centers, "L3", 1, +1)
    assert np.allclose(below, (0, 0, -size * expected_spacing_mm("L2", "L3")[0]))
    above = task._step_on(Named, centers, "T12", 0, -1)
    assert np.allclose(above - centers[0], (0, 0, size * expected_spacing_mm("T12", "L1")[0]))


def test_an_mr_is_refused_before_any_network_is_asked_for(stand_in):
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=COARSE)
    asked = stand_in(phantom, ())
    with pytest.raises(ModalityError, match="segment reads CT, this image is MR; give a CT in HU"):
        segment(replace(phantom.image, modality="MR"))
    assert asked == []


def test_options_reach_the_networks(with_options):
    _, asked, _ = with_options
    assert asked == [(name, Path("mine"), "cuda", 3) for name in ("locate", "outline", "outline")]


def test_a_folder_without_weights_is_refused(tmp_path):
    image = Image(np.zeros((8, 8, 8), np.int16), grid((8, 8, 8), (3.0, 3.0, 3.0)), "CT")
    with pytest.raises(ModelError, match=r"no readable weights.json in mine"):
        segment(image, SegmentOptions(weights=tmp_path / "mine"))


def test_progress_runs_through_the_stages_in_order(with_options):
    _, _, told = with_options
    assert told[0] == ("locate", 0.0)
    assert told[-1] == ("outline", 1.0)
    stages = [stage for stage, _ in told]
    assert list(dict.fromkeys(stages)) == ["locate", "walk", "outline"]
    assert stages == sorted(stages, key=["locate", "walk", "outline"].index)
    for name in ("walk", "outline"):
        fractions = [fraction for stage, fraction in told if stage == name]
        assert fractions[0] == 0.0
        assert fractions == sorted(fractions)
        assert fractions[-1] <= 1.0
    assert stages.count("outline") == len(LEVELS) + 1


def test_a_vertebra_the_network_does_not_outline_keeps_its_centre_and_a_warning(stand_in, monkeypatch):
    phantom = make_phantom(levels=LEVELS, spacing_mm=COARSE)
    stand_in(phantom, LEVELS)
    monkeypatch.setattr(task, "outline_one", blind_near(phantom.truth["L1"].center_mm, 5.0))
    found = segment(phantom.image)
    assert found.spine.levels == LEVELS
    assert found.spine["L1"].flags == ("no outline",)
    assert not found.spine["L1"].complete
    assert misses_by_mm(found, phantom, "L1") < 2
    assert found.spine.warnings == ("No outline could be drawn for L1; only the centre is given.",)
