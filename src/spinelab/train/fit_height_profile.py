"""Fits the expected heights of vertebral bodies (`spinelab/data/height_profile.json`) from a public table.

Run ``python -m spinelab.train.fit_height_profile`` with SPINELAB_DATA naming the folder that holds
``tables/``.

The table (Pisov et al. 2020, CC BY-NC 4.0) holds the six end points of anterior, middle and posterior height
in the mid-sagittal slice of 100 chest CTs, each marked by two or three of seven readers, 8 to 16 vertebrae a
scan from the head down, in voxels (row, sagittal column, slice), without spacing and **without level names**.
So:

- slices are taken to be `ASPECT` rows apart (the median of what makes endplates square to the body's axis);
- names are the run of levels whose spacings fit `column_prior` best: right to about one level;
- heights are relative to each person's own size; all figures are medians over persons, so that the few
  fractured bodies bend nothing.

Only ratios and spreads are written. One scan in five (by a hash of its name) is left out of the fit for
`benchmarks/fracture_geometry.py`.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from spinelab.errors import UnreadableError
from spinelab.tasks.column_prior import RUNGS, column_prior

Array = NDArray[np.float64]
TABLE = "mosmed_vertebra_heights"
#: Levels a run may consist of, and those the profile is given for.
RUN_LEVELS = (
    *(f"C{n}" for n in range(4, 8)),
    *(f"T{n}" for n in range(1, 13)),
    *(f"L{n}" for n in range(1, 6)),
)
LEVELS = RUN_LEVELS[4:]
FITTED_LEVELS = LEVELS[: LEVELS.index("L2") + 1]
#: Rows a slice: not in the table (see above).
ASPECT = 0.85
#: Our heights are means over bands (`spinelab.measurement.heights`) centred at these shares of the depth;
#: between the table's points at 0, 0.5 and 1 the height is taken to change evenly.
ANTERIOR_AT, POSTERIOR_AT = 0.175, 0.825
#: Sagittal wedging of L3 to L5 in degrees, women and men alike (Masharawi et al. 2010), with depth over
#: posterior height as in Panjabi et al. 1992; and the posterior heights of that paper, L2 to L5.
WEDGE_DEG = {"L3": 0.1, "L4": -1.9, "L5": -6.2}
DEPTH_SHARE = {"L3": 1.46, "L4": 1.47, "L5": 1.51}
POSTERIOR_MM = {"L2": 24.3, "L3": 23.8, "L4": 24.1, "L5": 22.9}
#: Published means of other persons are taken to be right within this (log).
PUBLISHED_SD_LOG = 0.03
#: Least spread of a level by itself; marking noise hides it.
LEAST_SD_LOG = 0.015
#: Readers a scan, on average; the three heights in their order.
READERS = 2.7
KINDS = ("anterior", "middle", "posterior")
ATTRIBUTION = (
    "Statistics of vertebral heights marked on chest CTs (Pisov et al. 2020, "
    "doi:10.1007/978-3-030-59725-2_70, CC BY-NC 4.0); L3 to L5 from Masharawi et al. 2010 "
    "(doi:10.1007/s00586-009-1256-6) and Panjabi et al. 1992 (Spine 17:299)."
)


@dataclass(frozen=True)
class Person:
    """Heights of one scan, readers averaged.

    Attributes:
        name: Of the file.
        centers: (n, 2) row and slice of the bodies' middles, rows scaled to slices.
        heights: (n, 3) anterior, middle, posterior height as bands, in slices, from the head down.
        readers_sd: Root mean square deviation of one reader's log height from the mean of all.
    """

    name: str
    centers: Array
    heights: Array
    readers_sd: float

    @property
    def held_out(self) -> bool:
        """True for the fifth of the scans that the fit never sees."""
        return int(hashlib.sha256(self.name.encode()).hexdigest(), 16) % 5 == 0


def read_persons(folder: Path) -> list[Person]:
    """Reads the table below `folder` (the one with ``tables/``).

    Raises:
        UnreadableError: It is not there.
    """
    files = sorted((folder / "tables" / TABLE).glob("*.json"))
    if not files:
        raise UnreadableError(
            f"no {folder / 'tables' / TABLE}/*.json; set SPINELAB_DATA to the folder with tables/"
        )
    return [_read_person(file) for file in files]


def name_levels(person: Person) -> tuple[str, ...]:
    """Returns the run of levels whose spacings fit the person's best, size left free."""
    log = np.log(np.linalg.norm(np.diff(person.centers, axis=0), axis=1))
    rungs = np.array([RUNGS[name] for name in RUN_LEVELS], dtype=np.float64)
    prior, best, chosen = column_prior(), np.inf, 0
    for start in range(len(RUN_LEVELS) - len(person.centers) + 1):
        upper, lower = rungs[start : start + len(log)], rungs[start + 1 : start + 1 + len(log)]
        rest = log - prior.log_spacing(upper, lower)[0]
        inverse = np.linalg.inv(prior.covariance(upper, lower) + 1.0)  # 1.0: the unit of length is unknown
        cost = float(rest @ inverse @ rest)
        if cost < best:
            best, chosen = cost, start
    return RUN_LEVELS[chosen : chosen + len(person.centers)]


