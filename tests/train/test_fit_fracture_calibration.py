"""Simulated columns, and the curves fitted on them."""

import numpy as np
import pytest

from spinelab.measurement.height_profile import height_profile
from spinelab.train.fit_fracture_calibration import FEWEST, SLICES_MM, _fit_curve, draw_column, fit


def test_a_column_is_drawn_with_what_was_taken_from_it():
    rng = np.random.default_rng(5)
    drawn = [draw_column(rng, height_profile()) for _ in range(60)]
    for spine, lost in drawn:
        assert spine.levels == tuple(lost)
        assert len(lost) >= FEWEST
        assert spine.vertebrae[0].slice_mm in SLICES_MM
    losses = [loss for _, lost in drawn for loss in lost.values()]
    assert 0.05 < np.mean(np.array(losses) > 0) < 0.15
    assert max(losses) <= 0.6
    assert min(loss for loss in losses if loss > 0) >= 0.1


def test_the_same_seed_gives_the_same_curves():
    first, second = fit(columns=8, seed=1), fit(columns=8, seed=1)
    assert first == second
    assert first["bodies"] >= 8 * FEWEST


def test_a_curve_gives_back_the_one_it_was_drawn_from():
    rng = np.random.default_rng(0)
    score = rng.uniform(-4, 4, 20000)
    truth = rng.random(20000) < 1 / (1 + np.exp(-(2 * score - 1)))
    curve = _fit_curve(score, truth)
    assert curve["slope"] == pytest.approx(2, abs=0.15)
    assert curve["offset"] == pytest.approx(-1, abs=0.15)


def test_even_weights_take_the_rarity_out():
    rng = np.random.default_rng(0)
    truth = rng.random(40000) < 0.1
    score = rng.normal(np.where(truth, 1.0, -1.0), 1.0)
    assert _fit_curve(score, truth)["offset"] == pytest.approx(np.log(0.1 / 0.9), abs=0.15)
    assert _fit_curve(score, truth, even=True)["offset"] == pytest.approx(0, abs=0.1)
