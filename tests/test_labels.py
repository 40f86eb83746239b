"""Schemes against their published numbers, and every refusal."""

import numpy as np
import pytest

from spinelab.errors import GeometryError, LabelError
from spinelab.labels import SCHEMES, conversion, convert_mask, join_masks, scheme_of, split_mask, structures
from spinelab.volume import Geometry, Mask

GRID = Geometry.from_spacing((4, 1, 1), (1.0, 1.0, 1.0))


def mask(*labels: int) -> Mask:
    array = np.zeros((4, 1, 1), dtype=np.uint16)
    array[: len(labels), 0, 0] = labels
    return Mask(array, GRID)


@pytest.mark.parametrize(
    ("scheme", "label", "name"),
    [
        ("verse", 1, "C1"),
        ("verse", 19, "T12"),
        ("verse", 25, "L6"),
        ("verse", 26, "S"),
        ("verse", 28, "T13"),
        ("verse", 119, "disc T12"),
        ("totalsegmentator_v1", 18, "L5"),
        ("totalsegmentator_v1", 22, "L1"),
        ("totalsegmentator_v1", 23, "T12"),
        ("totalsegmentator_v1", 34, "T1"),
        ("totalsegmentator_v1", 35, "C7"),
        ("totalsegmentator_v1", 41, "C1"),
        ("totalsegmentator_v1", 92, "S"),
        ("totalsegmentator_v2", 25, "S"),
        ("totalsegmentator_v2", 26, "S1"),
        ("totalsegmentator_v2", 27, "L5"),
        ("totalsegmentator_v2", 31, "L1"),
        ("totalsegmentator_v2", 32, "T12"),
        ("totalsegmentator_v2", 43, "T1"),
        ("totalsegmentator_v2", 44, "C7"),
        ("totalsegmentator_v2", 50, "C1"),
        ("totalsegmentator_v3", 26, "L6"),
        ("totalsegmentator_v3", 27, "L5"),
        ("totalsegmentator_mr", 1, "S"),
        ("totalsegmentator_mr", 2, "L5"),
        ("totalsegmentator_mr", 25, "C1"),
        ("totalspineseg", 11, "C1"),
        ("totalspineseg", 17, "C7"),
        ("totalspineseg", 21, "T1"),
        ("totalspineseg", 32, "T12"),
        ("totalspineseg", 41, "L1"),
        ("totalspineseg", 45, "L5"),
        ("totalspineseg", 50, "S"),
        ("totalspineseg", 63, "disc C2"),
        ("totalspineseg", 67, "disc C6"),
        ("totalspineseg", 71, "disc C7"),
        ("totalspineseg", 82, "disc T11"),
        ("totalspineseg", 91, "disc T12"),
        ("totalspineseg", 95, "disc L4"),
        ("totalspineseg", 100, "disc L5"),
        ("spider", 1, "L5"),
        ("spider", 5, "L1"),
        ("spider", 6, "T12"),
        ("spider", 24, "C1"),
        ("spider", 101, "partial L5"),
        ("spider", 100, "canal"),
        ("spider", 201, "disc L5"),
        ("spider", 206, "disc T12"),
    ],
)
def test_published_numbers(scheme, label, name):
    assert SCHEMES[scheme][label] == name


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_every_scheme_names_each_structure_once(scheme):
    names = list(SCHEMES[scheme].values())
    assert len(names) == len(set(names))
    assert {"C1", "T1", "T12", "L5"} <= set(names)


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_the_24_common_vertebrae_go_there_and_back(scheme):
    labels = [*range(1, 25)]
    there = conversion(labels, "verse", scheme)
    back = conversion(there.values(), scheme, "verse")
    assert [back[there[label]] for label in labels] == labels


def test_convert_mask_keeps_grid_background_and_order():
    converted = convert_mask(mask(27, 32, 0, 50), "totalsegmentator_v2", "verse")
    assert converted.array[:, 0, 0].tolist() == [24, 19, 0, 1]
    assert converted.array.dtype == np.uint8
    assert converted.geometry is GRID


