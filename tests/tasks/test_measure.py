"""Measuring somebody's mask: phantoms whose heights are known."""

import json

import numpy as np
import pytest

from spinelab.errors import GeometryError, LabelError
from spinelab.io import verse, write_mask
from spinelab.tasks.measure import measure_files, spine_of_mask
from spinelab.volume import Geometry, Mask
from tests.phantom import make_phantom
from tests.scan_files import save_scan

LEVELS = ("T12", "L1", "L2")


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(levels=LEVELS)


@pytest.fixture(scope="module")
def files(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("measure")
    write_mask(phantom.mask, folder / "mask.nii.gz")
    return save_scan(phantom.image, folder / "case.nii.gz"), folder / "mask.nii.gz"


def test_centres_found_from_the_mask_lie_in_the_bodies(phantom):
    spine = spine_of_mask(phantom.mask)
    assert spine.levels == LEVELS
    for vertebra in spine.vertebrae:
        truth = phantom.truth[vertebra.level].center_mm
        assert np.linalg.norm(np.subtract(vertebra.center_mm, truth)) < 6.0
        assert vertebra.probability == 1.0


def test_given_centres_are_kept(phantom):
    assert spine_of_mask(phantom.mask, {20: (1.0, 2.0, 3.0)})["L1"].center_mm == (1.0, 2.0, 3.0)


def test_sacrum_and_coccyx_are_no_vertebrae():
    array = np.zeros((8, 8, 8), dtype=np.uint8)
    array[1:7, 1:7, 1:3], array[1:7, 1:7, 4:7] = 26, 24
    mask = Mask(array, Geometry.from_spacing((8, 8, 8), (3.0, 3.0, 3.0)))
    assert spine_of_mask(mask).levels == ("L5",)


def test_strange_labels_are_refused():
    mask = Mask(np.full((2, 2, 2), 50, dtype=np.uint8), Geometry.from_spacing((2, 2, 2), (1, 1, 1)))
    with pytest.raises(LabelError, match="labels 50, which are no VerSe vertebra numbers; convert it first"):
        spine_of_mask(mask)


def test_files_in_measurements_out(files, phantom, tmp_path):
    spine, written = measure_files(*files, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "case_spine.json",
        "case_measurements.csv",
    }
    assert set(written) == {"spine", "measurements"}
    truth = phantom.truth["L1"].heights_mm
    assert spine["L1"].heights_mm.posterior == pytest.approx(truth.posterior, abs=1.5)
    data = json.loads(written["spine"].read_text())
    assert data["manifest"]["input"] == "case.nii.gz"
    assert data["manifest"]["weights_sha256"] == {}
    assert str(tmp_path) not in json.dumps(data)


def test_centroids_may_be_given(files, phantom, tmp_path):
    verse.write_centroids(phantom.spine, phantom.mask.geometry, tmp_path / "ctd.json")
    spine, _ = measure_files(*files, tmp_path, centroids=tmp_path / "ctd.json")
    assert spine.levels == LEVELS


def test_a_mask_of_another_scan_is_refused(files, tmp_path):
    other = make_phantom(levels=LEVELS, spacing_mm=(2.0, 2.0, 2.0))
    write_mask(other.mask, tmp_path / "other.nii.gz")
    with pytest.raises(GeometryError, match=r"the mask's grid \(.*\) is not the scan's"):
        measure_files(files[0], tmp_path / "other.nii.gz", tmp_path / "out")
    assert not (tmp_path / "out").exists()