def fit(persons: list[Person]) -> dict[str, Any]:
    """Returns the profile as JSON data: heights relative to posterior L1, and spreads of their logs."""
    logs = _tabulate(persons)
    expected = _expect_heights(logs)
    rest = logs - expected
    rest -= np.nanmedian(rest[:, :, 2], axis=1)[:, None, None]
    marking = float(np.median([person.readers_sd for person in persons])) ** 2 / READERS
    spread = {kind: _spread(rest[:, :, k], marking) for k, kind in enumerate(KINDS)}
    for k in (0, 1):
        spread[f"{KINDS[k]}_to_posterior"] = _spread(rest[:, :, k] - rest[:, :, 2], 2 * marking)
    return {
        "about": ATTRIBUTION,
        "licence": "statistics of a table under CC BY-NC 4.0",
        "fitted_by": "python -m spinelab.train.fit_height_profile",
        "persons": len(persons),
        "reader_sd_log": round(float(np.sqrt(marking * READERS)), 4),
        "levels": [
            {
                "level": name,
                **{kind: round(float(v), 4) for kind, v in zip(KINDS, np.exp(row), strict=True)},
                "doubt_sd_log": 0.0 if name in FITTED_LEVELS else PUBLISHED_SD_LOG,
            }
            for name, row in zip(LEVELS, _extend(expected), strict=True)
        ],
        "spread_log": spread,
    }


