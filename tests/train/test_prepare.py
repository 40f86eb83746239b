import numpy as np
import pytest

from spinelab.errors import InputError
from spinelab.io import write_mask
from spinelab.train.cases import Case
from spinelab.train.prepare import (
    _map_arrays,
    body_centers,
    prepare,
)
from spinelab.train.weak_tissue import BACKGROUND, RIB, SACRAL, UNKNOWN, VERTEBRA
from spinelab.volume import Geometry, Mask
from tests.phantom import make_phantom
from tests.scan_files import save_scan

LEVELS = ("T12", "L1", "L2", "L3")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"spacing_mm": (1.0, 1.0, 3.0)},
        {"coronal_deg": {"T12": -12.0, "L3": 12.0}, "sagittal_deg": {"T12": 10.0, "L3": -10.0}},
        {"levels": ("C4", "C5", "C6"), "spacing_mm": (0.8, 0.8, 1.0)},
        {"levels": ("T5", "T6", "T7")},
    ],
)
def test_body_centres_are_those_of_the_bodies(changes):
    phantom = make_phantom(**{"levels": LEVELS, **changes})
    found = body_centers(phantom.mask)
    truth = {v.label: np.array(v.center_mm) for v in phantom.spine.vertebrae}
    assert set(found) == set(truth)
    for label, point in found.items():
        assert np.linalg.norm(point - truth[label]) < 3.0


def test_vertebrae_the_first_or_last_slice_cuts_have_no_centre():
    phantom = make_phantom(levels=LEVELS, cut_mm=(8.0, 8.0))
    assert set(body_centers(phantom.mask)) == {20, 21}


def test_the_centre_of_the_sacrum_is_that_of_its_upper_third():
    array = np.zeros((20, 20, 40), np.uint8)
    array[5:15, 5:15, 10:40] = 26
    mask = Mask(array, Geometry.from_spacing(array.shape, (1, 1, 1)))
    assert body_centers(mask) == {}, "cut at the top"
    array[:, :, 39] = 0
    array[:, :, :10] = 0
    x, y, z = body_centers(mask)[26]
    assert (x, y) == (9.5, 9.5)
    assert 29 < z < 39


@pytest.fixture
def case(tmp_path):
    """A CT with its mask on a grid of other axes, as files."""
    phantom = make_phantom(levels=LEVELS, codes="PIR", spacing_mm=(1.5, 1.5, 2.0))
    write_mask(phantom.mask, tmp_path / "x_vert.nii.gz")
    image = save_scan(phantom.image, tmp_path / "x_ct.nii.gz")
    return phantom, Case("x", image=image, vertebrae=tmp_path / "x_vert.nii.gz")


@pytest.mark.parametrize("spacing", [None, 3.0])
def test_image_mask_centres_and_labels_agree_at_any_resolution(case, tmp_path, spacing):
    phantom, files = case
    found = prepare(files, tmp_path / "cache", spacing_mm=spacing)
    assert found.image.dtype == np.int16
    assert found.image.shape == found.vertebrae.shape == found.tissue.shape
    assert found.labels.tolist() == [19, 20, 21, 22]
    assert found.spacing_mm.tolist() == pytest.approx([3.0] * 3 if spacing else [1.5, 1.5, 2.0])
    assert not found.painted
    assert found.named
    for label, center in zip(found.labels, found.centers, strict=True):
        place = tuple(np.round(center).astype(int))
        assert found.vertebrae[place] == label
        assert 100 < found.image[place] < 260, "trabecular bone"
    truth = phantom.spine.centers_mm
    steps = np.diff(found.centers * found.spacing_mm, axis=0)
    assert np.allclose(steps, np.diff(truth, axis=0), atol=3)
    assert (found.tissue[found.vertebrae > 0] == VERTEBRA).all()
    assert (found.tissue == BACKGROUND).any()


def test_slices_beyond_the_mask_are_unknown(case, tmp_path):
    found = prepare(case[1], tmp_path / "cache", spacing_mm=3.0)
    heights = np.flatnonzero((found.vertebrae > 0).any(axis=(0, 1)))
    assert (found.tissue[:, :, heights[-1] + 1 :] == UNKNOWN).all()
    assert (found.tissue[:, :, : heights[0]] == UNKNOWN).all()
    assert not (found.tissue[:, :, heights[0] : heights[-1] + 1] == UNKNOWN).any()


