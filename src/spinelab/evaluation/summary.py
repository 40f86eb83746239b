"""Many scans pooled, with intervals."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinelab.errors import InputError
from spinelab.evaluation.reading import EvaluateOptions
from spinelab.evaluation.scores import ScanScores

#: Metric -> what it is, as printed beside it.
METRICS: dict[str, str] = {
    "id_rate": "VerSe identification rate as coded, over all reference vertebrae",
    "id_rate_scan_mean": "the same, mean over scans",
    "recall": "reference vertebrae with the right name within the tolerance (nearest of all references)",
    "precision": "predicted vertebrae with the right name within the tolerance",
    "found": "reference vertebrae with a prediction within the tolerance, whatever its name",
    "all_right": "scans with every name right and none too many",
    "distance_mm": "mean distance between centres of one name, missed ones not counted",
    "dice": "mean Dice a vertebra, a missed one counts 0",
    "hausdorff95_mm": "mean 95 % Hausdorff distance a vertebra, a missed one counts the stated penalty",
}


@dataclass(frozen=True, slots=True)
class Interval:
    """A pooled figure with its 95 % bootstrap interval over scans; None where nothing was measured."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Many scans pooled.

    Attributes:
        metrics: Name as in `METRICS` -> figure.
        scans: Scores a scan.
        n_vertebrae: Reference vertebrae scored.
        options: How it was scored.
    """

    metrics: dict[str, Interval]
    scans: tuple[ScanScores, ...]
    n_vertebrae: int
    options: EvaluateOptions

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON data (strict: None, never NaN)."""
        return asdict(self)


def summarize(scans: Iterable[ScanScores], *, options: EvaluateOptions = EvaluateOptions()) -> Summary:  # noqa: B008
    """Pools scans; intervals are percentile bootstraps that draw whole scans.

    Args:
        scans: Scores of at least one scan.
        options: Number of resamples and seed.

    Raises:
        InputError: There is no scan.
    """
    every = tuple(scans)
    if not every:
        raise InputError("no scan to summarize; give at least one pair of reference and prediction")
    rng = np.random.default_rng(options.seed)
    draws = rng.integers(0, len(every), size=(options.resamples, len(every)))
    sums = [_sums(scan) for scan in every]
    metrics = {name: _interval([entry[name] for entry in sums], draws) for name in METRICS}
    return Summary(metrics, every, sum(len(scan.vertebrae) for scan in every), options)


def _sums(scan: ScanScores) -> dict[str, tuple[float, float]]:
    """Numerator and denominator of every metric: pooled figures are sums divided by sums."""
    vertebrae = scan.vertebrae
    n = len(vertebrae)
    hits = sum(v.verse_hit for v in vertebrae)
    identified = sum(v.identified for v in vertebrae)
    return {
        "id_rate": (hits, n),
        "id_rate_scan_mean": (hits / n if n else 0.0, bool(n)),
        "recall": (identified, n),
        "precision": (identified, len(scan.predicted)),
        "found": (sum(v.found_as is not None for v in vertebrae), n),
        "all_right": (scan.all_right, 1),
        "distance_mm": _total([v.distance_mm for v in vertebrae]),
        "dice": _total([v.dice for v in vertebrae]),
        "hausdorff95_mm": _total([v.hausdorff95_mm for v in vertebrae]),
    }


def _total(values: Sequence[float | None]) -> tuple[float, float]:
    known = [value for value in values if value is not None]
    return sum(known), len(known)


def _interval(sums: list[tuple[float, float]], draws: NDArray[np.int64]) -> Interval:
    pairs = np.array(sums, dtype=np.float64)
    above, below = pairs.sum(axis=0)
    if not below:
        return Interval(None, None, None)
    drawn = pairs[draws].sum(axis=1)
    drawn = drawn[drawn[:, 1] > 0]
    if not len(drawn):
        return Interval(float(above / below), None, None)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return Interval(float(above / below), float(low), float(high))