def main() -> None:
    """Writes `spinelab/data/height_profile.json` from the folder that SPINELAB_DATA names."""
    here = Path(__file__).resolve()
    data = Path(os.environ.get("SPINELAB_DATA", here.parents[4] / "shared" / "data"))
    profile = fit([person for person in read_persons(data) if not person.held_out])
    target = here.parents[1] / "data" / "height_profile.json"
    target.write_text(json.dumps(profile, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_person(file: Path) -> Person:
    marked = [np.array(v, float)[:, :, [0, 2]] for v in json.loads(file.read_text())["Annotation"].values()]
    marked = [points * (ASPECT, 1.0) for points in marked]
    first = max(marked, key=len)
    centers = first.mean(axis=1)
    logs = np.full((len(marked), len(first), 3), np.nan)
    for reader, points in enumerate(marked):
        apart = np.linalg.norm(points.mean(axis=1)[None] - centers[:, None], axis=2)
        for i, j in enumerate(apart.argmin(axis=1)):
            if apart[i, j] < 8:
                logs[reader, i] = np.log(_bands(points[j]))
    mean = np.nanmean(logs, axis=0)
    known = np.isfinite(logs).all(axis=2).sum(axis=0) > 1
    freedom = np.isfinite(logs[:, known]).sum() - np.isfinite(mean[known]).sum()
    square = np.nansum((logs[:, known] - mean[known]) ** 2)
    return Person(file.stem, centers, np.exp(mean), float(np.sqrt(square / max(freedom, 1))))


def _bands(points: Array) -> Array:
    """(3,) band heights of (6, 2) points: upper and lower end of the anterior, middle, posterior height."""
    front, middle, back = np.linalg.norm(points[1::2] - points[0::2], axis=1)
    share = 2 * ANTERIOR_AT
    return np.array([(1 - share) * front + share * middle, middle, (1 - share) * back + share * middle])


def _tabulate(persons: list[Person]) -> Array:
    """Returns (persons, levels, 3) log heights of T1 to L2, NaN where unseen."""
    logs = np.full((len(persons), len(FITTED_LEVELS), 3), np.nan)
    for row, person in enumerate(persons):
        for name, heights in zip(name_levels(person), person.heights, strict=True):
            if name in FITTED_LEVELS:
                logs[row, FITTED_LEVELS.index(name)] = np.log(heights)
    return logs


def _expect_heights(logs: Array) -> Array:
    """Returns (levels, 3) expected log heights: medians over persons of one size, smooth along the column."""
    posterior = np.zeros(logs.shape[1])
    for _ in range(10):
        sizes = np.nanmedian(logs[:, :, 2] - posterior, axis=1, keepdims=True)
        posterior = np.nanmedian(logs[:, :, 2] - sizes, axis=0)
    contrasts = [np.nanmedian(logs[:, :, kind] - logs[:, :, 2], axis=0) for kind in (0, 1)]
    expected = np.stack([posterior + contrasts[0], posterior + contrasts[1], posterior], axis=1)
    place, weight = np.arange(len(posterior)), np.sqrt(np.isfinite(logs[:, :, 2]).sum(axis=0))
    fits = [np.polynomial.Polynomial.fit(place, expected[:, kind], 4, w=weight) for kind in range(3)]
    smooth = np.stack([curve(place) for curve in fits], axis=1)
    return np.asarray(smooth - smooth[FITTED_LEVELS.index("L1"), 2])


def _extend(expected: Array) -> Array:
    """Continues T1 to L2 by L3 to L5: posterior heights and wedging as published, hollow as of T10 to L2."""
    share = 2 * ANTERIOR_AT
    bands = np.exp(expected[-5:])
    rims = (bands[:, 0] + bands[:, 2] - 2 * share * bands[:, 1]) / (1 - share)
    hollow = float(np.median(2 * bands[:, 1] / rims))
    # posterior rim height of L2 from its bands: p' = (1 - share) p + share m
    scale = (bands[-1, 2] - share * bands[-1, 1]) / (1 - share) / POSTERIOR_MM["L2"]
    rows = []
    for name, degrees in WEDGE_DEG.items():
        posterior = scale * POSTERIOR_MM[name]
        anterior = posterior * (1 - np.tan(np.radians(degrees)) * DEPTH_SHARE[name])
        middle = hollow * (anterior + posterior) / 2
        ends = [(1 - share) * anterior + share * middle, middle, (1 - share) * posterior + share * middle]
        rows.append(np.log(ends))
    return np.concatenate([expected, rows])


def _spread(rest: Array, reader_variance: float) -> dict[str, float]:
    """Splits (persons, levels) residuals into persons, what neighbours share, and each level's own.

    The half-variances of differences at 1 to 6 levels apart are fitted by own + shared (1 - fade ** lag), all
    from medians, so that a fracture in twenty bends nothing.
    """
    halves = []
    for lag in range(1, 7):
        difference = (rest[:, lag:] - rest[:, :-lag])[np.isfinite(rest[:, lag:] - rest[:, :-lag])]
        halves.append((1.4826 * float(np.median(np.abs(difference - np.median(difference))))) ** 2 / 2)
    best = (np.inf, 0.0, 0.0, 0.0)
    for fade in np.linspace(0.3, 0.95, 27):
        design = np.stack([np.ones(6), 1 - fade ** np.arange(1, 7)], axis=1)
        own, shared = optimize.nnls(design, np.array(halves))[0]
        error = float(((design @ [own, shared] - halves) ** 2).sum())
        best = min(best, (error, float(fade), own, shared))
    _, fade, own, shared = best
    middles = np.nanmedian(rest, axis=1)
    between = (1.4826 * float(np.median(np.abs(middles - np.median(middles))))) ** 2
    return {
        "person_sd": round(float(np.sqrt(between)), 4),
        "shared_sd": round(float(np.sqrt(shared)), 4),
        "fade": round(fade, 3),
        "own_sd": round(float(np.sqrt(max(own - reader_variance, LEAST_SD_LOG**2))), 4),
    }


if __name__ == "__main__":
    main()
