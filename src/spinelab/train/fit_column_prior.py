"""Fits the shape prior of the column (`spinelab/data/column_prior.json`) from public tables of body centres.

Run ``python -m spinelab.train.fit_column_prior`` with SPINELAB_DATA naming the folder that holds ``tables/``
and ``ct/centroids/``. The tables derive from VID and VerSe (CC BY-SA 4.0); a few statistics are written.
One patient in five (by a hash of the name) is left out of the fit for `benchmarks/naming_simulation.py`.
"""

import csv
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinelab.errors import UnreadableError

#: The rungs of the usual column from the head down; L6 is fitted apart and the sacrum stands for S1.
NAMES = (*(f"C{n}" for n in range(1, 8)), *(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 7)))
VID_TABLE = "vid_vertebra_keypoints_lps_mm.csv"
VERSE_TABLES = ("verse2019_centroids_mm.csv", "verse2020_centroids_mm.csv")
#: Cases of ct/centroids with L4, L5 and S1 that may be trained on.
SACRUM_CASES = ("ccth_a01", "tcga_ay_4070", "totalseg_abdomen")
#: Three cases cannot give a spread for L5-S1; this is assumed (the other lumbar pairs have 0.08).
SACRUM_SD_LOG = 0.12
ATTRIBUTION = (
    "Statistics of body centres of VID (Bürgin et al., CC BY-SA 4.0) and of VerSe 2019 and 2020 "
    "(Sekuboyina, Löffler et al., CC BY-SA 4.0); L5-S1 from three further open CTs. "
    "These statistics are shared under CC BY-SA 4.0."
)


@dataclass(frozen=True)
class Column:
    """Body centres of one scan.

    Attributes:
        patient: Key that is the same for all scans of a patient, across the tables.
        scan: Name of the scan.
        centers_mm: Level name to (3,) LPS mm.
    """

    patient: str
    scan: str
    centers_mm: dict[str, NDArray[np.float64]]

    @property
    def held_out(self) -> bool:
        """True for the fifth of the patients that the fit never sees."""
        return int(hashlib.sha256(self.patient.encode()).hexdigest(), 16) % 5 == 0


def read_columns(folder: Path) -> list[Column]:
    """Reads every scan of the VID and VerSe tables in `folder`, patients linked across the tables.

    Raises:
        UnreadableError: A table is missing.
    """
    columns = [*_vid_columns(_table(folder, VID_TABLE))]
    for name in VERSE_TABLES:
        columns += _verse_columns(_table(folder, name))
    linked = _linked_patients(column.patient for column in columns)
    return [Column(linked[c.patient], c.scan, c.centers_mm) for c in columns]


def fit(columns: list[Column], sacrum_ratio: float) -> dict[str, Any]:
    """Returns the prior as JSON data, every patient counted once.

    Args:
        columns: The scans to fit.
        sacrum_ratio: Distance L5 to S1 over L4 to L5.
    """
    spacings = _patient_means(columns, _log_spacings)
    pairs = [_pair_entry(NAMES[k], NAMES[k + 1], spacings[k]) for k in range(len(NAMES) - 1)]
    l4_l5 = pairs[NAMES.index("L4")]
    mean = float(np.log(l4_l5["mean_mm"])) + float(np.log(sacrum_ratio))
    pairs.append(_entry("L5", "S", mean, SACRUM_SD_LOG, len(SACRUM_CASES)))
    return {
        "about": ATTRIBUTION,
        "licence": "CC BY-SA 4.0",
        "fitted_by": "python -m spinelab.train.fit_column_prior",
        "patients": len({column.patient for column in columns}),
        "scans": len({column.scan for column in columns}),
        "pairs": pairs,
        "correlation_by_lag": _correlation_by_lag(spacings[: NAMES.index("L5")]),
        "turns": _turn_entries(columns),
    }


def fit_sacrum_ratio(folder: Path) -> float:
    """Returns the median of d(L5, S1) / d(L4, L5) over the cases of `folder` that show both.

    Raises:
        UnreadableError: A case is missing.
    """
    ratios = []
    for case in SACRUM_CASES:
        entries = json.loads(_existing(folder / f"{case}.json").read_text())["vertebrae"]
        centers = {entry["level"]: np.array(entry["center_mm"]) for entry in entries}
        upper = np.linalg.norm(centers["L4"] - centers["L5"])
        ratios.append(float(np.linalg.norm(centers["L5"] - centers["S1"]) / upper))
    return float(np.median(ratios))


