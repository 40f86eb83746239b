"""Which MR scans are found, and what is marked in them."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import spinelab.train
from spinelab.errors import InputError
from spinelab.train.mr_cases import find_landmarks, find_mr_cases, prepare_mr
from tests.train.mr_folder import STARTS, make_mask, write_person

SPLIT = Path(spinelab.train.__file__).parent / "development_mr.json"


def test_scans_are_labelled_where_a_mask_lies_beside(tmp_path):
    write_person(tmp_path, "set_01")
    write_person(tmp_path, "set_02", labelled=False)
    (tmp_path / "set_03_discs.nii.gz").write_bytes(b"")
    cases = find_mr_cases(tmp_path)
    assert [(case.name, case.bodies is not None) for case in cases] == [("set_01", True), ("set_02", False)]


def test_two_scans_of_one_person_are_refused(tmp_path):
    write_person(tmp_path, "set_01")
    (tmp_path / "set_01_t1.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match="holds two scans called set_01; keep one contrast a folder"):
        find_mr_cases(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="no scan in"):
        find_mr_cases(tmp_path)


def test_centres_and_corners_are_those_of_the_blocks_and_s1_follows_l5():
    found = find_landmarks(make_mask())
    assert found.labels.tolist() == [22, 23, 24, 26]
    for points, start in zip(found.points_mm[:3], STARTS, strict=True):
        middle = 1.5 * (start + 8.5)
        assert points[0] == pytest.approx((23, 46, middle), abs=1.0)
        assert points[1] == pytest.approx((23, 29, middle + 13.5), abs=1.2)
        assert points[4] == pytest.approx((23, 63, middle - 13.5), abs=1.2)
    lean = np.radians(14)
    below = (23, 46 + 23 * np.sin(lean), 1.5 * 9.5 - 23 * np.cos(lean))
    assert found.points_mm[3, 0] == pytest.approx(below, abs=1.5)
    assert np.isnan(found.points_mm[3, 1:]).all()


def test_no_s1_without_l5():
    assert find_landmarks(make_mask((20, 21))).labels.tolist() == [20, 21]


def test_one_body_is_too_little():
    with pytest.raises(InputError, match="the mask shows 1 whole bodies, wanted at least 2"):
        find_landmarks(make_mask((22,)))


def test_prepared_points_lie_on_the_prepared_grid(tmp_path):
    write_person(tmp_path, "set_01")
    write_person(tmp_path, "set_02", labelled=False)
    labelled, plain = prepare_mr(find_mr_cases(tmp_path))
    index = np.rint(labelled.points_mm[:3, 0] / 2).astype(int)
    assert (labelled.array[tuple(index.T)] > 0.5).all()
    assert labelled.array.shape == labelled.seen.shape
    assert len(plain.labels) == len(plain.points_mm) == 0


def test_the_split_names_every_person_once():
    split = json.loads(SPLIT.read_text(encoding="utf-8"))
    groups = [names for key in ("labelled", "unlabelled", "held_out") for names in split[key].values()]
    every = [name for names in groups for name in names]
    assert len(every) == len(set(every)) == 26 + 9 + 5
    assert len(split["labelled"]["lumbar_dixon"]) == 8