def test_an_empty_mask_converts_to_an_empty_mask():
    assert convert_mask(mask(), "spider", "verse").labels() == ()


def test_lossy_conversion_is_refused_by_name():
    with pytest.raises(
        LabelError, match=r"totalspineseg has no label for 25 \(L6\), 28 \(T13\) of verse.*--drop"
    ):
        convert_mask(mask(20, 25, 28), "verse", "totalspineseg")


def test_organs_of_a_whole_body_mask_are_refused_and_dropped_on_request():
    with pytest.raises(
        LabelError, match=r"no label for 1 of totalsegmentator_v2 \(1 of them are no part of a spine"
    ):
        convert_mask(mask(1, 27), "totalsegmentator_v2", "verse")
    kept = convert_mask(mask(1, 27), "totalsegmentator_v2", "verse", drop=True)
    assert kept.array[:, 0, 0].tolist() == [0, 24, 0, 0]


def test_a_long_list_of_losses_is_cut_short():
    with pytest.raises(LabelError, match=r"57, 58 and 2 more of totalsegmentator_v2 \(10 of them"):
        conversion(range(51, 61), "totalsegmentator_v2", "verse")


def test_s1_joins_the_sacrum_only_when_loss_is_accepted():
    with pytest.raises(LabelError, match=r"26 \(S1\)"):
        convert_mask(mask(25, 26), "totalsegmentator_v2", "verse")
    assert convert_mask(mask(25, 26), "totalsegmentator_v2", "verse", drop=True).labels() == (26,)


def test_partial_vertebrae_of_spider_are_not_taken_for_whole_ones():
    with pytest.raises(LabelError, match=r"106 \(partial T12\)"):
        convert_mask(mask(5, 106), "spider", "verse")
    assert convert_mask(mask(5, 106), "spider", "verse", drop=True).labels() == (20,)


def test_discs_travel_where_both_schemes_have_them():
    assert conversion([201, 1], "spider", "totalspineseg") == {201: 100, 1: 45}


@pytest.mark.parametrize("name", ["TotalSegmentator v2", "totalsegmentator-v2", "ts_v2", " TS-v2 "])
def test_scheme_names_are_forgiving(name):
    assert scheme_of(name) == "totalsegmentator_v2"


def test_unknown_scheme_lists_the_known_ones():
    with pytest.raises(
        LabelError, match=r"no label scheme 'nnunet'; choose one of verse, totalsegmentator_v1"
    ):
        scheme_of("nnunet")


def test_split_and_join_are_inverse():
    parts = split_mask(mask(20, 21, 26), "verse")
    assert list(parts) == ["L1", "L2", "S"]
    assert join_masks(parts).array[:, 0, 0].tolist() == [20, 21, 26, 0]


def test_join_reads_totalsegmentator_file_names():
    assert join_masks({"vertebrae_T7": mask(1), "sacrum": mask(0, 3)}).labels() == (14, 26)


def test_split_refuses_unknown_labels():
    with pytest.raises(LabelError, match="verse has no label 90; check the source scheme"):
        split_mask(mask(20, 90), "verse")
    assert list(split_mask(mask(20, 90), "verse", drop=True)) == ["L1"]


def test_join_refuses_what_it_cannot_place():
    with pytest.raises(LabelError, match="no masks to join"):
        join_masks({})
    with pytest.raises(LabelError, match=r"verse has no label for 'liver' \(file name\) of names"):
        join_masks({"liver": mask(1)})
    assert join_masks({"liver": mask(1), "L1": mask(1)}, drop=True).labels() == (20,)
    with pytest.raises(LabelError, match="the mask of L2 overlaps another"):
        join_masks({"L1": mask(1), "L2": mask(1)})
    other = Mask(np.ones((4, 1, 1), dtype=np.uint8), Geometry.from_spacing((4, 1, 1), (2.0, 1.0, 1.0)))
    with pytest.raises(GeometryError, match="the mask of L2 is on another grid"):
        join_masks({"L1": mask(1), "L2": other})


def test_structures_leaves_out_the_unknown():
    assert structures([1, 90], "verse") == {1: "C1"}