def main() -> None:
    """Writes `spinelab/data/column_prior.json` from the folder that SPINELAB_DATA names."""
    here = Path(__file__).resolve()
    data = Path(os.environ.get("SPINELAB_DATA", here.parents[4] / "shared" / "data"))
    columns = [column for column in read_columns(data / "tables") if not column.held_out]
    prior = fit(columns, fit_sacrum_ratio(data / "ct" / "centroids"))
    target = here.parents[1] / "data" / "column_prior.json"
    target.write_text(json.dumps(prior, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UnreadableError(f"no {path}; set SPINELAB_DATA to the folder with tables/ and ct/centroids/")
    return path


def _table(folder: Path, name: str) -> list[list[str]]:
    with _existing(folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def _vid_columns(rows: list[list[str]]) -> list[Column]:
    head, body = rows[0], rows[1:]
    scan, patient, level = head.index("id"), head.index("patient"), head.index("level")
    first = head.index("body_x")
    scans: dict[tuple[str, str], dict[str, NDArray[np.float64]]] = defaultdict(dict)
    for row in body:
        # the one scan whose patient is unknown stands for a patient of its own
        owner = row[patient] if row[patient] != "?" else row[scan]
        scans[owner, row[scan]][row[level]] = np.array(row[first : first + 3], dtype=np.float64)
    return [Column(owner, name, centers) for (owner, name), centers in scans.items()]


def _verse_columns(rows: list[list[str]]) -> list[Column]:
    columns = []
    for row in rows:
        points = np.array(row[1:], dtype=np.float64).reshape(-1, 3)
        # the 26th level of VerSe 2020 is T13: those columns break the usual order and are left out
        if len(points) > len(NAMES) and np.isfinite(points[len(NAMES)]).all():
            continue
        seen = {n: p for n, p in zip(NAMES, points, strict=False) if np.isfinite(p).all()}
        columns.append(Column(row[0], row[0], seen))
    return columns


def _linked_patients(names: Iterable[str]) -> dict[str, str]:
    """Gives names that share a VerSe number ("sub-verse401", "verse401_verse201") one key."""
    tokens = {name: re.findall(r"(?:verse|gl)\d+", name.lower()) or [name] for name in set(names)}
    root: dict[str, str] = {}

    def find(token: str) -> str:
        while root.setdefault(token, token) != token:
            token = root[token]
        return token

    for group in sorted(tokens.values()):
        for token in group[1:]:
            first, other = sorted((find(group[0]), find(token)))
            root[other] = first
    return {name: find(group[0]) for name, group in tokens.items()}


def _log_spacings(column: Column) -> NDArray[np.float64]:
    """Returns (24,) log mm between neighbours, nan where one is unseen."""
    points = np.array([column.centers_mm.get(name, np.full(3, np.nan)) for name in NAMES])
    spacings: NDArray[np.float64] = np.log(np.linalg.norm(np.diff(points, axis=0), axis=1))
    return spacings


def _turns(column: Column) -> NDArray[np.float64]:
    """Returns (2, 23) degrees by which the line of centres turns at C2 ... L5: sagittal, coronal."""
    points = np.array([column.centers_mm.get(name, np.full(3, np.nan)) for name in NAMES])
    steps = np.diff(points, axis=0)
    angles = np.degrees(np.arctan2(steps[:, [1, 0]], -steps[:, [2]])).T
    turned: NDArray[np.float64] = np.diff(angles, axis=1)
    return turned


def _patient_means(columns: list[Column], of: Any) -> list[dict[str, float]]:
    """Returns for each entry of `of(column)` the mean a patient, gross outliers (6 robust sd) left out."""
    values: list[dict[str, list[float]]] = []
    for column in columns:
        for k, value in enumerate(np.atleast_1d(of(column))):
            if k == len(values):
                values.append(defaultdict(list))
            if np.isfinite(value):
                values[k][column.patient].append(float(value))
    return [_without_outliers({p: float(np.mean(v)) for p, v in entry.items()}) for entry in values]


def _without_outliers(means: dict[str, float]) -> dict[str, float]:
    numbers = np.array(list(means.values()))
    middle = np.median(numbers)
    spread = 1.4826 * np.median(np.abs(numbers - middle))
    return {p: value for p, value in means.items() if abs(value - middle) <= 6 * spread}


def _pair_entry(upper: str, lower: str, values: dict[str, float]) -> dict[str, Any]:
    numbers = np.array(list(values.values()))
    return _entry(upper, lower, float(numbers.mean()), float(numbers.std(ddof=1)), len(numbers))


def _entry(upper: str, lower: str, mean: float, sd: float, patients: int) -> dict[str, Any]:
    return {
        "upper": upper,
        "lower": lower,
        "mean_mm": round(float(np.exp(mean)), 2),
        "sd_log": round(sd, 4),
        "low_mm": round(float(np.exp(mean - 3.5 * sd)), 1),
        "high_mm": round(float(np.exp(mean + 3.5 * sd)), 1),
        "patients": patients,
    }


def _correlation_by_lag(spacings: list[dict[str, float]]) -> list[float]:
    """Returns the correlation of log spacings 0, 1, 2 ... pairs apart, pooled over the column.

    Large lags are pooled from few patients, so the tail is averaged from lag 8 on.
    """
    scaled = []
    for entry in spacings:
        numbers = np.array(list(entry.values()))
        scaled.append({p: (v - numbers.mean()) / numbers.std() for p, v in entry.items()})
    pooled: list[list[float]] = [[] for _ in spacings]
    for k, upper in enumerate(scaled):
        for j in range(k + 1, len(scaled)):
            pooled[j - k] += [upper[p] * scaled[j][p] for p in upper.keys() & scaled[j].keys()]
    near = [float(np.mean(products)) for products in pooled[1:8]]
    tail = float(np.mean([x for products in pooled[8:] for x in products]))
    return [1.0, *(round(value, 3) for value in near), round(tail, 3)]


def _turn_entries(columns: list[Column]) -> list[dict[str, Any]]:
    sagittal = _patient_means(columns, lambda column: _turns(column)[0])
    coronal = _patient_means(columns, lambda column: _turns(column)[1])
    entries = []
    for k, name in enumerate(NAMES[1:-1]):
        side = np.array(list(sagittal[k].values()))
        front = np.array(list(coronal[k].values()))
        entries.append(
            {
                "level": name,
                "sagittal_mean_deg": round(float(side.mean()), 2),
                "sagittal_sd_deg": round(float(side.std(ddof=1)), 2),
                "coronal_sd_deg": round(float(np.sqrt(np.mean(front**2))), 2),
                "patients": len(side),
            }
        )
    return entries


if __name__ == "__main__":
    main()
