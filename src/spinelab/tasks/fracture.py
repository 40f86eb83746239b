"""Height loss and Genant grade of each body, from the heights of the column alone.

A reading is geometry: what height is expected of a body, how much of it is missing, how sure that is.
docs/fracture.md explains it; `benchmarks/fracture_geometry.py` measures it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spinelab.anatomy import ORDER
from spinelab.errors import InputError
from spinelab.measurement.density import CONTRAST_WARNING
from spinelab.measurement.height_profile import KINDS, HeightProfile, Known, Quantity, height_profile
from spinelab.spine import LOW_DENSITY_FLAG, Fracture, Spine, Vertebra
from spinelab.tasks.fracture_cautions import find_depressions, list_cautions, refuse

Array = NDArray[np.float64]
Reference = Literal["own posterior height", "neighbours", "expected profile"]
Shape = Literal["wedge", "biconcave", "crush"]

#: What a height is compared with within its own body.
RATIOS: dict[Quantity, Quantity] = {"anterior": "anterior_to_posterior", "middle": "middle_to_posterior"}
#: Genant et al. 1993 (J Bone Miner Res 8:1137): mild from 20 %, moderate from 25 %, severe from 40 %.
GRADES_FROM_PERCENT = (20.0, 25.0, 40.0)
#: Standard deviation of a height in mm: of masks; and by the slice distance, squared where many slices
#: cross an endplate (phantoms, docs/measurement.md), in proportion from 2.6 mm on (outlines of 5 real columns
#: of the train split: 0.65 at 2.5 mm, 1.3 at 5 mm).
MASK_SD_MM, SLICE_SD_PER_MM2, SLICE_SD_PER_MM = 0.4, 0.1, 0.26
#: Slice distance assumed for files that do not say it.
UNKNOWN_SLICE_MM = 3.0
#: Vertebrae up to so many levels away are neighbours.
NEAR = 2
#: A body whose log heights or ratios fall so far below the rest of the column is no reference, nor one so far
#: above (osteophytes, masks that run over).
LOW_LOG, HIGH_LOG = 0.14, 0.2
#: An earlier reference in the list is kept unless a later one is surer of more loss by this much (log).
PREFERENCE_LOG = 0.015
#: Correlation of what the body itself and the column say of a height; the posterior log from which the body
#: itself is no reference any more.
ALIKE, SUNK_LOG = 0.5, -0.08
#: Pickhardt et al. 2013 (Ann Intern Med 158:588): at or below it osteoporosis is likely (specificity over
#: 90 % at L1, without contrast medium; close by from T12 to L5).
LOW_DENSITY_HU = 110.0
DENSITY_LEVELS = ("T12", "L1", "L2", "L3", "L4", "L5")


@dataclass(frozen=True)
class FractureOptions:
    """How bodies are graded.

    Attributes:
        interval: Probability the interval of the height loss is to hold.
        low_density_hu: Median density (HU) below which, without contrast medium, "low density" is flagged.
    """

    interval: float = 0.9
    low_density_hu: float = LOW_DENSITY_HU

    def __post_init__(self) -> None:
        if not 0 < self.interval < 1:
            raise InputError(f"interval is {self.interval}; give a probability between 0 and 1, as 0.9")


@dataclass(frozen=True, slots=True)
class Reading:
    """The heights of one body against one reference.

    Attributes:
        reference: What was expected from.
        off: Height -> log of it over what was expected (negative where height is missing) and the standard
            deviation of that.
    """

    reference: Reference
    off: dict[Quantity, tuple[float, float]]

    @property
    def lowest(self) -> Quantity:
        """The height that is surest to be missing: one standard deviation off, it is lowest."""
        return min(self.off, key=lambda kind: sum(self.off[kind]))

    @property
    def least(self) -> float:
        """Log of that height, one standard deviation off."""
        return sum(self.off[self.lowest])


@dataclass(frozen=True, slots=True)
class Loss:
    """Missing height of one body.

    Attributes:
        log: Log of the height over what was expected: negative where height is missing.
        sd: Its standard deviation.
        kind: The height that has lost most.
        posterior_log: The same as `log` of the posterior height; 0 where only the body itself is known.
        reference: The reference that shows it most clearly.
    """

    log: float
    sd: float
    kind: Quantity
    posterior_log: float
    reference: Reference

    @property
    def percent(self) -> float:
        """Loss in per cent, 0 where nothing is missing."""
        return max(0.0, 100 * (1 - float(np.exp(self.log))))

    def percent_at(self, deviations: float) -> float:
        """Loss in per cent where the log is so many standard deviations higher."""
        return float(np.clip(100 * (1 - np.exp(self.log + deviations * self.sd)), 0, 100))

    @property
    def score(self) -> float:
        """By how many standard deviations the loss exceeds 20 %."""
        return float((np.log(1 - GRADES_FROM_PERCENT[0] / 100) - self.log) / self.sd)


@dataclass(frozen=True, slots=True)
class Column:
    """The bodies that can be graded.

    Attributes:
        names: Levels from the head down.
        logs: Level -> log of anterior, middle and posterior height in mm.
        noise: Level -> standard deviation of each of them by measurement.
        intact: Those fit to be references.
    """

    names: tuple[str, ...]
    logs: dict[str, tuple[float, ...]]
    noise: dict[str, tuple[float, ...]]
    intact: frozenset[str]

    def known(self, quantity: Quantity, names: Sequence[str]) -> list[Known]:
        """Returns a quantity at the levels named."""
        first, _, second = quantity.partition("_to_")
        places = [i for i, kind in enumerate(KINDS) if kind in (first, second)]
        signs = [1.0 if KINDS[i] == first else -1.0 for i in places]
        found = []
        for name in names:
            log = sum(s * self.logs[name][i] for i, s in zip(places, signs, strict=True))
            noise = float(np.hypot.reduce([self.noise[name][i] for i in places]))
            found.append(Known(name, float(log), noise))
        return found


def grade_fractures(spine: Spine, options: FractureOptions = FractureOptions()) -> Spine:
    """Grades every vertebra of a measured CT.

    Args:
        spine: With heights, as `spinelab.measurement.measure` leaves it.
        options: Width of the interval and the like.

    Returns:
        The spine with `fracture` filled in for every vertebra, and "low density" among the flags where it
        applies.
    """
    column = gather_column(spine)
    profile = height_profile()
    contrast = CONTRAST_WARNING in spine.warnings
    graded = []
    for vertebra in spine.vertebrae:
        more = (LOW_DENSITY_FLAG,) if not contrast and _is_sparse(vertebra, options) else ()
        flags = tuple(dict.fromkeys((*vertebra.flags, *more)))
        found = _grade(vertebra, column, profile, options)
        graded.append(replace(vertebra, fracture=found, flags=flags))
    return replace(spine, vertebrae=tuple(graded))


def read_heights(column: Column, name: str, profile: HeightProfile) -> list[Reading]:
    """Returns one body against each reference there is, the most direct first."""
    others = [other for other in column.names if other != name and other in column.intact]
    near = [other for other in others if abs(ORDER[other] - ORDER[name]) <= NEAR]
    itself = {kind: _difference(column, name, ratio, others, profile) for kind, ratio in RATIOS.items()}
    readings = [Reading("own posterior height", itself)]
    if near:
        off = {kind: _difference(column, name, kind, near, profile) for kind in KINDS}
        readings.append(Reading("neighbours", off))
    if others and (not near or len(others) >= max(3, len(near) + 1)):
        off = {kind: _difference(column, name, kind, others, profile) for kind in KINDS}
        readings.append(Reading("expected profile", off))
    return readings


def choose(readings: Sequence[Reading]) -> Loss:
    """Returns the loss that the readings agree on, named after the one that shows it most clearly.

    That one is surest of most loss, earlier ones being preferred. Its lowest height counts; what the body
    itself and the column say of it is averaged, unless the posterior height has sunk too: then the body
    itself is no reference.
    """
    best = readings[0]
    for reading in readings[1:]:
        if reading.least < best.least - PREFERENCE_LOG:
            best = reading
    kind, wide = best.lowest, readings[-1]
    posterior = wide.off.get("posterior", (0.0, 0.0))[0]
    sources = [wide] if wide is readings[0] or posterior < SUNK_LOG else [readings[0], wide]
    agreeing = [reading.off[kind] for reading in sources if kind in reading.off]
    weights = np.array([1 / sd**2 for _, sd in agreeing])
    weights /= weights.sum()
    logs, sds = np.array(agreeing).T
    sd = float(np.sqrt((1 - ALIKE) * (weights * sds) @ (weights * sds) + ALIKE * (weights @ sds) ** 2))
    return Loss(float(weights @ logs), sd, kind, posterior, best.reference)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Logistic curves from standard deviations to probabilities, as (slope, offset).

    Attributes:
        grave: From those by which the loss exceeds 20 % to the probability that at least 20 % are missing.
        any: From those by which it exceeds nothing to the probability that anything is missing, were that so
            in one body in two.
    """

    grave: tuple[float, float]
    any: tuple[float, float]

    def estimate_probability(self, loss: Loss) -> float:
        """Returns the probability that at least 20 % are missing."""
        return _rise(self.grave, loss.score)

    def expect_percent(self, loss: Loss) -> float:
        """Returns the loss to expect: as read, times the probability that it is not chance alone."""
        return loss.percent * _rise(self.any, -loss.log / loss.sd)

    def is_sure(self, loss: Loss, probability: float) -> bool:
        """Tells whether anything is missing with at least this probability."""
        return _rise(self.any, -loss.log / loss.sd) >= probability


