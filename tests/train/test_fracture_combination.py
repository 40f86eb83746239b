"""Weights, curves and intervals found again on made-up evidence."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from spinelab.tasks.fracture_network import rise, to_logit
from spinelab.train.fracture_combination import Evidence, _weigh, fit_combination

pytestmark = pytest.mark.train


def evidence(geometry_sd, network_sd, *, count=3000, slices=(1.5, 2.5, 5.0)):
    rng = np.random.default_rng(0)
    truth = np.where(rng.random(count) < 0.4, rng.uniform(5, 60, count), 0.0)
    slice_mm = rng.choice(slices, count)

    def read(sd):
        return truth + rng.normal(0, 1, count) * (sd(slice_mm) if callable(sd) else sd)

    geometry, network = read(geometry_sd), read(network_sd)
    spread = np.full(count, 4.0)
    return Evidence(
        truth, slice_mm, geometry, network, spread, rise((geometry - 20) / 3), rise((network - 20) / 3)
    )


def test_a_hopeless_network_gets_no_weight():
    share = fit_combination(evidence(1.0, 40.0)).network_share
    assert rise(np.array(share[0] + 2.5 * share[1])) < 0.1


def test_the_better_reader_of_thick_slices_is_trusted_there():
    found = fit_combination(evidence(lambda mm: np.where(mm > 3, 12.0, 1.0), 4.0))
    thin, thick = (
        float(rise(np.array(found.network_share[0] + found.network_share[1] * mm))) for mm in (1.5, 5)
    )
    assert thin < 0.3
    assert thick > 0.7


def test_a_network_that_tells_too_much_is_put_right():
    seen = evidence(30.0, 1.0)
    biased = replace(seen, network_percent=10 + 0.8 * seen.network_percent)
    slope, offset = fit_combination(biased).network_line
    assert slope == pytest.approx(1 / 0.8, abs=0.1)
    assert offset == pytest.approx(-10 / 0.8, abs=2)


def test_together_they_err_less_than_apart():
    seen = evidence(6.0, 6.0)
    found = fit_combination(seen)
    told = found.tell_loss(seen.network_percent)
    joint = found.weigh_loss(seen.geometry_percent, told, seen.slice_mm)
    error = np.abs(joint - seen.truth_percent).mean()
    assert error < 0.85 * np.abs(seen.geometry_percent - seen.truth_percent).mean()


def test_intervals_hold_nine_in_ten():
    seen = evidence(5.0, 5.0)
    found = fit_combination(seen)
    off = np.abs(found.tell_loss(seen.network_percent) - seen.truth_percent)
    weight = _weigh(seen.truth_percent > 0, 0.5)
    assert weight @ (off <= found.network_spread * 4.0) == pytest.approx(0.9, abs=0.02)
    assert found.joint_spread < 1.05 * found.network_spread


def test_probabilities_are_those_of_one_in_ten():
    seen = evidence(5.0, 5.0, count=20000)
    found = fit_combination(seen)
    grave = seen.truth_percent >= 20
    weight = _weigh(grave, 0.1)
    given = found.judge(seen.geometry, seen.network)
    assert weight @ given == pytest.approx(0.1, abs=0.02)
    sure = given > 0.8
    assert (weight[sure] @ grave[sure]) / weight[sure].sum() > 0.75
    assert np.all(np.array(found.joint_curve[:2]) >= 0)
    alone = found.judge_alone(seen.network)
    assert np.corrcoef(to_logit(alone), to_logit(seen.network))[0, 1] > 0.99
