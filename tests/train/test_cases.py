import json

import numpy as np
import pytest

from spinelab.errors import InputError
from spinelab.labels import convert_mask
from spinelab.train.cases import find_cases, read_flat_centers
from spinelab.volume import Geometry, Mask


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def centroids(folder, name, data):
    path = folder / "centroids" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_the_verse_layout_by_subject(tmp_path):
    touch(
        tmp_path,
        "rawdata/sub-verse004/sub-verse004_ct.nii.gz",
        "derivatives/sub-verse004/sub-verse004_seg-vert_msk.nii.gz",
        "derivatives/sub-verse004/sub-verse004_seg-subreg_ctd.json",
        "rawdata/sub-verse401/sub-verse401_split-verse253_ct.nii.gz",
        "derivatives/sub-verse401/sub-verse401_split-verse253_seg-vert_msk.nii.gz",
        "derivatives/sub-verse401/sub-verse401_split-verse253_seg-vb_ctd.json",
    )
    first, second = find_cases(tmp_path)
    assert first.name == "sub-verse004"
    assert first.image.name == "sub-verse004_ct.nii.gz"
    assert first.vertebrae.name == "sub-verse004_seg-vert_msk.nii.gz"
    assert first.centers.name == "sub-verse004_seg-subreg_ctd.json"
    assert first.named
    assert first.organs is None
    assert second.name == "sub-verse401_split-verse253"
    assert second.centers.name == "sub-verse401_split-verse253_seg-vb_ctd.json"


def test_pairs_as_in_ctspine1k(tmp_path):
    touch(
        tmp_path,
        "data/liver/liver_7.nii.gz",
        "labels/liver_7_seg.nii.gz",
        "data/1.3.6.1.4.1.9328.50.4.0001.nii.gz",
        "labels/1.3.6.1.4.1.9328.50.4.0001_seg.nii.gz",
        "data/no_mask.nii.gz",
    )
    cases = {case.name: case for case in find_cases(tmp_path)}
    assert set(cases) == {"liver_7", "1.3.6.1.4.1.9328.50.4.0001"}
    assert cases["liver_7"].image == tmp_path / "data" / "liver" / "liver_7.nii.gz"
    assert cases["liver_7"].vertebrae == tmp_path / "labels" / "liver_7_seg.nii.gz"


def test_the_iso_centroids_of_the_challenge_layout_are_left_alone(tmp_path):
    touch(tmp_path, "verse004_CT.nii.gz", "verse004_CT_seg.nii.gz", "verse004_CT_iso-ctd.json")
    (case,) = find_cases(tmp_path)
    assert case.image.name == "verse004_CT.nii.gz"
    assert case.centers is None, "they are not in voxels of the image"


def test_the_flat_layout_with_masks_alone_centres_alone_and_doubtful_names(tmp_path):
    touch(
        tmp_path,
        "a_ct.nii.gz",
        "a_vert.nii.gz",
        "a_organs.nii.gz",
        "b_ct.nii.gz",
        "c_vert.nii.gz",
        "d_ct.nii.gz",
    )
    centroids(tmp_path, "a", {"numbering": "certain"})
    centroids(tmp_path, "b", {"numbering": "likely"})
    a, b, c = find_cases(tmp_path)
    assert [case.name for case in (a, b, c)] == ["a", "b", "c"], "d has neither mask nor centres"
    assert a.organs.name == "a_organs.nii.gz"
    assert a.named
    assert b.vertebrae is None
    assert not b.named
    assert c.image is None


def test_cases_are_sorted_by_name_wherever_they_lie(tmp_path):
    touch(tmp_path, "z/a_vert.nii.gz", "a/z_vert.nii.gz")
    assert [case.name for case in find_cases(tmp_path)] == ["a", "z"]


def test_two_files_for_one_part_of_a_case_are_refused(tmp_path):
    touch(tmp_path, "one/x_ct.nii.gz", "two/x_ct.nii.gz", "x_vert.nii.gz")
    with pytest.raises(InputError, match=r"case x has two files for its image: one.x_ct.nii.gz and two.x_ct"):
        find_cases(tmp_path)


def test_a_folder_without_cases_is_refused(tmp_path):
    touch(tmp_path, "lonely_ct.nii.gz")
    with pytest.raises(InputError, match=r"no case in .*: wanted X_ct.nii.gz with X_seg-vert_msk.nii.gz"):
        find_cases(tmp_path)


def test_flat_centres_become_lps_and_s1_the_sacrum(tmp_path):
    path = centroids(
        tmp_path,
        "a",
        {
            "frame": "RAS mm",
            "vertebrae": [
                {"level": "L5", "center_mm": [1, 2, 3]},
                {"level": "S1", "center_mm": [-4, 5, -6]},
            ],
        },
    )
    assert read_flat_centers(path) == {24: (-1.0, -2.0, 3.0), 26: (4.0, -5.0, -6.0)}


def test_flat_centres_of_another_frame_are_refused(tmp_path):
    path = centroids(tmp_path, "a", {"frame": "LPS mm", "vertebrae": []})
    with pytest.raises(InputError, match=r"a.json: frame is 'LPS mm', wanted 'RAS mm'"):
        read_flat_centers(path)


def test_organ_numbers_become_verse_numbers():
    organs = np.array([0, 5, 25, 26, 27, 31, 32, 43, 44, 50, 51, 92], np.uint8)
    # L5 is 27 and C1 is 50 in TotalSegmentator v2; 25 and 26 are sacrum and S1; the rest is no vertebra
    mask = Mask(organs[:, None, None], Geometry.from_spacing((12, 1, 1), (1, 1, 1)))
    found = convert_mask(mask, "totalsegmentator_v2", "verse", drop=True).array[:, 0, 0]
    assert found.tolist() == [0, 0, 26, 26, 24, 20, 19, 8, 7, 1, 0, 0]