def test_the_second_time_comes_from_the_cache(case, tmp_path):
    _, files = case
    first = prepare(files, tmp_path / "cache", spacing_mm=3.0)
    files.image.unlink()
    again = prepare(files, tmp_path / "cache", spacing_mm=3.0)
    assert again.name == "x"
    assert np.array_equal(again.image, first.image)
    assert np.array_equal(again.centers, first.centers)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["x_3.0.npz"]


def test_arrays_are_mapped_and_not_loaded(tmp_path):
    arrays = {
        "a": np.arange(60, dtype=np.int16).reshape(3, 4, 5),
        "b": np.asfortranarray(np.arange(12, dtype=np.uint8).reshape(3, 4)),
        "none": np.zeros((0, 0, 0), np.uint8),
        "name": np.array("x"),
    }
    np.savez(tmp_path / "x.npz", **arrays)
    found = _map_arrays(tmp_path / "x.npz", ("a", "b", "none"))
    for key, array in found.items():
        assert array.dtype == arrays[key].dtype
        assert np.array_equal(array, arrays[key])
        assert not array.flags.owndata
    found["a"][0, 0, 0] = 99
    assert np.load(tmp_path / "x.npz")["a"][0, 0, 0] == 0, "the file is never written"


def test_a_finer_scan_is_brought_to_what_the_outline_network_needs(tmp_path):
    phantom = make_phantom(levels=("C5", "C6"), spacing_mm=(0.5, 0.5, 1.0))
    write_mask(phantom.mask, tmp_path / "x_vert.nii.gz")
    image = save_scan(phantom.image, tmp_path / "x_ct.nii.gz")
    found = prepare(
        Case("x", image=image, vertebrae=tmp_path / "x_vert.nii.gz"), tmp_path / "c", spacing_mm=None
    )
    assert found.spacing_mm.tolist() == pytest.approx([0.7, 0.7, 1.0])


def test_organs_give_ribs_vertebrae_and_sacrum_and_a_mask_alone_is_painted(tmp_path):
    organs = np.zeros((20, 20, 30), np.uint8)
    organs[8:12, 8:12, 20:26] = 27  # L5
    organs[8:12, 8:12, 10:18] = 25  # sacrum
    organs[2:4, 8:12, 20:26] = 95  # a rib
    write_mask(Mask(organs, Geometry.from_spacing(organs.shape, (3, 3, 3))), tmp_path / "o.nii.gz")
    found = prepare(Case("o", organs=tmp_path / "o.nii.gz", vertebrae=None), tmp_path / "c", spacing_mm=None)
    assert found.painted
    assert found.image.dtype == np.uint8
    assert found.labels.tolist() == [24, 26]
    assert (found.tissue[organs == 27] == VERTEBRA).all()
    assert (found.tissue[organs == 25] == SACRAL).all()
    assert (found.tissue[organs == 95] == RIB).all()
    assert (found.tissue[organs == 0] == BACKGROUND).all()


@pytest.mark.parametrize(
    ("label", "told"),
    [
        (0, r"the mask of x holds no vertebra \(labels \[\]\); leave the case out"),
        (26, r"the mask of x holds no vertebra \(labels \[26\]\)"),
        (44, r"the mask of x holds labels \[44\]; wanted VerSe numbers 1 to 28 \(see convert-labels\)"),
    ],
)
def test_masks_without_vertebrae_or_of_other_numbers_are_refused(tmp_path, label, told):
    array = np.zeros((8, 8, 8), np.uint8)
    array[2:6, 2:6, 2:4] = label
    if label == 44:
        array[2:6, 2:6, 5] = 20
    write_mask(Mask(array, Geometry.from_spacing(array.shape, (3, 3, 3))), tmp_path / "x.nii.gz")
    with pytest.raises(InputError, match=told):
        prepare(Case("x", vertebrae=tmp_path / "x.nii.gz"), tmp_path / "c", spacing_mm=None)
    assert not list((tmp_path / "c").glob("*")), "nothing half prepared stays"