def _rise(curve: tuple[float, float], value: float) -> float:
    return float(1 / (1 + np.exp(-(curve[0] * value + curve[1]))))


@lru_cache(maxsize=1)
def calibration() -> Calibration:
    """Returns the shipped curves (read once).

    They are fitted on simulated columns (`spinelab.train.fit_fracture_calibration`), bodies collapsed by 10
    to 60 %: they are geometric, and as good as that simulation.
    """
    text = files("spinelab").joinpath("data/fracture_calibration.json").read_text(encoding="utf-8")
    data = json.loads(text)
    return Calibration(*((float(data[k]["slope"]), float(data[k]["offset"])) for k in ("grave", "any")))


def name_shape(loss: Loss) -> Shape:
    """Returns which height is lowest: anterior is a wedge, middle biconcave, posterior too a crush."""
    crushed = max(0.0, 100 * (1 - float(np.exp(loss.posterior_log)))) >= GRADES_FROM_PERCENT[0]
    if crushed or loss.kind == "posterior":
        return "crush"
    return "wedge" if loss.kind == "anterior" else "biconcave"


def grade_of(loss_percent: float) -> Literal[0, 1, 2, 3]:
    """Returns the Genant grade of a height loss.

    Example:
        >>> [grade_of(loss) for loss in (19.9, 20, 25, 40)]
        [0, 1, 2, 3]
    """
    grades: tuple[Literal[0, 1, 2, 3], ...] = (0, 1, 2, 3)
    return grades[sum(loss_percent >= limit for limit in GRADES_FROM_PERCENT)]


