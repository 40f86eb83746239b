import numpy as np
import pytest
import SimpleITK

from spinelab.errors import GeometryError, UnreadableError
from spinelab.io import read
from tests.io.volumes import CODES, grid, labels

META = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 1 2 3
ElementSpacing = 1 2 3
DimSize = 4 5 6
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""
NRRD = """NRRD0004
type: short
dimension: 3
space: left-posterior-superior
sizes: 4 5 6
space directions: (1,0,0) (0,1,0) (0,0.5,2)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (1,2,3)

"""
VOXELS = np.arange(120, dtype="<i2")


def write_with_itk(mask, path):
    image = SimpleITK.GetImageFromArray(mask.array.T)
    spacing = np.array(mask.geometry.spacing_mm)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((mask.geometry.affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(mask.geometry.affine[:3, 3].tolist())
    SimpleITK.WriteImage(image, str(path))


@pytest.mark.parametrize("suffix", ["nrrd", "mha", "mhd"])
@pytest.mark.parametrize("codes", CODES[::5])
def test_reads_voxels_and_grid(tmp_path, suffix, codes):
    mask = labels(grid(codes=codes, turn_deg=12))
    write_with_itk(mask, tmp_path / f"v.{suffix}")
    scan = read(tmp_path / f"v.{suffix}")
    assert scan.array.dtype == np.int16
    assert scan.geometry.same_grid(mask.geometry)
    np.testing.assert_array_equal(scan.array, mask.array)


def test_a_sheared_nrrd_keeps_its_shear(tmp_path):
    (tmp_path / "s.nrrd").write_bytes(NRRD.encode() + VOXELS.tobytes())
    scan = read(tmp_path / "s.nrrd")
    np.testing.assert_allclose(scan.geometry.affine[:3, 2], (0, 0.5, 2), atol=1e-12)
    assert scan.array[1, 0, 0] == 1
    assert scan.array[0, 0, 1] == 20


def test_ras_nrrd_becomes_lps(tmp_path):
    text = NRRD.replace("left-posterior", "right-anterior").replace("(0,0.5,2)", "(0,0,2)")
    (tmp_path / "r.nrrd").write_bytes(text.encode() + VOXELS.tobytes())
    geometry = read(tmp_path / "r.nrrd").geometry
    assert geometry.codes == "RAS"
    np.testing.assert_allclose(geometry.affine[:3, 3], (-1, -2, 3))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "a.nrrd",
            ("space directions: (1,0,0) (0,1,0) (0,0.5,2)", "spacings: 1 1 2"),
            "no 'space directions'",
        ),
        ("a.nrrd", ("left-posterior-superior", "scanner-xyz"), "space 'scanner-xyz', so left and right"),
        ("a.nrrd", ("dimension: 3", "dimension: 4"), "4 dimensions; a scan has three"),
        ("a.mha", ("NDims = 3", "NDims = 4"), "4 dimensions; a scan has three"),
        ("a.mha", ("ElementSpacing = 1 2 3\n", ""), "no ElementSpacing"),
        ("a.mha", ("TransformMatrix = 1 0 0 0 1 0 0 0 1\n", ""), "no TransformMatrix, so left and right"),
    ],
)
def test_refuses_what_the_header_leaves_open(tmp_path, name, change, message):
    text = NRRD if name.endswith("nrrd") else META
    assert change[0] in text
    (tmp_path / name).write_bytes(text.replace(*change).encode() + VOXELS.tobytes())
    with pytest.raises(GeometryError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize(("name", "text"), [("t.nrrd", NRRD), ("t.mha", META)])
def test_refuses_truncated_files(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode() + VOXELS.tobytes()[:-30])
    with pytest.raises(UnreadableError, match=r"damaged or truncated .*copy the file again"):
        read(tmp_path / name)


def test_refuses_a_file_without_header(tmp_path):
    (tmp_path / "x.mha").write_bytes(b"not a header at all")
    with pytest.raises(UnreadableError, match="no readable header"):
        read(tmp_path / "x.mha")


def test_refuses_vectors(tmp_path):
    image = SimpleITK.Image([4, 5, 6], SimpleITK.sitkVectorFloat32, 3)
    SimpleITK.WriteImage(image, str(tmp_path / "v.mha"))
    with pytest.raises(UnreadableError, match="one number a voxel"):
        read(tmp_path / "v.mha")


def test_refuses_mhd_without_its_data_file(tmp_path):
    write_with_itk(labels(grid()), tmp_path / "v.mhd")
    (tmp_path / "v.raw").unlink()
    with pytest.raises(UnreadableError, match="damaged or truncated"):
        read(tmp_path / "v.mhd")
