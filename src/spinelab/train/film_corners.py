"""The AP whole-spine landmark sets (AASCE 2019, SpineWeb 16), read and split by patient.

The files do not say which side is the patient's left. It is taken to be the right of the picture, as if the
patient faced the reader: of the thoracic curves of 40 degrees and more, nine in ten bend to the left of the
picture, and thoracic curves of adolescents bend to the patient's right about as often.
"""

import csv
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinelab.anatomy import levels_between
from spinelab.errors import UnreadableError

Float = NDArray[np.float64]
LEVELS = levels_between("T1", "L5")
TABLE = Path("xray_ap") / "landmarks.csv"
CORNERS = ("tl", "tr", "bl", "br")
#: Neighbours further apart than this in tilt are corners put wrongly (one set of the 481).
WRONG_STEP_DEG = 45.0
#: One day's films stand in the table twice, once without patient numbers: that day counts as one patient.
TWICE_DAY = "20-Jul-2016"
#: Two numbers whose films resemble each other letter by letter as films of one patient do: taken as one.
SAME_PATIENT = {"239": "238"}
#: The sets are split in so many parts, whole patients; the first is held out.
PARTS = 5


@dataclass(frozen=True, eq=False)
class FilmSets:
    """Landmark sets of AP films.

    Attributes:
        coronal_deg: (n, 17) lean of T1 ... L5 to the patient's left.
        wedge_deg: (n, 17) lean of the superior less that of the inferior endplate.
        height_px: (n, 17) height of the bodies.
        center_px: (n, 17, 2) body centres, x to the patient's left, y up.
        three_cobb_deg: (n, 3) the angles that come with the sets.
        patient: (n,) key that is the same for all films of a patient.
    """

    coronal_deg: Float
    wedge_deg: Float
    height_px: Float
    center_px: Float
    three_cobb_deg: Float
    patient: NDArray[np.str_]

    def chosen(self, rows: NDArray[np.bool_]) -> "FilmSets":
        """Returns the sets where `rows` (n,) is true."""
        return FilmSets(
            self.coronal_deg[rows],
            self.wedge_deg[rows],
            self.height_px[rows],
            self.center_px[rows],
            self.three_cobb_deg[rows],
            self.patient[rows],
        )


def read_film_sets(data: Path) -> FilmSets:
    """Reads the landmark sets below `data`, those with corners put wrongly left out.

    Raises:
        UnreadableError: The table is missing.
    """
    path = data / TABLE
    if not path.is_file():
        raise UnreadableError(f"no {path}; set SPINELAB_DATA to the folder with {TABLE.parent}/ and tables/")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    points = np.array(
        [[[[float(r[f"{lv}_{c}_{a}"]) for a in "xy"] for c in CORNERS] for lv in LEVELS] for r in rows]
    )
    cobb = np.array([[float(row[f"cobb{k}_deg"]) for k in (1, 2, 3)] for row in rows])
    sets = describe_corners(points, cobb, [row["image"] for row in rows])
    return sets.chosen(np.abs(np.diff(sets.coronal_deg, axis=1)).max(axis=1) <= WRONG_STEP_DEG)


def describe_corners(points: Float, three_cobb_deg: Float, names: list[str]) -> FilmSets:
    """Returns leans and proportions of corner points.

    Args:
        points: (n, 17, 4, 2) px, corners top left, top right, bottom left, bottom right; x right, y down.
        three_cobb_deg: (n, 3).
        names: n film names, which tell the patient.
    """
    top_left, top_right, low_left, low_right = np.moveaxis(points, 2, 0)
    middle = (top_right + low_right) / 2 - (top_left + low_left) / 2
    height = np.linalg.norm((top_left + top_right) / 2 - (low_left + low_right) / 2, axis=-1)
    return FilmSets(
        coronal_deg=_direction(middle),
        wedge_deg=_direction(top_right - top_left) - _direction(low_right - low_left),
        height_px=height,
        center_px=points.mean(axis=2) * (1, -1),
        three_cobb_deg=three_cobb_deg,
        patient=np.array(link_films(names)),
    )


def link_films(names: list[str]) -> list[str]:
    """Returns the patient of each film: the number before the letter, whatever the day.

    Films of one number resemble each other twice as closely as films of two, also when taken on other days.
    """
    found = [_parse(name) for name in names]
    twice = {number for day, number in found if day == TWICE_DAY}
    return [TWICE_DAY if number in twice else SAME_PATIENT.get(number, number) for _, number in found]


def held_out(patients: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Returns (n,) true for the fifth of the sets that the shipped model's fit never saw."""
    first: NDArray[np.bool_] = split_patients(patients) == 0
    return first


def split_patients(patients: NDArray[np.str_]) -> NDArray[np.int_]:
    """Returns (n,) the fifth, 0 to 4, that each set belongs to.

    Patients are taken in the order of the hash of their key until a fifth of the sets is reached, then two.
    """
    keys, counts = np.unique(patients, return_counts=True)
    order = sorted(range(len(keys)), key=lambda k: hashlib.sha256(f"curve {keys[k]}".encode()).hexdigest())
    before = np.cumsum([0, *counts[order][:-1]])
    fifth = dict(zip(keys[order], (PARTS * before) // len(patients), strict=True))
    return np.array([int(fifth[patient]) for patient in patients])


def _parse(name: str) -> tuple[str, str]:
    match = re.search(r"1th-(\d+-\w+-\d+)-(coronal\d+|\d+)", name)
    if match is None:
        raise UnreadableError(
            f"film name {name!r} has no day and number; expected 'sunhl-1th-DAY-NUMBER ...'"
        )
    return match[1], match[2]


def _direction(vectors: Float) -> Float:
    """Returns by how many degrees (..., 2) vectors drop towards the right of the picture."""
    angles: Float = np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0]))
    return angles