def _grade(vertebra: Vertebra, column: Column, profile: HeightProfile, options: FractureOptions) -> Fracture:
    refused = refuse(vertebra)
    if refused:
        return Fracture(False, reasons=(refused,))
    loss = _read_loss(vertebra, column, profile)
    curves = calibration()
    percent = round(curves.expect_percent(loss), 1)
    deviations = NormalDist().inv_cdf((1 + options.interval) / 2)
    lowest = loss.percent_at(deviations) if curves.is_sure(loss, (1 + options.interval) / 2) else 0.0
    interval = (round(lowest, 1), round(max(loss.percent_at(-deviations), percent), 1))
    grade = grade_of(percent)
    return Fracture(
        True,
        round(curves.estimate_probability(loss), 4),
        grade,
        name_shape(loss) if grade else None,
        percent,
        interval,
        loss.reference,
        list_cautions(
            vertebra,
            interval,
            alone=not column.intact - {vertebra.level},
            rims_kept=_keeps_rims(vertebra, column, profile),
        ),
    )


def _read_loss(vertebra: Vertebra, column: Column, profile: HeightProfile) -> Loss:
    """Reads a body first without its focal depressions; they make no grade, but count where there is one."""
    loss = choose(read_heights(column, vertebra.level, profile))
    if not find_depressions(vertebra) or grade_of(calibration().expect_percent(loss)) == 0:
        return loss
    whole = tuple(float(v) for v in np.log(_read_heights(vertebra, mended=False)))
    column = replace(column, logs={**column.logs, vertebra.level: whole})
    return choose(read_heights(column, vertebra.level, profile))


