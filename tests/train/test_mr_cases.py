"""Which MR scans are found, and what is marked in them."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import spinelab.train
from spinelab.anatomy import BY_LABEL
from spinelab.errors import InputError
from spinelab.io import verse, write_image, write_mask
from spinelab.spine import Spine, Vertebra
from spinelab.train.cases import find_cases
from spinelab.train.mr_cases import (
    find_landmarks,
    find_mr_cases,
    find_unlabelled,
    prepare_mr,
    prepare_painted,
    prepare_readable,
)
from spinelab.train.paint import CORE
from spinelab.volume import Image
from tests.train.mr_folder import GRID, STARTS, make_mask, write_person

SPLIT = Path(spinelab.train.__file__).parent / "development_mr.json"
SHIPPED = SPLIT.with_name("shipped_mr.json")


def test_scans_are_labelled_where_a_mask_lies_beside(tmp_path):
    write_person(tmp_path, "set_01")
    write_person(tmp_path, "set_02", labelled=False)
    (tmp_path / "set_03_discs.nii.gz").write_bytes(b"")
    cases = find_mr_cases(tmp_path)
    assert [(case.name, case.labelled) for case in cases] == [("set_01", True), ("set_02", False)]


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


def test_whom_development_held_out_the_shipped_weights_do_not_see_either():
    split, shipped = (json.loads(path.read_text(encoding="utf-8")) for path in (SPLIT, SHIPPED))
    held_out = {name for names in shipped["held_out"].values() for name in names}
    assert {name for names in split["held_out"].values() for name in names} < held_out
    assert not held_out & {name for names in shipped["labelled"].values() for name in names}
    assert len(held_out) == 9 + 4 + 16


def write_centers(folder, name, labels=(22, 23, 24)):
    heights = [1.5 * (start + 8.5) for start in STARTS]
    vertebrae = tuple(
        Vertebra(BY_LABEL[label].name, (23.0, 46.0, height), 1.0)
        for label, height in zip(labels, heights, strict=False)
    )
    verse.write_centroids(Spine(vertebrae), GRID, folder / f"{name}_ctd.json")


def test_centres_alone_are_labels_and_corners_stay_unknown(tmp_path):
    write_person(tmp_path, "set_01", labelled=False)
    write_centers(tmp_path, "set_01")
    (case,) = prepare_mr(find_mr_cases(tmp_path))
    assert case.labels.tolist() == [22, 23, 24]
    assert case.points_mm[0, 0, 2] == pytest.approx(1.5 * (STARTS[0] + 8.5), abs=1.5)
    assert np.isnan(case.points_mm[:, 1:]).all()


def test_centres_add_what_a_mask_does_not_show(tmp_path):
    write_person(tmp_path, "set_01", labelled=False)
    write_mask(make_mask((22, 23)), tmp_path / "set_01_bodies.nii.gz")
    write_centers(tmp_path, "set_01")
    (case,) = prepare_mr(find_mr_cases(tmp_path))
    assert case.labels.tolist() == [22, 23, 24]
    assert np.isfinite(case.points_mm[1]).all()
    assert np.isnan(case.points_mm[2, 1:]).all()


def test_one_centre_is_too_little(tmp_path):
    write_person(tmp_path, "set_01", labelled=False)
    write_centers(tmp_path, "set_01", (22,))
    with pytest.raises(InputError, match="set_01 has 1 vertebrae marked, wanted at least 2"):
        prepare_mr(find_mr_cases(tmp_path))


def test_a_single_slice_stands_for_a_slab_about_its_own_place(tmp_path):
    mask = make_mask()
    sheet = mask.cropped((12, 0, 0), (13, 50, 100))
    write_mask(sheet, tmp_path / "set_01_bodies.nii.gz")
    noise = np.random.default_rng(1).normal(0, 5, sheet.array.shape)
    write_image(
        Image((sheet.array + noise).astype(np.float32), sheet.geometry), tmp_path / "set_01_t2.nii.gz"
    )
    (case,) = prepare_mr(find_mr_cases(tmp_path))
    assert case.kind == "slice"
    assert case.array.shape == (16, 50, 75)
    assert np.ptp(case.array, axis=0).max() < 1e-5
    assert case.points_mm[:3, 0, 0] == pytest.approx(15, abs=0.6)
    assert np.isfinite(case.points_mm[:3]).all()


def test_unlabelled_scans_are_listed_whatever_lies_beside_and_the_unreadable_named(tmp_path):
    write_person(tmp_path, "set_01")
    (tmp_path / "set_01_t1.nii.gz").write_bytes(b"broken")
    cases = find_unlabelled(tmp_path)
    assert [case.name for case in cases] == ["set_01_t1", "set_01_t2"]
    prepared, refused = prepare_readable(cases)
    assert [case.name for case in prepared] == ["set_01_t2"]
    assert len(prepared[0].labels) == 0
    assert "set_01_t1" in refused["set_01_t1"]
    with pytest.raises(InputError, match="no scan in"):
        find_unlabelled(tmp_path / "nowhere")


def test_label_maps_become_classes_about_their_column_with_landmarks(tmp_path):
    write_mask(make_mask(), tmp_path / "map_vert.nii.gz")
    write_mask(make_mask((22,)), tmp_path / "one_vert.nii.gz")
    (case,) = prepare_painted(find_cases(tmp_path), tmp_path / "cache")
    assert (case.name, case.kind) == ("map", "painted")
    assert case.labels.tolist() == [22, 23, 24, 26]
    index = np.rint(case.points_mm[:3, 0] / 2).astype(int)
    assert (case.array[tuple(index.T)] == CORE).all()
