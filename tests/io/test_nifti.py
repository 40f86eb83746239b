import gzip
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK

from spinelab.errors import GeometryError, OutputError, UnreadableError
from spinelab.io import read, read_mask, write_mask
from spinelab.volume import Mask
from tests.io.volumes import CODES, SHAPE, grid, labels


@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize(("turn", "shear"), [(0.0, 0.0), (17.0, 0.0), (0.0, 0.3)])
def test_round_trip_keeps_voxels_and_grid(tmp_path, codes, turn, shear):
    mask = labels(grid(codes=codes, turn_deg=turn, shear=shear))
    write_mask(mask, tmp_path / "m.nii.gz")
    back = read_mask(tmp_path / "m.nii.gz")
    assert back.geometry.same_grid(mask.geometry)
    assert back.array.dtype == np.uint8
    np.testing.assert_array_equal(back.array, mask.array)


@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("turn", [0.0, 17.0])
def test_other_readers_see_the_same_grid(tmp_path, codes, turn):
    mask = labels(grid(codes=codes, turn_deg=turn))
    write_mask(mask, tmp_path / "m.nii.gz")
    seen = nibabel.load(tmp_path / "m.nii.gz")
    to_ras = np.diag([-1, -1, 1, 1])
    np.testing.assert_allclose(seen.affine, to_ras @ mask.geometry.affine, atol=1e-3)
    np.testing.assert_allclose(seen.get_qform(), seen.get_sform(), atol=1e-3)
    np.testing.assert_array_equal(np.asarray(seen.dataobj), mask.array)
    assert seen.header.get_xyzt_units()[0] == "mm"
    itk = SimpleITK.ReadImage(str(tmp_path / "m.nii.gz"))
    corner = [8, 9, 11] if codes[0] in "LR" and codes[1] in "PA" else [2, 3, 4]
    expected = mask.geometry.index_to_world(corner)
    np.testing.assert_allclose(
        itk.TransformContinuousIndexToPhysicalPoint([float(c) for c in corner]), expected, atol=1e-3
    )


def test_nibabel_agrees_on_a_sheared_grid(tmp_path):
    mask = labels(grid(shear=0.3))
    write_mask(mask, tmp_path / "m.nii")
    seen = nibabel.load(tmp_path / "m.nii")
    np.testing.assert_allclose(seen.affine, np.diag([-1, -1, 1, 1]) @ mask.geometry.affine, atol=1e-4)
    assert int(seen.header["qform_code"]) == 0  # a quaternion cannot say shear


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<u1", "<i4", ">f4", "<f8"])
def test_reads_what_nibabel_writes(tmp_path, kind, dtype):
    mask = labels(grid(codes="PIR", turn_deg=10))
    image = kind(mask.array.astype(dtype), np.diag([-1, -1, 1, 1]) @ mask.geometry.affine)
    nibabel.save(image, tmp_path / "m.nii.gz")
    scan = read(tmp_path / "m.nii.gz")
    assert scan.array.dtype == np.int16
    assert scan.modality == "unknown"
    assert scan.geometry.same_grid(mask.geometry)
    np.testing.assert_array_equal(scan.array, mask.array)


@pytest.mark.parametrize(
    ("slope", "inter", "dtype", "expected"),
    [(1, -1024, np.int16, -1019), (2, 3, np.int16, 13), (0.5, 0.25, np.float32, 2.75)],
)
def test_slope_and_intercept(tmp_path, slope, inter, dtype, expected):
    image = nibabel.Nifti1Image(np.full(SHAPE, 5, np.int16), np.eye(4))
    nibabel.save(image, tmp_path / "s.nii")
    data = bytearray((tmp_path / "s.nii").read_bytes())
    struct.pack_into("<2f", data, 112, slope, inter)
    (tmp_path / "s.nii").write_bytes(data)
    scan = read(tmp_path / "s.nii")
    assert scan.array.dtype == dtype
    assert (scan.array == expected).all()


def test_unsigned_values_too_large_for_int16_are_kept(tmp_path):
    array = np.zeros(SHAPE, np.uint16)
    array[3, 4, 5] = 64512
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "u.nii.gz")
    scan = read(tmp_path / "u.nii.gz")
    assert scan.array.dtype == np.float32
    assert scan.array[3, 4, 5] == 64512


def test_qform_alone_and_with_a_flipped_third_axis(tmp_path):
    geometry = grid(codes="RAI", turn_deg=25)
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), None)
    image.set_qform(np.diag([-1, -1, 1, 1]) @ geometry.affine, code=1)
    image.set_sform(None, code=0)
    nibabel.save(image, tmp_path / "q.nii")
    assert read(tmp_path / "q.nii").geometry.same_grid(geometry, tolerance_mm=1e-2)


def test_two_positions_give_a_warning(tmp_path):
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), np.eye(4))
    moved = np.eye(4)
    moved[0, 3] = 40
    image.set_qform(moved, code=1)
    nibabel.save(image, tmp_path / "two.nii")
    assert "differ by up to 40 mm" in read(tmp_path / "two.nii").info["warnings"]


