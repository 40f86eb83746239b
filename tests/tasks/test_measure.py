"""Measuring somebody's mask: phantoms whose heights are known."""

import json

import pytest

from spinelab.errors import GeometryError
from spinelab.io import verse, write_mask
from spinelab.tasks.measure import measure_files
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
    assert list(data["manifest"]["weights_sha256"]) == ["fracture"]
    assert spine["L1"].fracture.network.height_loss_percent < 15
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
