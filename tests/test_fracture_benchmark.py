"""What benchmarks/fracture_geometry.py counts, by examples counted by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest

from spinelab.spine import Fracture, Heights
from spinelab.volume import Geometry, Image, Mask

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import fracture_geometry as benchmark  # noqa: E402
import fracture_networks as networks  # noqa: E402


def answer(truth, found, grade, *, shape="wedge", probability=0.5, error=None):
    fracture = Fracture(True, probability, grade, None, found, (found - 5, found + 5), "neighbours")
    return benchmark.Answer("real", 2.5, shape, truth, fracture, error)


def test_kappa_of_perfect_chance_and_partly_wrong_grades():
    assert benchmark.weigh_kappa([0, 1, 2, 3], [0, 1, 2, 3]) == 1.0
    assert benchmark.weigh_kappa([0, 0, 3, 3], [0, 3, 0, 3]) == pytest.approx(0.0)
    # one of four off by one (weight 1); by chance 32 / 4 = 8
    assert benchmark.weigh_kappa([0, 1, 2, 3], [0, 1, 2, 2]) == pytest.approx(1 - 1 / 8)


def test_scores_of_four_answers():
    answers = [
        answer(0.0, 2.0, 0, shape="none", probability=0.0),
        answer(30.0, 33.0, 2, probability=1.0, error=1.0),
        answer(50.0, 40.0, 3, probability=1.0, error=-3.0),
        benchmark.Answer("real", 2.5, "wedge", 40.0, Fracture(False, reasons=("heights not readable",))),
    ]
    score = benchmark.score(answers)
    assert (score.bodies, score.refused) == (3, 1)
    assert score.error_percent == pytest.approx(5.0)
    assert score.bias_percent == pytest.approx(-5 / 3)
    assert score.ratio_error == pytest.approx(2.0)
    assert (score.sensitivity, score.specificity) == (1.0, 1.0)
    assert score.brier == 0.0
    assert score.covered == pytest.approx(2 / 3)


def test_the_height_that_lost_most_is_the_truth():
    assert benchmark.lost_percent(Heights(20, 20, 20), Heights(18, 10, 20)) == pytest.approx(50)


def test_thicker_slices_keep_what_lies_where():
    array = np.zeros((4, 4, 30), np.uint8)
    array[:, :, 10:20] = 20
    mask = Mask(array, Geometry.from_spacing(array.shape, (1, 1, 1)))
    thick = benchmark.thicken(mask, 2.5)
    assert thick.spacing_mm[2] == pytest.approx(2.5)
    assert (thick.array == 20).any(axis=(0, 1)).sum() == 4
    middle = np.argwhere(thick.array == 20).mean(axis=0)
    assert thick.geometry.index_to_world(middle)[2] == pytest.approx(14.5, abs=0.6)
    assert benchmark.thicken(thick, 1.5) is None


def test_a_crop_keeps_every_voxel_of_the_column_in_its_place():
    array = np.zeros((90, 90, 90), np.uint8)
    array[40:50, 40:50, 40:50] = 20
    mask = Mask(array, Geometry.from_spacing(array.shape, (1, 1, 1)))
    small = benchmark.crop_to_column(mask)
    assert small.array.shape == (40, 40, 40)
    first = np.argwhere(small.array == 20)[0]
    assert small.geometry.index_to_world(first) == pytest.approx(mask.geometry.index_to_world([40, 40, 40]))


def test_alarms_are_counted_with_what_a_look_said():
    true, false = (
        ("verse_009", "T5", answer(0, 59.0, 3).fracture),
        ("bdmap_06", "T2", answer(0, 22.0, 1).fracture),
    )
    lines = benchmark.render_alarms([true, false], 50)
    assert lines[0] == (
        "Outlines as they are: 50 bodies read, 2 graded 1 to 3, of these 1 false: "
        "1 false alarms in 49 unaltered bodies."
    )
    assert "flattened" in lines[4]


def test_no_person_is_both_tuned_on_and_reported():
    named = [*benchmark.CT_MASKS, *benchmark.LABEL_MAPS]
    train, held_out = ({n for n in named if benchmark.is_in_split(n, s)} for s in ("train", "held-out"))
    assert {"verse_005", "totalseg_abdomen", "bdmap_31"} <= held_out
    assert {"sample001", "verse_009"} <= train
    assert not train & held_out
    assert not set(networks.CASES) & train


def test_averaged_slices_are_means_of_what_lies_in_them():
    array = np.broadcast_to(np.array([0, 10, 20, 30, 40, 50, 60], np.int16), (2, 2, 7))
    thin = Image(np.ascontiguousarray(array), Geometry.from_spacing((2, 2, 7), (1, 1, 1)), "CT")
    thick = networks.average(thin, 2.0, 1.0)
    assert thick.array[0, 0].tolist() == [15, 35, 55]
    assert thick.geometry.index_to_world(np.zeros(3))[2] == pytest.approx(1.5)
    assert networks.average(thin, 2.5, 0.0).array[0, 0].tolist() == [8, 32]  # halves of 20 in each


def test_errors_of_heights_by_slices_ways_and_collapse():
    answers = [
        networks.Answer(way, slice_mm, collapsed, errors)
        for slice_mm in networks.SLICES_MM
        for collapsed in (False, True)
        for way, errors in (("mask", (2.0, -4.0, 0.0)), ("outlines", (1.0, 1.0, 1.0)))
    ]
    lines = networks.render([*answers, networks.Answer("mask", 5.0, True, None)])
    assert lines[-2] == "| 5.0 | collapsed | mask | 1 (1) | 2.0 | 3.6 | +2.0, -4.0, +0.0 |"
    assert lines[-1] == "| 5.0 | collapsed | outlines | 1 (0) | 1.0 | 1.0 | +1.0, +1.0, +1.0 |"