def test_units_of_metres(tmp_path):
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), np.diag([0.002, 0.003, 0.004, 1]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "m.nii")
    np.testing.assert_allclose(read(tmp_path / "m.nii").spacing_mm, (2, 3, 4), rtol=1e-6)


def test_trailing_single_dimensions_are_dropped(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((*SHAPE, 1, 1), np.int16), np.eye(4)), tmp_path / "t.nii")
    assert read(tmp_path / "t.nii").geometry.shape == SHAPE


@pytest.mark.parametrize(
    ("shape", "message"),
    [((9, 9), "2 dimensions .*whole volume"), ((5, 6, 7, 3), "4 dimensions .*one time point")],
)
def test_refuses_other_dimensions(tmp_path, shape, message):
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.int16), np.eye(4)), tmp_path / "d.nii")
    with pytest.raises(GeometryError, match=message):
        read(tmp_path / "d.nii")


@pytest.mark.parametrize("name", ["t.nii", "t.nii.gz"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_refuses_truncated_files(tmp_path, name, share):
    array = np.random.default_rng(0).integers(0, 3000, (20, 20, 20)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UnreadableError, match="truncated"):
        read(tmp_path / name)


def test_a_disk_error_is_named(tmp_path, monkeypatch):
    write_mask(labels(grid()), tmp_path / "m.nii.gz")

    def fail(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("spinelab.io.nifti._read_header", fail)
    with pytest.raises(UnreadableError, match="cannot be read: Input/output error; check the disk"):
        read(tmp_path / "m.nii.gz")


def test_refuses_a_flipped_bit_in_gzip(tmp_path):
    array = np.random.default_rng(0).integers(0, 3000, (20, 20, 20)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "b.nii.gz")
    data = bytearray((tmp_path / "b.nii.gz").read_bytes())
    data[-5] ^= 0xFF
    (tmp_path / "b.nii.gz").write_bytes(data)
    with pytest.raises(UnreadableError, match="damaged"):
        read(tmp_path / "b.nii.gz")


def test_refuses_what_is_not_nifti(tmp_path):
    (tmp_path / "n.nii.gz").write_bytes(gzip.compress(b"text " * 200))
    with pytest.raises(UnreadableError, match=r"not a NIfTI file .*convert it"):
        read(tmp_path / "n.nii.gz")


def test_refuses_colour(tmp_path):
    rgb = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(rgb, np.eye(4)), tmp_path / "c.nii")
    with pytest.raises(UnreadableError, match=r"type 128 .*one number a voxel"):
        read(tmp_path / "c.nii")


def test_refuses_missing_orientation(tmp_path):
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), None)
    image.header["sform_code"] = image.header["qform_code"] = 0
    nibabel.save(image, tmp_path / "o.nii")
    with pytest.raises(GeometryError, match=r"no orientation .*left and right are unknown"):
        read(tmp_path / "o.nii")


def test_refuses_zero_spacing(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), np.eye(4)), tmp_path / "z.nii")
    data = bytearray((tmp_path / "z.nii").read_bytes())
    struct.pack_into("<12f", data, 280, *([0.0] * 12))
    (tmp_path / "z.nii").write_bytes(data)
    with pytest.raises(GeometryError, match=r"degenerate .*convert the scan again"):
        read(tmp_path / "z.nii")


def test_refuses_damaged_dimensions(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), np.eye(4)), tmp_path / "z.nii")
    data = bytearray((tmp_path / "z.nii").read_bytes())
    struct.pack_into("<8h", data, 40, 3, -4, 5, 6, 1, 1, 1, 1)
    (tmp_path / "z.nii").write_bytes(data)
    with pytest.raises(UnreadableError, match="damaged NIfTI header"):
        read(tmp_path / "z.nii")


def test_large_labels_are_written_with_two_bytes(tmp_path):
    mask = Mask(np.full(SHAPE, 300, np.uint16), grid())
    write_mask(mask, tmp_path / "l.nii.gz")
    assert (read_mask(tmp_path / "l.nii.gz").array == 300).all()


def test_write_refuses_other_names_and_values(tmp_path):
    with pytest.raises(OutputError, match=r"written as .nii.gz or .nii, found 'm.png'"):
        write_mask(labels(grid()), tmp_path / "m.png")
    with pytest.raises(OutputError, match="labels from -1 to -1, wanted 0 to 65535"):
        write_mask(Mask(np.full(SHAPE, -1, np.int16), grid()), tmp_path / "m.nii.gz")


def test_write_into_a_missing_folder_and_onto_a_full_disk(tmp_path):
    with pytest.raises(OutputError, match="folder does not exist; create it first"):
        write_mask(labels(grid()), tmp_path / "no" / "m.nii.gz")
    (tmp_path / "full.nii.gz").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="disk is full; free some space"):
        write_mask(labels(grid()), tmp_path / "full.nii.gz")
