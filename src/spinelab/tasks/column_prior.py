"""What a human column looks like before any picture is seen: spacing, turning and order of its levels.

Levels sit on *rungs*, one number a level from the head down: C1 = 0, T1 = 7, L1 = 19, L5 = 23, S1 = 24. The
rare T13 (18.5) and L6 (23.5) sit between their neighbours, which is also how they look. Distances are mm
between body centres; the statistics are those of ``spinelab/data/column_prior.json``, fitted by
`spinelab.train.fit_column_prior`.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinelab.anatomy import ORDER, level, levels_between
from spinelab.errors import LabelError

Float = NDArray[np.float64]

#: Above C1 and below S1 a peak may sit on the skull base or on lower sacral segments: never vertebrae.
SKULL, LOWER_SACRAL = "skull", ("S2", "S3", "S4")
#: Sizes of people against the mean adult, from infants to giants.
SIZES = (0.5, 1.3)
_USUAL = levels_between("C1", "L5")
RUNGS: dict[str, float] = {
    SKULL: -1.0,
    **{name: float(rung) for rung, name in enumerate(_USUAL)},
    "T13": 18.5,
    "L6": 23.5,
    "S": 24.0,
    **{name: 25.0 + rung for rung, name in enumerate(LOWER_SACRAL)},
}
#: Spacings at the ends that the tables cannot give, assumed wide: (rung between, mean mm, sd of the log).
_ASSUMED = ((-0.5, 18.0, 0.35), (24.5, 26.0, 0.2), (25.5, 22.0, 0.25), (26.5, 19.0, 0.3))


@dataclass(frozen=True, eq=False)
class ColumnPrior:
    """Statistics along the column.

    Attributes:
        between: (n,) rungs half-way between neighbours, increasing.
        log_mm: (n,) mean log distance between the centres of these neighbours (mm).
        sd_log: (n,) standard deviation of it between people.
        correlation_by_lag: (m,) correlation of log distances 0, 1, 2 ... pairs apart; the last goes on.
        turn_deg: (23,) root mean square angle by which the line of centres turns at rungs 1 to 23.
    """

    between: Float
    log_mm: Float
    sd_log: Float
    correlation_by_lag: Float
    turn_deg: Float

    def log_spacing(self, upper: Float, lower: Float) -> tuple[Float, Float]:
        """Returns mean and sd of the log distance (mm) between neighbours at rungs `upper` and `lower`.

        Args:
            upper: (n,) rungs of the upper of each two neighbours.
            lower: (n,) rungs of the lower.
        """
        middle = (np.asarray(upper) + np.asarray(lower)) / 2
        return np.interp(middle, self.between, self.log_mm), np.interp(middle, self.between, self.sd_log)

    def covariance(self, upper: Float, lower: Float) -> Float:
        """Returns the (n, n) covariance of the log distances of these pairs: size and shape of the person."""
        middle = (np.asarray(upper) + np.asarray(lower)) / 2
        lag = np.abs(middle[:, None] - middle[None, :])
        correlation = np.interp(lag, np.arange(len(self.correlation_by_lag)), self.correlation_by_lag)
        sd = np.interp(middle, self.between, self.sd_log)
        covariance: Float = correlation * sd[:, None] * sd[None, :]
        return covariance

    def turn(self, rung: float) -> float:
        """Returns the root mean square angle (degrees) of the turn of the line of centres at a rung."""
        return float(np.interp(rung, np.arange(1, len(self.turn_deg) + 1), self.turn_deg))


@lru_cache(maxsize=1)
def column_prior() -> ColumnPrior:
    """Returns the shipped prior (read once)."""
    text = files("spinelab").joinpath("data/column_prior.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    known = [pair for pair in data["pairs"] if pair["lower"] != "L6"]
    rows = [
        ((RUNGS[p["upper"]] + RUNGS[p["lower"]]) / 2, float(np.log(p["mean_mm"])), p["sd_log"]) for p in known
    ]
    rows += [(rung, float(np.log(mean)), sd) for rung, mean, sd in _ASSUMED]
    between, log_mm, sd_log = np.array(sorted(rows), dtype=np.float64).T
    turns = [
        np.sqrt(t["sagittal_mean_deg"] ** 2 + t["sagittal_sd_deg"] ** 2 + t["coronal_sd_deg"] ** 2)
        for t in data["turns"]
    ]
    correlation = np.array(data["correlation_by_lag"], dtype=np.float64)
    return ColumnPrior(between, log_mm, sd_log, correlation, np.array(turns, dtype=np.float64))


def expected_spacing_mm(upper_level: str, lower_level: str) -> tuple[float, float]:
    """Returns mean and standard deviation (mm) of the distance along the column between two body centres.

    Levels need not be neighbours; then the steps between are added up. T13 and L6 count only when named. The
    sacrum "S" stands for the body of S1.

    Raises:
        LabelError: A level is unknown or the coccyx, or `upper_level` is not above `lower_level`.

    Example:
        >>> mean, sd = expected_spacing_mm("L2", "L3")
        >>> 35 < mean < 37 and 2 < sd < 4
        True
    """
    for name in (upper_level, lower_level):
        if level(name).name == "Co":
            raise LabelError("no spacing is known for the coccyx; ask for C1 to L6, T13 or S")
    if ORDER[upper_level] >= ORDER[lower_level]:
        raise LabelError(f"{upper_level} is not above {lower_level}; name the upper level first")
    rungs = np.array([RUNGS[name] for name in levels_between(upper_level, lower_level)])
    prior = column_prior()
    mean_log, sd_log = prior.log_spacing(rungs[:-1], rungs[1:])
    steps = np.exp(mean_log + sd_log**2 / 2)
    covariance = prior.covariance(rungs[:-1], rungs[1:])
    return float(steps.sum()), float(np.sqrt(steps @ covariance @ steps))
