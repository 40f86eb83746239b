"""Whole scans scored by hand: cubes of 10 mm, 30 mm apart, on a 2 mm grid."""

import numpy as np
import pytest

from spinelab.errors import GeometryError, LabelError
from spinelab.evaluation import EvaluateOptions, Reading, evaluate
from spinelab.evaluation.reading import centers_of
from spinelab.volume import Geometry, Mask

GRID = Geometry.from_spacing((10, 10, 60), (2.0, 2.0, 2.0))


def mask(*cubes, geometry=GRID):
    """Cubes of 5 voxels: (label, first slice)."""
    array = np.zeros(geometry.shape, dtype=np.uint8)
    for label, k in cubes:
        array[2:7, 2:7, k : k + 5] = label
    return Mask(array, geometry)


TRUTH = mask((20, 45), (21, 30), (22, 15))


def test_centres_of_cubes():
    assert centers_of(TRUTH) == {20: (8.0, 8.0, 94.0), 21: (8.0, 8.0, 64.0), 22: (8.0, 8.0, 34.0)}


def test_a_reading_agrees_with_itself():
    scores = evaluate(TRUTH, TRUTH, name="case")
    assert (scores.name, scores.all_right, scores.invented, scores.left_out) == ("case", True, (), ())
    assert scores.predicted == ("L1", "L2", "L3")
    for vertebra in scores.vertebrae:
        assert (vertebra.dice, vertebra.hausdorff95_mm, vertebra.distance_mm) == (1.0, 0.0, 0.0)
        assert vertebra.verse_hit
        assert vertebra.identified
        assert vertebra.found_as == vertebra.level


def test_a_missed_vertebra_counts_zero_and_the_stated_penalty():
    scores = evaluate(TRUTH, mask((20, 45), (21, 30)), options=EvaluateOptions(missed_hausdorff_mm=40.0))
    missed = scores.vertebrae[2]
    assert (missed.level, missed.predicted, missed.found_as) == ("L3", False, None)
    assert (missed.dice, missed.hausdorff95_mm, missed.distance_mm) == (0.0, 40.0, None)
    assert not scores.all_right


def test_a_cube_moved_by_one_voxel():
    moved = evaluate(TRUTH, mask((20, 46), (21, 30), (22, 15))).vertebrae[0]
    assert moved.dice == pytest.approx(0.8)  # 4 of 5 slices shared
    assert moved.hausdorff95_mm == pytest.approx(2.0)
    assert moved.distance_mm == pytest.approx(2.0)


def test_names_one_too_low_are_found_under_other_names():
    scores = evaluate(TRUTH, mask((21, 45), (22, 30), (23, 15)))
    assert [v.found_as for v in scores.vertebrae] == ["L2", "L3", "L4"]
    assert not any(v.identified or v.verse_hit for v in scores.vertebrae)
    assert scores.vertebrae[1].dice == 0.0
    assert scores.invented == ()
    assert not scores.all_right


def test_an_invented_vertebra_is_named():
    scores = evaluate(mask((20, 45)), mask((20, 45), (24, 10)))
    assert scores.invented == ("L5",)
    assert not scores.all_right


def test_a_scan_without_a_spine_is_right_when_nothing_is_predicted():
    assert evaluate(Reading({}), Reading({})).all_right
    assert not evaluate(Reading({}), Reading({20: (0.0, 0.0, 0.0)})).all_right


def test_centres_alone_are_scored_without_outlines():
    scores = evaluate(Reading({20: (8.0, 8.0, 91.0)}), Reading.of_mask(mask((20, 45))))
    assert scores.vertebrae[0].distance_mm == 3.0
    assert scores.vertebrae[0].dice is None
    assert scores.vertebrae[0].hausdorff95_mm is None


def test_sacrum_and_coccyx_are_never_scored():
    scores = evaluate(mask((20, 45), (26, 10)), mask((20, 45), (27, 10)))
    assert scores.all_right
    assert scores.predicted == ("L1",)


def test_partial_vertebrae_are_dropped_only_on_request():
    cut = mask((20, 55), (21, 30), (22, 0))  # both ends touch the first or last slice
    prediction = mask((21, 30))
    assert not evaluate(cut, prediction).all_right
    dropped = evaluate(cut, prediction, options=EvaluateOptions(drop_partial=True))
    assert dropped.all_right
    assert dropped.left_out == ("L1", "L3")


def test_a_partial_prediction_is_dropped_only_where_the_reference_has_none():
    options = EvaluateOptions(drop_partial=True)
    assert evaluate(mask((21, 30)), mask((21, 30), (20, 55)), options=options).all_right
    kept = evaluate(mask((21, 30), (20, 50)), mask((21, 30), (20, 55)), options=options)
    assert [v.level for v in kept.vertebrae] == ["L1", "L2"]


def test_the_head_foot_axis_is_found_in_any_orientation():
    turned = mask((20, 55), (21, 30)).reoriented("IPL")
    assert Reading.of_mask(turned).partial == {20}


def test_masks_on_different_grids_are_refused():
    other = mask((20, 45), geometry=Geometry.from_spacing((10, 10, 60), (2.0, 2.0, 2.1)))
    with pytest.raises(GeometryError, match="are not on one grid; predict on the reference's own scan"):
        evaluate(TRUTH, other)


def test_labels_of_another_scheme_are_refused():
    with pytest.raises(LabelError, match=r"labels 50 are no VerSe vertebra numbers.*convert-labels"):
        evaluate(TRUTH, mask((50, 45)))
