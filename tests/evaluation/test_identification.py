"""Counted by hand on four vertebrae 30 mm apart."""

import pytest

from spinelab.evaluation.identification import (
    distances_mm,
    found_whatever_the_name,
    strict_hits,
    verse_hits,
)

TRUTH = {20: (0.0, 0.0, 0.0), 21: (0.0, 0.0, -30.0), 22: (0.0, 0.0, -60.0), 23: (0.0, 0.0, -90.0)}


def moved(z_mm, labels=(20, 21, 22, 23)):
    return {label: (0.0, 0.0, TRUTH[label][2] + z_mm) for label in labels}


@pytest.mark.parametrize("rule", [verse_hits, strict_hits])
def test_a_perfect_reading_hits_all(rule):
    assert rule(TRUTH, moved(0)) == {20, 21, 22, 23}


@pytest.mark.parametrize("rule", [verse_hits, strict_hits])
def test_twenty_millimetres_is_still_right_and_more_is_not(rule):
    sideways = {20: (20.0, 0.0, 0.0), 21: (20.1, 0.0, -30.0)}
    assert rule(TRUTH, sideways) == {20}


@pytest.mark.parametrize("rule", [verse_hits, strict_hits])
def test_names_one_too_high_hit_nothing(rule):
    shifted = {label + 1: TRUTH[label] for label in (20, 21, 22)}
    assert rule(TRUTH, shifted) == frozenset()


def test_verse_forgives_a_nearer_vertebra_that_was_not_predicted_and_the_strict_rule_does_not():
    # L1 predicted 16 mm down: L2 is nearer (14 mm), but L2 was not predicted.
    prediction = moved(-16, labels=(20,))
    assert verse_hits(TRUTH, prediction) == {20}
    assert strict_hits(TRUTH, prediction) == frozenset()


def test_invented_labels_cost_verse_nothing():
    assert verse_hits(TRUTH, {**moved(0), 24: (0.0, 0.0, 500.0)}) == {20, 21, 22, 23}


@pytest.mark.parametrize("rule", [verse_hits, strict_hits, distances_mm, found_whatever_the_name])
def test_nothing_in_nothing_out(rule):
    assert not rule(TRUTH, {})
    assert not rule({}, TRUTH)


def test_distances_are_between_equal_names():
    assert distances_mm(TRUTH, {20: (3.0, 4.0, 0.0), 24: (0.0, 0.0, 0.0)}) == {20: 5.0}


def test_place_alone_pairs_shifted_names_one_to_one():
    shifted = {label + 1: TRUTH[label] for label in (20, 21, 22)}
    assert found_whatever_the_name(TRUTH, shifted) == {20: 21, 21: 22, 22: 23}


def test_one_prediction_counts_for_one_reference_only():
    # 15 mm from both: it can stand for one of them.
    assert len(found_whatever_the_name(TRUTH, {20: (0.0, 0.0, -15.0)})) == 1


def test_beyond_the_tolerance_is_not_found():
    assert found_whatever_the_name(TRUTH, {20: (0.0, 21.0, 0.0)}) == {}
