import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spinelab.errors import GeometryError, ModalityError, UnreadableError
from spinelab.io import check_ct, read
from spinelab.volume import Geometry, Image
from tests.io.volumes import ct, grid

DATA = Path(os.environ.get("SPINELAB_DATA", Path(__file__).parents[3] / "shared" / "data"))
real = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real scans in {DATA}; set SPINELAB_DATA")


def test_a_good_ct_passes_untouched():
    image = ct()
    checked = check_ct(image)
    assert checked.warnings == ()
    assert checked.image.array is image.array
    assert checked.image.modality == "CT"


def test_warnings_of_the_reader_are_handed_on():
    checked = check_ct(replace(ct(), info={"warnings": "One.\nTwo.", "kernel": "B30f"}))
    assert checked.warnings == ("One.", "Two.")
    assert checked.image.info == {"kernel": "B30f"}


def test_padding_becomes_air_and_the_input_stays():
    image = ct()
    image.array[:3] = -3024
    image.array[3:5] = -2000
    checked = check_ct(image)
    assert checked.image.array.min() == -1024
    assert (checked.image.array[:5] == -1024).all()
    assert checked.image.array.dtype == np.int16
    assert image.array.min() == -3024


def test_partly_nan_becomes_air_with_a_warning():
    array = ct().array.astype(np.float32)
    array[:6] = np.nan
    array[6, 0, 0] = np.inf
    checked = check_ct(Image(array, ct().geometry))
    assert "25 % of the voxels were not finite" in checked.warnings[0]
    assert (checked.image.array[:6] == -1024).all()
    assert checked.image.array[6, 0, 0] == -1024
    assert np.isnan(array[0, 0, 0])


def test_all_nan_is_refused():
    array = np.full((24, 24, 24), np.nan, np.float32)
    with pytest.raises(UnreadableError, match=r"no voxel is a finite number .*convert"):
        check_ct(Image(array, ct().geometry))


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_values_raised_by_1024_are_put_right_aloud(dtype):
    image = ct()
    checked = check_ct(replace(image, array=(image.array + 1024).astype(dtype)))
    assert checked.warnings[0].startswith("ATTENTION: the values are HU + 1024")
    np.testing.assert_array_equal(checked.image.array, np.maximum(image.array, -1024))
    assert checked.image.array.dtype == dtype


def test_raised_values_with_negative_padding_are_put_right():
    image = ct()
    array = image.array + 1024
    array[:3] = -2000
    checked = check_ct(replace(image, array=array))
    assert checked.warnings[0].startswith("ATTENTION")
    assert (checked.image.array[:3] == -1024).all()
    np.testing.assert_array_equal(checked.image.array[3:], np.maximum(image.array[3:], -1024))


def test_wrapped_unsigned_values_are_put_right_aloud():
    image = ct()
    wrapped = image.array.astype(np.uint16).astype(np.float32)
    checked = check_ct(replace(image, array=wrapped))
    assert "unsigned 16-bit" in checked.warnings[0]
    np.testing.assert_array_equal(checked.image.array, image.array)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a - 1024, "nothing as dense as bone|hardly any soft tissue"),
        (lambda a: np.maximum(a, 0), "from 0 to .*looks like an MR scan"),
        (lambda a: (a / 1000).astype(np.float32), "a normalised scan or labels, wanted CT in HU"),
        (lambda a: np.minimum(a, 100), "nothing as dense as bone"),
        (lambda a: np.where(a > -200, a + 5000, a), "hardly any soft tissue"),
        (lambda a: np.full_like(a, 7), "every voxel has the value 7; .*give another file"),
    ],
)
def test_values_that_are_no_hu_are_refused(change, message):
    image = ct()
    with pytest.raises(ModalityError, match=message):
        check_ct(replace(image, array=change(image.array)))


def test_an_mr_volume_is_refused_with_the_way_on():
    array = np.random.default_rng(0).gamma(2.0, 120.0, (24, 24, 24)).astype(np.int16)
    with pytest.raises(
        ModalityError, match=r"looks like an MR scan .*this task needs CT: give the CT, or convert"
    ):
        check_ct(Image(array, ct().geometry))


@pytest.mark.parametrize(("modality", "said"), [("MR", "MR"), ("XR", "XR")])
def test_the_dicom_header_is_believed(modality, said):
    with pytest.raises(ModalityError, match=f"header says {said}, wanted CT; give the CT series"):
        check_ct(replace(ct(), modality=modality))


def test_other_dicom_modalities_are_refused():
    with pytest.raises(ModalityError, match="header says PT, wanted CT"):
        check_ct(replace(ct(), info={"modality": "PT"}))


@pytest.mark.parametrize(
    ("shape", "spacing", "message"),
    [
        ((24, 24, 24), (2, 2, 10), "voxels of 2 x 2 x 10 mm, wanted at most 8 mm .*thinner slices"),
        ((24, 24, 3), (2, 2, 5), "24 x 24 x 3 voxels, wanted at least 8 .*whole volume"),
        ((24, 24, 24), (2, 2, 1), "24 mm thick in one direction, wanted at least 30 mm"),
    ],
)
def test_too_thick_too_few_too_small(shape, spacing, message):
    with pytest.raises(GeometryError, match=message):
        check_ct(ct(shape, spacing))


def test_five_millimetre_slices_pass_with_a_warning():
    assert "Slices are 5.0 mm apart" in check_ct(ct(spacing=(2, 2, 5))).warnings[0]


def test_metal_is_measured():
    image = ct()
    image.array[10:15, 10:15, 10:15] = 3071  # 125 voxels of 8 mm3
    assert check_ct(image).warnings == (
        "About 1.0 cm3 are as dense as metal: outlines and densities near it are unsafe.",
    )


def test_a_display_window_is_noticed():
    image = ct()
    cut = check_ct(replace(image, array=np.clip(image.array, -160, 240)))
    assert "cut off at 240 HU" in cut.warnings[0]


def test_a_crop_without_air_or_fat_is_a_ct():
    rng = np.random.default_rng(0)
    array = rng.normal(45, 30, (24, 24, 24))  # muscle at the noise of a thin slice
    array[6:18, 6:18, 6:18] = rng.normal(220, 90, (12, 12, 12))
    assert check_ct(Image(array.round().astype(np.int16), ct().geometry)).warnings == ()


def test_sheared_and_left_handed_grids_pass():
    for geometry in (grid((24, 24, 24), shear=0.3), grid((24, 24, 24), codes="RPS")):
        assert check_ct(Image(ct().array, geometry)).image.geometry is geometry


def test_slab_geometry_is_measured_in_millimetres():
    thin = Geometry.from_spacing((24, 24, 24), (2, 2, 1.3))  # 31 mm
    assert check_ct(Image(ct().array, thin)).warnings == ()


@real
@pytest.mark.real
def test_every_real_ct_passes():
    paths = sorted((DATA / "ct").glob("*_ct.nii.gz"))
    assert len(paths) >= 10
    for path in paths:
        warnings = check_ct(read(path)).warnings
        assert all("apart" in line or "metal" in line for line in warnings), (path.name, warnings)


@real
@pytest.mark.real
def test_every_real_mr_is_refused():
    paths = [*(DATA / "mr").glob("*_t2.nii.gz"), *(DATA / "mr").glob("*_water.nii.gz")]
    assert len(paths) >= 30
    for path in paths:
        with pytest.raises(ModalityError, match="looks like an MR scan"):
            check_ct(read(path))
