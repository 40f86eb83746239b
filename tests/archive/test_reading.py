"""From a job to voxels, and to outputs named after the case."""

import json
import zipfile

import numpy as np
import pytest

from spinelab.archive.jobs import Job
from spinelab.archive.reading import load_scan, read_scan
from spinelab.errors import UnreadableError
from spinelab.tasks import analyze as task
from spinelab.tasks.analyze import OUTPUTS
from spinelab.tasks.segment import SegmentOptions
from tests.archive.scans import write_file, write_study
from tests.phantom import make_phantom
from tests.scan_files import save_scan, truth_for

UID = "1.2.1003.1"


def _load(wanted):
    return load_scan(wanted.source, wanted.kind, wanted.files)


def job(source, kind="volume", files=()):
    return Job(1, "case-12", source, tuple(files), kind, "w", 1)


def values(image):
    return np.unique(image.array).tolist()


def test_a_series_is_read_from_its_own_files(tmp_path):
    files = write_study(tmp_path, 5, UID)
    write_study(tmp_path, 7, "1.2.1003.2")
    image, choice = _load(job(tmp_path, "dicom", [file.name for file in files]))
    assert (values(image), image.geometry.shape, image.modality, choice) == ([5], (3, 4, 9), "CT", None)


def test_a_zip_of_a_study_is_read_by_its_best_series(tmp_path):
    write_study(tmp_path / "s", 5, UID, slices=13, step_mm=5.0, number=1)
    write_study(tmp_path / "s", 7, "1.2.1003.2", slices=49, step_mm=1.25, number=2)
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for file in (tmp_path / "s").iterdir():
            archive.write(file, file.name)
    image, choice = _load(job(tmp_path / "s.zip", "zip"))
    assert values(image) == [7]
    assert choice.startswith("series 2: CT, 49 slices")


def test_a_zip_of_a_volume_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.write(write_file(tmp_path / "a.nrrd", 5), "a.nrrd")
    image, choice = _load(job(tmp_path / "s.zip", "zip"))
    assert (values(image), choice) == ([5], None)


def test_a_zip_without_an_axial_ct_says_what_is_in_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for file in write_study(tmp_path / "s", 5, UID, modality="MR"):
            archive.write(file, file.name)
        archive.writestr("damaged", file.read_bytes()[:200])
    with pytest.raises(UnreadableError, match=r"no series can be read .*modality MR\); 1 files are damaged"):
        _load(job(tmp_path / "s.zip", "zip"))


def test_files_that_are_gone_or_damaged_are_counted(tmp_path):
    files = write_study(tmp_path, 5, UID)
    names = [file.name for file in files]
    files[0].write_bytes(files[0].read_bytes()[:200])
    with pytest.raises(UnreadableError, match="1 of 9 files of the series are damaged"):
        _load(job(tmp_path, "dicom", names))
    files[1].unlink()
    with pytest.raises(UnreadableError, match="1 of 9 files of the series are no longer there"):
        _load(job(tmp_path, "dicom", names))


def test_reasons_name_no_path(tmp_path):
    (tmp_path / "Jane Doe.nii.gz").write_bytes(b"")
    with pytest.raises(UnreadableError, match=r"^the scan is empty \(0 bytes\)") as told:
        read_scan(job(tmp_path / "Jane Doe.nii.gz"), tmp_path, options=SegmentOptions())
    assert "Jane" not in str(told.value)


def test_outputs_bear_the_name_of_the_case_alone(tmp_path, monkeypatch):
    phantom = make_phantom(levels=("T12", "L1", "L2"), codes="PIR", spacing_mm=(2.0, 2.0, 2.0))
    source = save_scan(phantom.image, tmp_path / "Jane Doe.nii.gz")
    monkeypatch.setattr(task, "segment", truth_for(phantom))
    out = tmp_path / "out"
    out.mkdir()
    found = read_scan(job(source), out, options=SegmentOptions(threads=1))
    assert found.files == {kind: "case-12" + ending for kind, ending in OUTPUTS.items()}
    assert {path.name for path in out.iterdir()} == set(found.files.values())
    assert found.spine.levels == ("T12", "L1", "L2")
    assert found.seconds > 0
    assert json.loads((out / "case-12_spine.json").read_text())["manifest"]["input"] == "case-12"
    for path in out.iterdir():
        assert b"Jane" not in path.read_bytes()
