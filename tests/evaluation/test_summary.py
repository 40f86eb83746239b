"""Pooled figures by hand, and intervals that mean something."""

import json

import pytest

from spinelab.errors import InputError
from spinelab.evaluation import METRICS, EvaluateOptions, Reading, evaluate, summarize

POINTS = {label: (0.0, 0.0, -30.0 * label) for label in range(18, 25)}


def reading(*labels, shift_mm=0.0):
    return Reading({label: (shift_mm, 0.0, POINTS[label][2]) for label in labels})


GOOD = evaluate(reading(20, 21, 22, 23), reading(20, 21, 22, 23, shift_mm=2.0), name="good")
HALF = evaluate(reading(20, 21), reading(20, shift_mm=6.0), name="half")


def test_pooled_figures():
    metrics = summarize([GOOD, HALF]).metrics
    assert set(metrics) == set(METRICS)
    assert metrics["id_rate"].value == pytest.approx(5 / 6)
    assert metrics["id_rate_scan_mean"].value == pytest.approx((1 + 0.5) / 2)
    assert metrics["recall"].value == pytest.approx(5 / 6)
    assert metrics["precision"].value == 1.0
    assert metrics["found"].value == pytest.approx(5 / 6)
    assert metrics["all_right"].value == 0.5
    assert metrics["distance_mm"].value == pytest.approx((4 * 2 + 6) / 5)
    assert metrics["dice"].value is None


def test_intervals_hold_the_worst_and_best_scan_of_two():
    interval = summarize([GOOD, HALF]).metrics["id_rate"]
    assert (interval.low, interval.high) == (0.5, 1.0)


def test_one_scan_has_no_spread():
    interval = summarize([HALF]).metrics["id_rate"]
    assert (interval.low, interval.value, interval.high) == (0.5, 0.5, 0.5)


def test_the_seed_fixes_the_interval():
    scans = [GOOD, HALF] * 6 + [evaluate(reading(20), reading(21))]
    first = summarize(scans, options=EvaluateOptions(seed=1))
    assert first.metrics == summarize(scans, options=EvaluateOptions(seed=1)).metrics
    assert first.metrics["recall"] != summarize(scans, options=EvaluateOptions(seed=2)).metrics["recall"]


def test_no_resamples_no_interval():
    interval = summarize([GOOD], options=EvaluateOptions(resamples=0)).metrics["recall"]
    assert (interval.value, interval.low, interval.high) == (1.0, None, None)


def test_invented_vertebrae_in_an_empty_scan_lower_the_precision():
    empty = evaluate(Reading({}), reading(20), name="empty")
    metrics = summarize([GOOD, empty]).metrics
    assert metrics["precision"].value == pytest.approx(4 / 5)
    assert metrics["recall"].value == 1.0
    assert metrics["id_rate_scan_mean"].value == 1.0


def test_the_summary_is_strict_json():
    text = json.dumps(summarize([GOOD, HALF]).to_dict(), allow_nan=False)
    assert json.loads(text)["n_vertebrae"] == 6


def test_no_scan_is_refused():
    with pytest.raises(InputError, match="no scan to summarize; give at least one pair"):
        summarize([])
