"""Mask files and folders of masks renumbered."""

import numpy as np
import pytest

from spinelab.errors import InputError, LabelError
from spinelab.io import read_mask, write_mask
from spinelab.tasks.convert import convert_files
from spinelab.volume import Geometry, Mask

GRID = Geometry.from_spacing((3, 2, 2), (1.0, 1.0, 2.0))


def save(path, *labels):
    array = np.zeros(GRID.shape, dtype=np.uint8)
    array[: len(labels), 0, 0] = labels
    write_mask(Mask(array, GRID), path)
    return path


def test_a_file_is_renumbered_on_its_grid(tmp_path):
    source = save(tmp_path / "ts.nii.gz", 27, 28)
    written = convert_files(source, tmp_path / "verse.nii.gz", scheme="totalsegmentator_v2", wanted="verse")
    assert written == ["verse.nii.gz"]
    found = read_mask(tmp_path / "verse.nii.gz")
    assert found.array[:, 0, 0].tolist() == [24, 23, 0]
    assert found.geometry.same_grid(GRID)


def test_a_refused_conversion_writes_nothing(tmp_path):
    source = save(tmp_path / "ts.nii.gz", 26)
    with pytest.raises(LabelError, match="verse has no label for 26"):
        convert_files(source, tmp_path / "new" / "v.nii.gz", scheme="totalsegmentator_v2", wanted="verse")
    assert not (tmp_path / "new").exists()


def test_names_go_out_and_come_back(tmp_path):
    source = save(tmp_path / "v.nii.gz", 20, 120)
    written = convert_files(source, tmp_path / "parts", scheme="verse", wanted="names")
    assert written == ["vertebrae_L1.nii.gz", "disc_L1.nii.gz"]
    convert_files(tmp_path / "parts", tmp_path / "back.nii.gz", scheme="names", wanted="verse")
    assert np.array_equal(read_mask(tmp_path / "back.nii.gz").array, read_mask(source).array)


def test_names_need_a_folder(tmp_path):
    source = save(tmp_path / "v.nii.gz", 20)
    with pytest.raises(InputError, match="is not a folder; the scheme names is a folder"):
        convert_files(source, tmp_path / "x.nii.gz", scheme="names", wanted="verse")