def _keeps_rims(vertebra: Vertebra, column: Column, profile: HeightProfile) -> bool:
    """Tells whether no height but the middle one is lower than those of an intact body may be."""
    off = read_heights(column, vertebra.level, profile)[-1].off
    return all(log > -LOW_LOG for kind, (log, _) in off.items() if kind != "middle")


def _is_sparse(vertebra: Vertebra, options: FractureOptions) -> bool:
    return (
        vertebra.density is not None
        and vertebra.level in DENSITY_LEVELS
        and vertebra.density.median_hu < options.low_density_hu
    )


def height_sd_mm(slice_mm: float) -> float:
    """Returns by how much a height read from slices so far apart varies (standard deviation, mm)."""
    return float(np.hypot(MASK_SD_MM, min(SLICE_SD_PER_MM2 * slice_mm**2, SLICE_SD_PER_MM * slice_mm)))


def gather_column(spine: Spine) -> Column:
    """Returns the bodies of a measured spine that can be graded, and which of them are intact."""
    logs, noise = {}, {}
    for vertebra in spine.vertebrae:
        if refuse(vertebra):
            continue
        heights = _read_heights(vertebra)
        slice_mm = UNKNOWN_SLICE_MM if vertebra.slice_mm is None else vertebra.slice_mm
        logs[vertebra.level] = tuple(float(v) for v in np.log(heights))
        noise[vertebra.level] = tuple(height_sd_mm(slice_mm) / float(v) for v in heights)
    column = Column(tuple(logs), logs, noise, frozenset(logs))
    return replace(column, intact=_find_intact(column, height_profile()))


def _read_heights(vertebra: Vertebra, *, mended: bool = True) -> Array:
    """Returns (3,) the heights in mm; mended, the middle one is that without focal depressions."""
    assert vertebra.heights_mm is not None
    heights = vertebra.heights_mm
    depressions = sum(depth for _, depth in find_depressions(vertebra)) if mended else 0.0
    middle = (heights.middle or 0.0) + depressions
    return np.array([heights.anterior, middle, heights.posterior], dtype=np.float64)


def _find_intact(column: Column, profile: HeightProfile) -> frozenset[str]:
    """Returns the bodies that fit the rest of their column: first against medians, then as predicted."""
    if len(column.names) < 2:
        return frozenset(column.names)
    rest = np.array(
        [[column.logs[n][k] - profile.expect(n, q) for k, q in enumerate(KINDS)] for n in column.names]
    )
    ratios = rest[:, :2] - rest[:, 2:]
    size = np.array([np.median(rest[max(0, i - 4) : i + 5, 2]) for i in range(len(rest))])
    off = np.hstack([rest - size[:, None], ratios - np.median(ratios, axis=0)])
    fits = (off.min(axis=1) > -LOW_LOG) & (off.max(axis=1) < HIGH_LOG)
    intact = frozenset(name for name, good in zip(column.names, fits, strict=True) if good)
    for _ in range(3):
        again = frozenset(
            name for name in column.names if _fits(replace(column, intact=intact), name, profile)
        )
        if again == intact:
            break
        intact = again
    return intact


def _fits(column: Column, name: str, profile: HeightProfile) -> bool:
    others = [other for other in column.names if other != name and other in column.intact]
    quantities = (*(KINDS if others else ()), *RATIOS.values())
    off = [_difference(column, name, quantity, others, profile)[0] for quantity in quantities]
    return min(off) > -LOW_LOG and max(off) < HIGH_LOG


def _difference(
    column: Column, name: str, quantity: Quantity, others: Sequence[str], profile: HeightProfile
) -> tuple[float, float]:
    """Returns log of a quantity over its prediction, and its standard deviation."""
    mean, sd = profile.predict(name, quantity, column.known(quantity, others))
    (own,) = column.known(quantity, [name])
    return own.log - mean, float(np.hypot(sd, own.noise_sd))
