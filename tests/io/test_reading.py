import zipfile

import numpy as np
import pytest

from spinelab.errors import InputError, LabelError, UnreadableError
from spinelab.io import archive, read, read_mask, write_mask
from spinelab.volume import Mask
from tests.io.dicom_files import SeriesSpec, voxels, write_series
from tests.io.test_itk import write_with_itk
from tests.io.volumes import grid, labels

STACK = voxels()


def zip_folder(folder, path):
    with zipfile.ZipFile(path, "w") as packed:
        for entry in sorted(folder.rglob("*")):
            if entry.is_file():
                packed.write(entry, entry.relative_to(folder))


def test_zip_of_dicom(tmp_path):
    write_series(tmp_path / "in" / "deep", SeriesSpec(STACK))
    zip_folder(tmp_path / "in", tmp_path / "scan.zip")
    np.testing.assert_array_equal(read(tmp_path / "scan.zip").array, STACK)


@pytest.mark.parametrize("name", ["v.nii.gz", "v.mhd"])
def test_zip_and_folder_of_one_volume(tmp_path, name):
    mask = labels(grid())
    (tmp_path / "in").mkdir()
    (write_mask if name.endswith("gz") else write_with_itk)(mask, tmp_path / "in" / name)
    (tmp_path / "in" / ".DS_Store").write_bytes(b"x")
    zip_folder(tmp_path / "in", tmp_path / "scan.zip")
    for path in (tmp_path / "scan.zip", tmp_path / "in"):
        np.testing.assert_array_equal(read(path).array, mask.array)


def test_refuses_several_volumes(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_mask(labels(grid()), tmp_path / name)
    with pytest.raises(InputError, match="holds 2 volume files; give one of them"):
        read(tmp_path)


def test_refuses_damaged_encrypted_and_oversized_zips(tmp_path, monkeypatch):
    write_series(tmp_path / "in", SeriesSpec(STACK))
    path = tmp_path / "scan.zip"
    zip_folder(tmp_path / "in", path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableError, match=r"damaged or unsupported zip archive .*pack it again"):
        read(path)
    encrypted = bytearray(whole)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = encrypted.find(mark)
        while start >= 0:
            encrypted[start + offset] |= 1
            start = encrypted.find(mark, start + 4)
    path.write_bytes(encrypted)
    with pytest.raises(UnreadableError, match="is encrypted; unpack it"):
        read(path)
    path.write_bytes(whole)
    monkeypatch.setattr(archive, "_SPARE_BYTES", 10**18)
    with pytest.raises(UnreadableError, match="GB are free for temporary files; unpack it elsewhere"):
        read(path)


def test_zip_members_cannot_leave_the_folder(tmp_path):
    write_mask(labels(grid()), tmp_path / "v.nii.gz")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as packed:
        packed.write(tmp_path / "v.nii.gz", "../../outside.nii.gz")
    with archive.unpacked(tmp_path / "evil.zip") as folder:
        assert [entry.name for entry in folder.rglob("*.gz")] == ["outside.nii.gz"]


def test_refuses_missing_empty_and_unknown_files(tmp_path):
    with pytest.raises(UnreadableError, match="does not exist; check the name"):
        read(tmp_path / "gone.nii")
    (tmp_path / "zero.nii.gz").touch()
    with pytest.raises(UnreadableError, match=r"empty \(0 bytes\)"):
        read(tmp_path / "zero.nii.gz")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG" + bytes(200))
    with pytest.raises(UnreadableError, match="no known format; wanted NIfTI"):
        read(tmp_path / "picture.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableError, match="no scan among its 0 files"):
        read(tmp_path / "empty")


@pytest.mark.parametrize("reader", [read, read_mask])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.zip"])
def test_refuses_files_without_rights(tmp_path, monkeypatch, reader, name):
    (tmp_path / name).write_bytes(b"x" * 500)

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(UnreadableError, match="cannot be read: Permission denied; check its rights"):
        reader(tmp_path / name)


def test_series_is_for_dicom(tmp_path):
    write_mask(labels(grid()), tmp_path / "v.nii.gz")
    with pytest.raises(InputError, match="single volume; series= is for DICOM"):
        read(tmp_path / "v.nii.gz", series=3)


def test_mask_from_float_voxels(tmp_path):
    mask = labels(grid())
    write_with_itk(Mask(mask.array.astype(np.float64), mask.geometry), tmp_path / "f.nrrd")
    back = read_mask(tmp_path / "f.nrrd")
    assert back.array.dtype == np.uint8
    np.testing.assert_array_equal(back.array, mask.array)


@pytest.mark.parametrize(("shift", "message"), [(0.5, "with fractions"), (-3.0, "values from -3 to 25;")])
def test_mask_refuses_a_scan(tmp_path, shift, message):
    mask = labels(grid())
    write_with_itk(Mask(mask.array + shift, mask.geometry), tmp_path / "f.nrrd")
    with pytest.raises(LabelError, match=message):
        read_mask(tmp_path / "f.nrrd")


def test_mask_refuses_a_folder(tmp_path):
    with pytest.raises(UnreadableError, match="is a folder; a mask is one"):
        read_mask(tmp_path)
