import json
import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from spinelab.errors import UnreadableError
from spinelab.train.fit_column_prior import NAMES, Column, fit, fit_sacrum_ratio, read_columns

DATA = Path(os.environ.get("SPINELAB_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def write_tables(folder: Path) -> None:
    """Two VID scans of one patient and two VerSe rows; one of these is the same patient, one has T13."""
    head = "id,source,patient,level,verse_label,body_x,body_y,body_z"
    rows = ["a,verse20,sub-verse401,L1,20,0,0,0", "a,verse20,sub-verse401,L2,21,0,0,-30", "b,X,?,L1,20,0,0,0"]
    (folder / "vid_vertebra_keypoints_lps_mm.csv").write_text("\n".join([head, *rows]))
    points = ["nan"] * 75
    points[57:63] = ["0", "0", "0", "0", "0", "-40"]
    (folder / "verse2019_centroids_mm.csv").write_text(",".join(["verse201", *points]))
    first = ",".join(["verse401_verse201_CT-iso", *points, "nan", "nan", "nan"])
    with_t13 = ",".join(["verse009", *points, "0", "0", "9"])
    (folder / "verse2020_centroids_mm.csv").write_text(f"{first}\n{with_t13}")


def test_patients_are_linked_across_tables_and_odd_columns_left_out(tmp_path: Path) -> None:
    write_tables(tmp_path)
    columns = read_columns(tmp_path)
    assert [column.scan for column in columns] == ["a", "b", "verse201", "verse401_verse201_CT-iso"]
    assert [column.patient for column in columns] == ["verse201", "b", "verse201", "verse201"]
    assert columns[2].centers_mm["L2"].tolist() == [0, 0, -40]


def test_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"vid_vertebra_keypoints_lps_mm\.csv; set SPINELAB_DATA"):
        read_columns(tmp_path)


def test_missing_sacrum_case_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"ccth_a01\.json; set SPINELAB_DATA"):
        fit_sacrum_ratio(tmp_path)


def test_fit_gives_back_the_spacing_it_was_drawn_from() -> None:
    rng = np.random.default_rng(0)
    columns = []
    for number in range(300):
        size = np.exp(rng.normal(0, 0.08))
        steps = 30 * size * np.exp(rng.normal(0, 0.06, len(NAMES) - 1))
        depth = -np.r_[0, np.cumsum(steps)]
        points = {name: np.array([0, 0, z]) for name, z in zip(NAMES, depth, strict=True)}
        columns.append(Column(f"p{number}", f"s{number}", points))
    prior = fit(columns, sacrum_ratio=1.0)
    assert prior["patients"] == prior["scans"] == 300
    assert prior["pairs"][5]["mean_mm"] == pytest.approx(30, rel=0.03)
    assert prior["pairs"][5]["sd_log"] == pytest.approx(0.1, abs=0.015)
    # size shares 0.08^2 of the 0.08^2 + 0.06^2
    assert prior["correlation_by_lag"][3] == pytest.approx(0.64, abs=0.08)
    assert prior["turns"][4]["sagittal_sd_deg"] == 0


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "tables").is_dir(), reason="needs the tables of SPINELAB_DATA")
def test_shipped_prior_is_what_the_tables_give() -> None:
    columns = [column for column in read_columns(DATA / "tables") if not column.held_out]
    shipped = json.loads(files("spinelab").joinpath("data/column_prior.json").read_text(encoding="utf-8"))
    assert fit(columns, fit_sacrum_ratio(DATA / "ct" / "centroids")) == shipped
