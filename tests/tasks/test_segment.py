"""Segmentation end to end on phantoms, the networks stood in for by formulas of the image."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from spinelab import models
from spinelab.anatomy import level
from spinelab.errors import ModalityError, ModelError
from spinelab.tasks import segment as task
from spinelab.tasks.frames import OUTLINE_SHAPE
from spinelab.tasks.locate import upright
from spinelab.tasks.outline import Patch
from spinelab.tasks.segment import SegmentOptions, segment
from spinelab.volume import Image
from tests.phantom import make_phantom
from tests.tasks.volumes import grid, network, outline_nearest_body

LEVELS = ("T11", "T12", "L1", "L2", "L3")


def locate_truth(hu, *, phantom, names):
    """Knows where the bodies of `names` are; sees them only where the window shows them."""
    geometry = upright(phantom.image, 3.0).geometry
    world = geometry.index_to_world(np.stack(np.indices(hu.shape[2:]), -1))
    heat = np.zeros(hu.shape[2:])
    levels = np.full((26, *hu.shape[2:]), 0.001)
    for name in names:
        distance = np.linalg.norm(world - phantom.truth[name].center_mm, axis=-1)
        heat = np.maximum(heat, 0.9 * np.exp(-(distance**2) / 50))
        levels[level(name).label - 1][distance < 15] = 1
    tissue = np.zeros((1, 4, *hu.shape[2:]), np.float32)
    tissue[0, 0] = 1
    cells = levels[:, ::2, ::2, ::2][None]
    return [heat[None, None].astype(np.float32), tissue, cells.astype(np.float32)]


@pytest.fixture
def stand_in(monkeypatch):
    """Puts formulas in place of the shipped networks; returns what `load` was asked for."""

    def put(phantom, names):
        asked = []
        nets = {
            "locate": network("locate", partial(locate_truth, phantom=phantom, names=names)),
            "outline": network("outline", outline_nearest_body),
        }

        def load(name, *, folder=None, device="cpu", threads=0):
            asked.append((name, folder, device, threads))
            return nets[name]

        monkeypatch.setattr(models, "load", load)
        return asked

    return put


def dice(found, truth, name):
    a, b = found.mask.array == level(name).label, truth.mask.array == level(name).label
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize(
    ("codes", "oblique", "gantry", "spacing"),
    [
        ("LPS", (0, 0, 0), 0, (1.5, 1.5, 1.5)),
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
        assert np.linalg.norm(np.array(vertebra.center_mm) - phantom.truth[name].center_mm) < 2
        assert vertebra.detection == pytest.approx(0.85, abs=0.08)
        assert dice(found, phantom, name) > 0.85
    assert found.spine.warnings == ()
    assert found.spine.numbering.probability > 0.5
    assert set(found.seconds) == {"locate", "walk", "outline"}
    assert all(value >= 0 for value in found.seconds.values())


def test_a_vertebra_cut_at_each_end_is_outlined_and_flagged(stand_in):
    phantom = make_phantom(levels=LEVELS, cut_mm=(17.0, 19.0))
    stand_in(phantom, LEVELS[1:-1])
    found = segment(phantom.image)
    assert found.spine.levels == LEVELS
    for name in (LEVELS[0], LEVELS[-1]):
        vertebra = found.spine[name]
        assert not vertebra.complete
        assert vertebra.detection is None
        assert {"cut", "centre inferred"} <= set(vertebra.flags)
        assert dice(found, phantom, name) > 0.6
    assert all(found.spine[name].complete for name in LEVELS[1:-1])


def test_cut_vertebrae_are_left_out_on_request(stand_in):
    phantom = make_phantom(levels=LEVELS, cut_mm=(17.0, 19.0))
    stand_in(phantom, LEVELS[1:-1])
    found = segment(phantom.image, SegmentOptions(partial=False))
    assert found.spine.levels == LEVELS[1:-1]
    assert found.mask.labels() == tuple(level(name).label for name in LEVELS[1:-1])


def test_a_body_cut_below_its_centre_is_not_complete_though_it_was_detected(stand_in):
    phantom = make_phantom(levels=LEVELS, cut_mm=(-15.0, 6.0))
    stand_in(phantom, LEVELS)
    found = segment(phantom.image)
    assert found.spine.levels == LEVELS
    assert found.spine["L3"].flags == ("cut",)
    assert not found.spine["L3"].complete
    assert found.spine["L2"].complete


def test_nothing_is_made_up_beyond_the_ends_where_no_bone_is(stand_in):
    phantom = make_phantom(levels=LEVELS, cut_mm=(-60.0, -60.0))
    stand_in(phantom, LEVELS)
    assert segment(phantom.image).spine.levels == LEVELS


def test_a_missed_end_is_inferred_and_said_to_be(stand_in):
    phantom = make_phantom(levels=LEVELS, cut_mm=(-15.0, -25.0))
    stand_in(phantom, LEVELS[:-1])
    found = segment(phantom.image)
    assert found.spine.levels == LEVELS
    assert found.spine["L3"].flags == ("centre inferred",)
    assert found.spine["L3"].complete
    assert found.spine.warnings == ("L3: not seen by the detector, inferred from the neighbours.",)


def test_a_missed_one_between_is_inferred(stand_in):
    levels = ("T10", "T11", "T12", "L1", "L2", "L3")
    phantom = make_phantom(levels=levels, spacing_mm=(2.0, 2.0, 2.0))
    stand_in(phantom, [name for name in levels if name != "T12"])
    found = segment(phantom.image)
    assert found.spine.levels == levels
    assert found.spine["T12"].detection is None
    assert "T12: not seen by the detector, inferred from the neighbours." in found.spine.warnings


def test_a_scan_without_a_spine_gives_none_and_says_so(stand_in):
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=(3.0, 3.0, 3.0))
    stand_in(phantom, ())
    found = segment(phantom.image)
    assert found.spine.vertebrae == ()
    assert found.spine.numbering is None
    assert found.spine.warnings == ("No vertebra was found in this scan.",)
    assert not found.mask.array.any()
    assert found.mask.array.shape == phantom.image.array.shape
    assert set(found.seconds) == {"locate", "walk", "outline"}


def test_the_sacrum_names_the_last_vertebra_and_is_not_outlined(stand_in):
    levels = ("L3", "L4", "L5", "S")
    phantom = make_phantom(levels=levels, spacing_mm=(2.0, 2.0, 2.0))
    stand_in(phantom, levels)
    found = segment(phantom.image)
    assert found.spine.levels == ("L3", "L4", "L5")
    assert 26 not in found.mask.labels()


def test_a_chain_of_the_sacrum_alone_is_no_vertebra(stand_in, monkeypatch):
    phantom = make_phantom(levels=("L4", "L5", "S"), spacing_mm=(3.0, 3.0, 3.0))
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
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=(3.0, 3.0, 3.0))
    asked = stand_in(phantom, ())
    with pytest.raises(ModalityError, match="segment reads CT, this image is MR; give a CT in HU"):
        segment(replace(phantom.image, modality="MR"))
    assert asked == []


def test_options_reach_the_networks(stand_in, tmp_path):
    phantom = make_phantom(levels=LEVELS, spacing_mm=(3.0, 3.0, 3.0))
    asked = stand_in(phantom, LEVELS)
    segment(phantom.image, SegmentOptions(threads=3, device="cuda", weights=tmp_path))
    assert asked == [("locate", tmp_path, "cuda", 3), ("outline", tmp_path, "cuda", 3)]


def test_a_folder_without_weights_is_refused(tmp_path):
    image = Image(np.zeros((8, 8, 8), np.int16), grid((8, 8, 8), (3.0, 3.0, 3.0)), "CT")
    with pytest.raises(ModelError, match=r"no readable weights.json in mine"):
        segment(image, SegmentOptions(weights=tmp_path / "mine"))


def test_progress_runs_from_locating_to_the_end_of_outlining(stand_in):
    phantom = make_phantom(levels=LEVELS, spacing_mm=(3.0, 3.0, 3.0))
    stand_in(phantom, LEVELS)
    told = []
    segment(phantom.image, progress=lambda stage, fraction: told.append((stage, round(fraction, 3))))
    assert told[0] == ("locate", 0.0)
    assert told[-1] == ("outline", 1.0)
    outline = [fraction for stage, fraction in told if stage == "outline"]
    assert outline == sorted(outline)
    assert len(outline) == len(LEVELS) + 1
    assert next(fraction for stage, fraction in told if stage == "walk") == 0.0


def test_a_vertebra_the_network_does_not_outline_keeps_its_centre_and_a_warning(stand_in, monkeypatch):
    phantom = make_phantom(levels=LEVELS, spacing_mm=(3.0, 3.0, 3.0))
    stand_in(phantom, LEVELS)
    outline_one = task.outline_one

    def blind_to_l1(image, net, *, center_mm, frame, others_mm):
        if np.linalg.norm(center_mm - phantom.truth["L1"].center_mm) < 5:
            nothing = np.zeros(OUTLINE_SHAPE, np.float32)
            return Patch(nothing, center_mm, frame, np.ones(OUTLINE_SHAPE, bool))
        return outline_one(image, net, center_mm=center_mm, frame=frame, others_mm=others_mm)

    monkeypatch.setattr(task, "outline_one", blind_to_l1)
    found = segment(phantom.image)
    assert found.spine.levels == LEVELS
    assert found.spine["L1"].flags == ("no outline",)
    assert not found.spine["L1"].complete
    assert found.spine.warnings == ("No outline could be drawn for L1; only the centre is given.",)
