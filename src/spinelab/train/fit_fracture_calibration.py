"""Fits how sure a height loss makes a collapse (`spinelab/data/fracture_calibration.json`).

Run ``python -m spinelab.train.fit_fracture_calibration``; it needs no data. Columns are drawn from the
spreads of `spinelab.measurement.height_profile`, one body in ten is collapsed by 10 to 60 %, heights are
blurred as slices of 1 to 5 mm blur them (with the long tails masks have), and everything is graded as a scan
would be.
What is written are two logistic curves, from the standard deviations by which the chosen reading exceeds 20 %
to "20 % or more are truly missing", and from those by which it exceeds 0 to "anything is missing". The second
scales the loss that is reported; how rare collapse is belongs to the probability alone, so there both weigh
alike.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from spinelab.measurement.height_profile import (
    DEFINITION_SD_LOG,
    HeightProfile,
    Quantity,
    height_profile,
)
from spinelab.spine import Heights, Spine, Vertebra
from spinelab.tasks.fracture import choose, gather_column, height_sd_mm, read_heights

Array = NDArray[np.float64]
COLUMNS, SEED = 1200, 20261121
COLLAPSED_SHARE, GRAVE = 0.1, 0.2
LOSS_RANGE = (0.1, 0.6)
SLICES_MM = (1.0, 1.5, 2.5, 3.0, 5.0)
#: Height of posterior L1 in mm and its spread (log) among people.
L1_MM, L1_SD_LOG = 26.0, 0.08
FEWEST = 4
#: Degrees of freedom of the blur (Student): masks err badly now and then.
TAILS = 4
#: By how much anterior, middle, posterior height fall with the one that falls most.
SHAPES = {"wedge": (1.0, 0.5, 0.0), "biconcave": (0.2, 1.0, 0.2), "crush": (1.0, 0.95, 0.9)}


def draw_column(rng: np.random.Generator, profile: HeightProfile) -> tuple[Spine, dict[str, float]]:
    """Draws a measured column.

    Returns:
        Vertebrae with mid-sagittal heights and slice distance, and for each level the share of height lost by
        the height that lost most.
    """
    names = list(profile.places)
    length = int(rng.integers(FEWEST, len(names) + 1))
    start = int(rng.integers(0, len(names) - length + 1))
    chosen = names[start : start + length]
    posterior = np.log(L1_MM) + rng.normal(0, L1_SD_LOG) + _draw(rng, profile, "posterior", chosen)
    anterior = posterior + _draw(rng, profile, "anterior_to_posterior", chosen)
    middle = posterior + _draw(rng, profile, "middle_to_posterior", chosen)
    heights = np.exp(np.stack([anterior, middle, posterior], axis=1))
    slice_mm = float(rng.choice(SLICES_MM))
    lost = {}
    for row, name in enumerate(chosen):
        share = float(rng.uniform(*LOSS_RANGE)) if rng.random() < COLLAPSED_SHARE else 0.0
        shape = SHAPES[str(rng.choice(list(SHAPES)))]
        heights[row] *= 1 - share * np.array(shape)
        lost[name] = share
    blur = height_sd_mm(slice_mm) / np.sqrt(TAILS / (TAILS - 2))
    heights += blur * rng.standard_t(TAILS, heights.shape)
    heights = np.clip(heights, 2.0, None)
    vertebrae = tuple(
        Vertebra(
            name,
            (0.0, 0.0, -30.0 * row),
            1.0,
            heights_mm=Heights(*(float(v) for v in heights[row])),
            slice_mm=slice_mm,
        )
        for row, name in enumerate(chosen)
    )
    return Spine(vertebrae), lost


def fit(columns: int = COLUMNS, seed: int = SEED) -> dict[str, Any]:
    """Returns the curves as JSON data."""
    rng, profile = np.random.default_rng(seed), height_profile()
    readings, truths = [], []
    for _ in range(columns):
        spine, lost = draw_column(rng, profile)
        column = gather_column(spine)
        for name in column.names:
            readings.append(choose(read_heights(column, name, profile)))
            truths.append(lost[name])
    truth = np.array(truths)
    return {
        "about": "logistic curves from standard deviations to probabilities, on simulated columns alone",
        "fitted_by": "python -m spinelab.train.fit_fracture_calibration",
        "bodies": len(truth),
        "collapsed_share": COLLAPSED_SHARE,
        "grave": _fit_curve(np.array([loss.score for loss in readings]), truth >= GRAVE),
        "any": _fit_curve(np.array([-loss.log / loss.sd for loss in readings]), truth > 0, even=True),
    }


def _fit_curve(score: Array, truth: NDArray[np.bool_], *, even: bool = False) -> dict[str, float]:
    """Fits a logistic curve; `even` weighs both classes alike, as if one body in two had lost height."""
    sign = np.where(truth, -1.0, 1.0)
    weight = np.where(truth, 0.5 / truth.mean(), 0.5 / (1 - truth.mean())) if even else np.ones(len(truth))

    def cost(curve: Array) -> float:
        return float((weight * np.logaddexp(0, sign * (curve[0] * score + curve[1]))).mean())

    slope, offset = optimize.minimize(cost, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return {"slope": round(float(slope), 4), "offset": round(float(offset), 4)}


def main() -> None:
    """Writes `spinelab/data/fracture_calibration.json`."""
    target = Path(__file__).resolve().parents[1] / "data" / "fracture_calibration.json"
    target.write_text(json.dumps(fit(), indent=1) + "\n", encoding="utf-8")


def _draw(rng: np.random.Generator, profile: HeightProfile, quantity: Quantity, names: list[str]) -> Array:
    """Draws the log of a quantity along a column: expected, person, what neighbours share, own."""
    spread = profile.spread[quantity]
    places = np.array([profile.places[name] for name in names])
    shared = spread.shared_sd**2 * spread.fade ** np.abs(places[:, None] - places[None, :])
    doubt = np.array([profile.doubt_sd_log[int(place)] for place in places])
    covariance = shared + np.diag(spread.own_sd**2 + doubt**2)
    expected = np.array([profile.expect(name, quantity) for name in names])
    beside = DEFINITION_SD_LOG if "_to_" in quantity else 0.0
    person = rng.normal(0, np.hypot(spread.person_sd, beside))
    return np.asarray(expected + person + rng.multivariate_normal(np.zeros(len(names)), covariance))


if __name__ == "__main__":
    main()
