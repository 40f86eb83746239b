"""What heights to expect of a body, from its own posterior height, its neighbours or the whole column.

The expected profile (`spinelab/data/height_profile.json`, fitted by `spinelab.train.fit_height_profile`)
gives heights of T1 to L5 relative to a person's size, and how people and levels differ from it. A prediction
is the conditional mean of a Gaussian process along the column (kriging): what a person, and what neighbouring
levels of a person, have in common carries over; what is known far away or with noise counts less.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spinelab.errors import LabelError

Array = NDArray[np.float64]
Quantity = Literal["anterior", "middle", "posterior", "anterior_to_posterior", "middle_to_posterior"]
KINDS: tuple[Quantity, ...] = ("anterior", "middle", "posterior")

#: Levels beside those of the table, and where they stand between them.
_BETWEEN = {"T13": ("T12", "L1"), "L6": ("L5", "L5")}
#: Size of a person, as the spread of a log height: practically unknown.
_SIZE_SD_LOG = 1.0
#: Our wedging and that of the table may differ throughout by this (log): other rims, other masks.
DEFINITION_SD_LOG = 0.03


@dataclass(frozen=True, slots=True)
class Spread:
    """How a quantity differs from the profile, as standard deviations of its log.

    Attributes:
        person_sd: What all levels of a person share.
        shared_sd: What neighbouring levels share.
        fade: By how much that fades from level to level (0 to 1).
        own_sd: What each level has by itself.
    """

    person_sd: float
    shared_sd: float
    fade: float
    own_sd: float


@dataclass(frozen=True, slots=True)
class Known:
    """A quantity known at one level.

    Attributes:
        level: "T1" ... "L5", "T13", "L6".
        log: Its natural logarithm (heights in mm).
        noise_sd: Standard deviation of the measurement, of the log.
    """

    level: str
    log: float
    noise_sd: float


@dataclass(frozen=True, eq=False)
class HeightProfile:
    """The expected profile of heights.

    Attributes:
        places: Level -> place along the column, T1 = 0, L5 = 16.
        expected_log: (17, 3) log of anterior, middle, posterior height relative to posterior L1.
        doubt_sd_log: (17,) how unsure that is by itself.
        spread: Of each quantity.
    """

    places: dict[str, float]
    expected_log: Array
    doubt_sd_log: Array
    spread: dict[Quantity, Spread]

    def expect(self, name: str, quantity: Quantity) -> float:
        """Returns the expected log of a height relative to posterior L1, or of a ratio of two heights.

        Raises:
            LabelError: The profile does not reach that level.
        """
        row = [
            np.interp(self._place(name), np.arange(len(self.expected_log)), c) for c in self.expected_log.T
        ]
        first, _, second = quantity.partition("_to_")
        return float(row[KINDS.index(first)] - (row[KINDS.index(second)] if second else 0.0))

    def predict(self, name: str, quantity: Quantity, known: Sequence[Known]) -> tuple[float, float]:
        """Predicts the log of a quantity at a level from what is known at others.

        Args:
            name: The level.
            quantity: A height, or a height's ratio to the posterior one.
            known: The same quantity elsewhere; a height needs one at least, a ratio none.

        Returns:
            Mean and standard deviation, the level's own spread included.

        Example:
            >>> heights = [Known(name, float(np.log(25.0)), 0.02) for name in ("T12", "L2")]
            >>> mean, sd = height_profile().predict("L1", "posterior", heights)
            >>> round(float(np.exp(mean)), 1), sd < 0.06
            (25.0, True)
        """
        spread = self.spread[quantity]
        ratio = "_to_" in quantity
        person = spread.person_sd**2 + DEFINITION_SD_LOG**2 if ratio else _SIZE_SD_LOG**2
        expected = self.expect(name, quantity)
        prior = person + spread.shared_sd**2 + spread.own_sd**2 + self._doubt(name) ** 2
        if not known:
            return expected, float(np.sqrt(prior))
        places = np.array([self._place(k.level) for k in known])
        rest = np.array([k.log - self.expect(k.level, quantity) for k in known])
        own = np.array([spread.own_sd**2 + k.noise_sd**2 + self._doubt(k.level) ** 2 for k in known])
        apart = np.abs(places[:, None] - places[None, :])
        among = person + spread.shared_sd**2 * spread.fade**apart + np.diag(own)
        to_here = person + spread.shared_sd**2 * spread.fade ** np.abs(places - self._place(name))
        middle = float(np.average(rest, weights=1 / own)) if not ratio else 0.0
        weights = np.linalg.solve(among, to_here)
        mean = expected + middle + float(weights @ (rest - middle))
        return mean, float(np.sqrt(max(prior - float(weights @ to_here), spread.own_sd**2)))

    def _place(self, name: str) -> float:
        if name in _BETWEEN:
            first, second = _BETWEEN[name]
            return (self.places[first] + self.places[second]) / 2
        if name not in self.places:
            raise LabelError(f"no expected heights for {name}; the profile covers T1 to L6")
        return self.places[name]

    def _doubt(self, name: str) -> float:
        return float(np.interp(self._place(name), np.arange(len(self.doubt_sd_log)), self.doubt_sd_log))


@lru_cache(maxsize=1)
def height_profile() -> HeightProfile:
    """Returns the shipped profile (read once)."""
    text = files("spinelab").joinpath("data/height_profile.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    rows = data["levels"]
    return HeightProfile(
        {row["level"]: float(place) for place, row in enumerate(rows)},
        np.log(np.array([[row[kind] for kind in KINDS] for row in rows], dtype=np.float64)),
        np.array([row["doubt_sd_log"] for row in rows], dtype=np.float64),
        {name: Spread(**values) for name, values in data["spread_log"].items()},
    )
