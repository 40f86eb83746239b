import os
from pathlib import Path

import numpy as np
import pytest

from spinelab.errors import UnreadableError
from spinelab.train.film_corners import (
    describe_corners,
    held_out,
    link_films,
    read_film_sets,
    split_patients,
)

DATA = Path(os.environ.get("SPINELAB_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def test_the_left_of_the_patient_is_the_right_of_the_film() -> None:
    box = np.array([[0, 0], [10, 1], [0, 10], [10, 13]], dtype=float)  # drops to the right of the film
    sets = describe_corners(
        np.tile(box, (1, 17, 1, 1)), np.zeros((1, 3)), ["sunhl-1th-02-Jan-2017-162 A AP.jpg"]
    )
    assert sets.coronal_deg[0] == pytest.approx(np.full(17, np.degrees(np.arctan2(2, 10))))
    assert sets.wedge_deg[0, 0] == pytest.approx(np.degrees(np.arctan2(1, 10) - np.arctan2(3, 10)))
    assert sets.height_px[0, 0] == pytest.approx(11)
    assert sets.center_px[0, 0].tolist() == [5, -6]


def test_films_of_a_number_are_of_one_patient_whatever_the_day() -> None:
    names = [
        "sunhl-1th-03-Jan-2017-165 A AP.jpg",
        "sunhl-1th-04-Jan-2017-165 B AP.jpg",
        "sunhl-1th-20-Jul-2016-coronal7.jpg",
        "sunhl-1th-20-Jul-2016-15 A AP.jpg",
        "sunhl-1th-25-Jul-2016-15 B AP.jpg",
        "sunhl-1th-10-Jan-2017-239 A AP.jpg",
    ]
    assert link_films(names) == ["165", "165", "20-Jul-2016", "20-Jul-2016", "20-Jul-2016", "238"]


def test_a_name_without_a_day_is_refused() -> None:
    with pytest.raises(
        UnreadableError, match=r"film name 'a.jpg' has no day and number; expected 'sunhl-1th"
    ):
        link_films(["a.jpg"])


def test_no_patient_is_on_both_sides_of_the_split() -> None:
    patients = np.repeat([f"p{k}" for k in range(100)], 3)
    aside = held_out(patients)
    assert aside.sum() == 60
    assert not set(patients[aside]) & set(patients[~aside])
    assert np.bincount(split_patients(patients)).tolist() == [60] * 5


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UnreadableError, match=r"landmarks\.csv; set SPINELAB_DATA to the folder with xray_ap/"
    ):
        read_film_sets(tmp_path)


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "xray_ap").is_dir(), reason="the landmark sets of shared/data are not here")
def test_the_real_sets_agree_with_their_own_angles() -> None:
    sets = read_film_sets(DATA)
    assert sets.coronal_deg.shape == (480, 17)
    assert held_out(sets.patient).sum() == 97
    main = np.ptp(sets.coronal_deg, axis=1)
    assert np.abs(main - sets.three_cobb_deg.max(axis=1)).max() < 0.1
