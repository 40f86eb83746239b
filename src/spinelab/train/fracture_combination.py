"""Fits how geometry and network are weighed, on simulated columns of patients the network has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from spinelab.tasks.fracture import GRADES_FROM_PERCENT
from spinelab.tasks.fracture_network import Combination, rise, to_logit
from spinelab.train.fit_fracture_calibration import COLLAPSED_SHARE

Array = NDArray[np.float64]
#: What an interval is to hold.
INTERVAL = 0.9
#: Weights of the network tried, as (offset, slope a mm): from geometry alone to the network alone.
_OFFSETS, _SLOPES = np.linspace(-4, 4, 33), np.linspace(-0.4, 1.2, 17)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What both readers said of bodies whose loss is known, each (n,).

    Attributes:
        truth_percent: Height lost by the height that lost most.
        slice_mm: Distance of the slices.
        geometry_percent, network_percent: Read.
        spread_percent: Of the network.
        geometry, network: Raw probabilities.
    """

    truth_percent: Array
    slice_mm: Array
    geometry_percent: Array
    network_percent: Array
    spread_percent: Array
    geometry: Array
    network: Array


def gather_evidence(rows: Sequence[dict[str, Any]], lost: Array, spread: Array, grave: Array) -> Evidence:
    """Collects what both said: measured samples, the network's (n, 4) loss and spread, (n,) probability."""
    return Evidence(
        np.array([row["most_percent"][0] for row in rows]),
        np.array([row["slice_mm"] for row in rows]),
        np.array([row["geometry"]["height_loss_percent"] for row in rows]),
        np.clip(lost[:, 3], 0, 100),
        spread[:, 3],
        np.array([row["geometry"]["probability"] for row in rows]),
        grave,
    )


def fit_combination(seen: Evidence) -> Combination:
    """Fits weights by the mean absolute error, curves by likelihood, intervals by how many they hold.

    In the loss, collapsed and intact bodies weigh alike; in the probability, one body in ten has collapsed,
    as in the calibration of geometry.
    """
    collapsed = seen.truth_percent > 0
    even = _weigh(collapsed, 0.5)
    line = _fit_line(seen, even)
    draft = Combination(line, (0.0, 0.0), (1.0, 0.0), (0.5, 0.5, 0.0), 1.0, 1.0)
    told = draft.tell_loss(seen.network_percent)
    share = _fit_share(seen, told, even)
    grave = seen.truth_percent >= GRADES_FROM_PERCENT[0]
    rare = _weigh(grave, COLLAPSED_SHARE)
    network = to_logit(seen.network)[:, None]
    both = np.column_stack([to_logit(seen.geometry), network])
    joint = replace(draft, network_share=share).weigh_loss(seen.geometry_percent, told, seen.slice_mm)
    alone, together = _fit_logistic(network, grave, rare), _fit_logistic(both, grave, rare)
    return Combination(
        line,
        share,
        (float(alone[0]), float(alone[1])),
        (float(together[0]), float(together[1]), float(together[2])),
        _widen(told, seen, even),
        _widen(joint, seen, even),
    )


def _weigh(positive: NDArray[np.bool_], share: float) -> Array:
    """Returns weights that give the positive ones a share of the whole."""
    one, other = max(positive.sum(), 1), max((~positive).sum(), 1)
    return np.asarray(np.where(positive, share / one, (1 - share) / other), np.float64)


def _fit_line(seen: Evidence, weight: Array) -> tuple[float, float]:
    """Returns slope and offset of the network's loss with the least error."""

    def error(line: Array) -> float:
        told = np.clip(line[0] * seen.network_percent + line[1], 0, 100)
        return float(weight @ np.abs(told - seen.truth_percent))

    starts = [(slope, offset) for slope in (0.7, 1.0, 1.5, 2.5) for offset in (-15.0, -5.0, 0.0)]
    found = [optimize.minimize(error, start, method="Nelder-Mead") for start in starts]
    slope, offset = min(found, key=lambda one: float(one.fun)).x
    return (float(slope), float(offset))


def _fit_share(seen: Evidence, network_percent: Array, weight: Array) -> tuple[float, float]:
    """Returns offset and slope of the network's weight with the least error."""
    best, found = np.inf, (0.0, 0.0)
    for offset in _OFFSETS:
        for slope in _SLOPES:
            share = rise(offset + slope * seen.slice_mm)
            joint = share * network_percent + (1 - share) * seen.geometry_percent
            error = float(weight @ np.abs(joint - seen.truth_percent))
            if error < best - 1e-9:
                best, found = error, (float(offset), float(slope))
    return found


def _fit_logistic(inputs: Array, truth: NDArray[np.bool_], weight: Array) -> Array:
    """Returns weights of (n, k) inputs and offset of a logistic curve; no weight is below 0."""
    sign = np.where(truth, -1.0, 1.0)

    def cost(curve: Array) -> float:
        value = inputs @ curve[:-1] + curve[-1]
        return float(weight @ np.logaddexp(0, sign * value)) + 1e-3 * float(curve @ curve)

    start = np.array([*[1.0 / inputs.shape[1]] * inputs.shape[1], 0.0])
    bounds = [*[(0.0, None)] * inputs.shape[1], (None, None)]
    return np.asarray(optimize.minimize(cost, start, method="L-BFGS-B", bounds=bounds).x)


def _widen(percent: Array, seen: Evidence, weight: Array) -> float:
    """Returns how many spreads hold the truth as often as an interval should."""
    off = np.abs(percent - seen.truth_percent) / np.maximum(seen.spread_percent, 0.1)
    order = np.argsort(off)
    reached = np.cumsum(weight[order]) / weight.sum()
    return round(float(off[order][min(int(np.searchsorted(reached, INTERVAL)), len(off) - 1)]), 3)
