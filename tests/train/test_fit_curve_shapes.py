import json
import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from spinelab.errors import UnreadableError
from spinelab.simulate.curve_model import LEVELS
from spinelab.train.film_corners import FilmSets, held_out, read_film_sets

pytest.importorskip("sklearn", reason="the fit needs scikit-learn (extras train and dev)")

from spinelab.train.fit_curve_shapes import (
    COMPONENTS,
    NECK,
    fit_axial,
    fit_coronal,
    fit_incomplete,
    fit_proportions,
    fit_reading,
    fit_sagittal,
    read_vid,
)

DATA = Path(os.environ.get("SPINELAB_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def made_sets(count: int = 120) -> FilmSets:
    """Sets of eight smooth waves of known size, two films a patient, bodies half the distance high."""
    rng = np.random.default_rng(0)
    along = np.arange(17) / 16
    waves = np.array([np.cos(np.pi * k * along) for k in range(8)])
    tilts = (rng.normal(size=(count, 8)) * [4, 8, 12, 6, 4, 3, 2, 2]) @ waves
    centers = np.zeros((count, 17, 2))
    centers[:, :, 1] = -100.0 * np.arange(17)
    patients = np.array([f"p{k // 2}" for k in range(count)])
    wedge = np.zeros_like(tilts)
    wedge[:, 1:-1] = -(tilts[:, 2:] - tilts[:, :-2]) / 4
    return FilmSets(tilts, wedge, np.full((count, 17), 800 / 16), centers, np.zeros((count, 3)), patients)


def test_the_components_hold_a_column_that_has_no_more_of_them() -> None:
    model = fit_coronal(made_sets())
    assert np.shape(model["components"]) == (COMPONENTS, 17)
    assert model["explained_in_degrees"] > 0.97
    assert sum(model["weights"]) == pytest.approx(1, abs=1e-3)
    assert model["patients"] == 60


def test_what_the_components_leave_over_is_told_by_vector_film_and_size() -> None:
    rng = np.random.default_rng(1)
    vectors = np.linalg.qr(rng.normal(size=(17, 17)))[0][:, : 17 - COMPONENTS].T
    scale = np.linspace(3, 1, len(vectors))
    size = np.exp(rng.normal(2.5, 0.6, 4000))
    amount = (size / np.exp(2.5)) ** 0.3 * np.exp(0.25 * rng.normal(size=4000) - 0.25**2)
    found = fit_reading(amount[:, None] * (rng.normal(size=(4000, len(scale))) * scale) @ vectors, size)
    assert found["scale_deg"] == pytest.approx(scale, rel=0.08)
    assert found["grows_with_size"] == pytest.approx(0.3, abs=0.03)
    assert found["varies_by"] == pytest.approx(0.25, abs=0.08)  # unequal vectors add a little
    assert np.abs(np.array(found["components"]) @ vectors.T).max(axis=1) == pytest.approx(1, abs=0.1)


def test_proportions_and_the_share_of_the_bodies_are_found() -> None:
    found = fit_proportions(made_sets())
    assert found["center_distance"] == pytest.approx([0.0625] * 16, abs=1e-4)
    assert found["body_height"] == pytest.approx([0.0312] * 17, abs=1e-3)
    assert found["body_share_of_bend_T2_to_L4"] == pytest.approx([0.5] * 15)


def test_gaps_do_not_bias_the_covariance() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([[4.0, 3.0], [3.0, 9.0]])
    rows = rng.multivariate_normal([1, -2], truth, 600)
    rows[:300, 0] = np.nan
    mean, covariance = fit_incomplete(rows)
    assert mean == pytest.approx([1, -2], abs=0.4)
    assert covariance == pytest.approx(truth, abs=1.2)


def lying_scan(rng: np.random.Generator, turn_per_mm: float = 0.0) -> dict[str, np.ndarray]:
    """A column with a left convex bow of 20 mm, each vertebra turned by its deviation."""
    scan = {}
    for k, name in enumerate((*NECK, *LEVELS), start=-len(NECK)):
        bow = 20 * np.sin(np.pi * k / 16)
        center = np.array([bow, 0.1 * k**2 + rng.normal(0, 0.5), -27.0 * k])
        turn = np.radians(turn_per_mm * bow)
        across = 15 * np.array([np.cos(turn), np.sin(turn), 0])
        scan[name] = np.array([center, center + across, center - across])
    return scan


def test_ct_scans_show_the_slope_they_were_made_with() -> None:
    scans = [lying_scan(np.random.default_rng(k), 0.5) for k in range(10)]
    found = fit_axial(made_sets(), scans, 432.0)["vid"]
    assert found["scans"] == 10
    assert found["correlation"] > 0.99
    # deviation from the chord four levels away: 1 - cos(pi / 4) of the bow
    assert found["deg_per_column_length"] == pytest.approx(0.5 * 432 / (1 - np.cos(np.pi / 4)), rel=0.05)


def test_the_sagittal_mean_is_that_of_the_scans() -> None:
    found = fit_sagittal([lying_scan(np.random.default_rng(k)) for k in range(60)])
    # y goes back by 0.1 k^2, so that the line leans to the front by the angle of 0.2 k over 27
    expected = -np.degrees(np.arctan2(0.2 * np.arange(17), 27))
    assert found["mean_deg"][2:15] == pytest.approx(expected[2:15], abs=0.4)


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"lps_mm\.csv; set SPINELAB_DATA to the folder with xray_ap/"):
        read_vid(tmp_path)


def test_one_scan_a_patient_is_read(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    head = "id,source,patient,level,body_x,body_y,body_z,left_x,left_y,left_z,right_x,right_y,right_z"
    rows = ["b,X,p,L1,1,2,3,4,5,6,7,8,9", "a,X,p,L2,1,2,3,4,5,6,7,8,9", "a,X,p,L3,1,2,3,,5,6,7,8,9"]
    (tmp_path / "tables" / "vid_vertebra_keypoints_lps_mm.csv").write_text("\n".join([head, *rows]))
    (scan,) = read_vid(tmp_path)
    assert list(scan) == ["L2"]
    assert scan["L2"].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "xray_ap").is_dir(), reason="the landmark sets of shared/data are not here")
def test_the_shipped_model_is_the_fit_to_four_fifths() -> None:
    shipped = json.loads(files("spinelab").joinpath("data/curve_shapes.json").read_text(encoding="utf-8"))
    sets = read_film_sets(DATA)
    again = fit_coronal(sets.chosen(~held_out(sets.patient)))
    assert shipped["coronal"]["sets"] == 383
    assert np.array(again["components"]) == pytest.approx(
        np.array(shipped["coronal"]["components"]), abs=2e-3
    )
    assert again["weights"] == pytest.approx(shipped["coronal"]["weights"], abs=2e-2)
