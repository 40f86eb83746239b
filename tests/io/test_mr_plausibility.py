"""What is refused as no MR of a spine, and what is let through."""

from dataclasses import replace

import numpy as np
import pytest

from spinelab.errors import GeometryError, ModalityError, UnreadableError
from spinelab.io import check_mr
from spinelab.io.plausibility import looks_like_mr
from spinelab.volume import Geometry, Image

RNG = np.random.default_rng(0)


def scan(shape=(12, 60, 60), spacing=(4.4, 1.5, 1.5), **change):
    array = RNG.integers(0, 800, shape).astype(np.int16)
    return replace(Image(array, Geometry.from_spacing(shape, spacing)), **change)


@pytest.mark.parametrize("shape", [(12, 60, 60), (1, 90, 90)])
def test_a_stack_and_a_single_slice_pass(shape):
    image = scan(shape)
    checked = check_mr(image)
    assert checked.image.modality == "MR"
    assert checked.image.array is image.array
    assert checked.warnings == ()


@pytest.mark.parametrize("change", [{"modality": "CT"}, {"info": {"modality": "CT"}}])
def test_a_ct_by_its_header_is_sent_to_analyze(change):
    with pytest.raises(ModalityError, match="the header says CT, wanted MR; CT goes to spinelab analyze"):
        check_mr(scan(**change))


def test_a_ct_by_its_numbers_is_sent_to_analyze():
    image = scan()
    with pytest.raises(ModalityError, match="voxels reach -1000 as fat and air do in CT, wanted MR"):
        check_mr(replace(image, array=(image.array - 1000).astype(np.int16)))


def test_axial_slices_are_refused():
    with pytest.raises(GeometryError, match=r"found voxels of 1 x 1 x 5 mm; .*not axial or coronal slices"):
        check_mr(scan((60, 60, 20), (1, 1, 5)))


def test_slices_far_apart_are_refused():
    with pytest.raises(GeometryError, match="found sagittal slices 12 mm apart, wanted at most 10 mm"):
        check_mr(scan(spacing=(12, 1.5, 1.5)))


def test_a_small_piece_is_refused():
    with pytest.raises(GeometryError, match="shows 45 mm of the sagittal plane, wanted at least 60 mm"):
        check_mr(scan((12, 60, 30)))


def test_an_empty_scan_is_refused():
    with pytest.raises(UnreadableError, match="every voxel is 0"):
        check_mr(scan(array=np.zeros((12, 60, 60), np.int16)))


def test_holes_become_zero_and_are_told():
    array = scan().array.astype(np.float32)
    array[0, 0, :3] = np.nan
    checked = check_mr(scan(array=array))
    assert checked.image.array[0, 0, 0] == 0
    assert checked.warnings == ("3 voxels are no finite numbers and were set to 0.",)
    with pytest.raises(UnreadableError, match="no voxel is a finite number"):
        check_mr(scan(array=np.full_like(array, np.nan)))


def test_an_mr_that_was_normalised_is_told_how_to_pass():
    image = scan()
    with pytest.raises(ModalityError, match=r"an MR with values below zero .* is to be shifted"):
        check_mr(replace(image, array=(image.array - 400.0).astype(np.float32)))


@pytest.mark.parametrize("labels", [2, 8, 40])
def test_a_mask_is_no_scan(labels):
    array = (np.arange(12 * 60 * 60).reshape(12, 60, 60) % labels).astype(np.uint8)
    with pytest.raises(ModalityError, match=f"found {labels} different values, all whole numbers, as a mask"):
        check_mr(replace(scan(), array=array))


def test_few_values_with_fractions_are_no_mask():
    array = (scan().array % 8 + 0.5).astype(np.float32)
    assert check_mr(replace(scan(), array=array)).warnings == ()


def test_values_of_a_ct_with_an_offset_are_told():
    array = RNG.normal(1050, 40, (12, 60, 60)).astype(np.int16)
    array[:, :30] = 0
    (warning,) = check_mr(replace(scan(), array=array)).warnings
    assert warning.startswith("Most values lie between 850 and 1200, as in a CT stored with 1024 added")


@pytest.mark.parametrize(
    ("make", "mr"),
    [
        (lambda a: a, True),
        (lambda a: a.astype(np.float32), True),
        (lambda a: a - 1000, False),
        (lambda a: a / 800, False),
        (lambda a: RNG.normal(1050, 40, a.shape), False),
        (lambda a: np.full(a.shape, np.nan), False),
    ],
)
def test_an_mr_without_header_is_told_by_its_voxels(make, mr):
    image = scan()
    assert looks_like_mr(replace(image, array=make(image.array))) == mr


@pytest.mark.parametrize(("modality", "mr"), [("MR", True), ("CT", False), ("XR", False)])
def test_the_header_decides_where_it_says(modality, mr):
    assert looks_like_mr(scan(info={"modality": modality})) == mr
    assert looks_like_mr(scan(modality=modality)) == mr
