"""NRRD (``.nrrd``, ``.nhdr``) and MetaImage (``.mha``, ``.mhd``), read through SimpleITK.

SimpleITK fills in 1 mm and the identity where a header says nothing; so the header is looked at first and
a file that states no spacing or orientation is refused.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinelab.errors import GeometryError, UnreadableError
from spinelab.io.voxels import VoxelStore, slices_per_block
from spinelab.volume import Geometry

_HEADER_BYTES = 1 << 18
_KNOWN_SPACES = {
    "left-posterior-superior", "lps", "right-anterior-superior", "ras", "left-anterior-superior", "las",
}  # fmt: skip


def read_itk(path: Path) -> tuple[NDArray[Any], Geometry]:
    """Reads a NRRD or MetaImage file.

    Returns:
        The (i, j, k) voxels as int16 or float32, and their grid in LPS mm.

    Raises:
        UnreadableError: Truncated, damaged, or of a voxel type that is not a number.
        GeometryError: Not three-dimensional, or spacing or orientation are missing.
    """
    import SimpleITK

    sitk: Any = SimpleITK
    _check_header(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UnreadableError(
            f"{path} is damaged or truncated ({reason}); copy the file again from its source"
        ) from error
    if image.GetNumberOfComponentsPerPixel() != 1 or "complex" in image.GetPixelIDTypeAsString():
        raise UnreadableError(
            f"{path} holds {image.GetPixelIDTypeAsString()} voxels; a scan has one number a voxel, "
            "save it as 16-bit integers"
        )
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    voxels = sitk.GetArrayViewFromImage(image).T
    store = VoxelStore(voxels.shape)
    step = slices_per_block(voxels.shape)
    for start in range(0, voxels.shape[2], step):
        store.put(start, voxels[:, :, start : start + step])
    shape = (int(voxels.shape[0]), int(voxels.shape[1]), int(voxels.shape[2]))
    return store.array(), Geometry(shape, affine)


def _check_header(path: Path) -> None:
    """Refuses a header which leaves dimensions, spacing or orientation open."""
    with path.open("rb") as stream:
        text = stream.read(_HEADER_BYTES).decode("latin-1")
    nrrd = text.startswith("NRRD")
    fields = _nrrd_fields(text) if nrrd else _meta_fields(text)
    dimensions = fields.get("dimension" if nrrd else "ndims", "")
    if not dimensions:
        raise UnreadableError(f"{path} has no readable header; copy the file again from its source")
    if dimensions != "3":
        raise GeometryError(
            f"{path} has {dimensions} dimensions; a scan has three: save one time point, channel or layer "
            "as its own file"
        )
    if nrrd:
        _check_nrrd(fields, path)
        return
    if "elementspacing" not in fields:
        raise GeometryError(f"{path} states no ElementSpacing; convert the scan again from its DICOM files")
    if not {"transformmatrix", "rotation", "orientation"} & set(fields):
        raise GeometryError(
            f"{path} states no TransformMatrix, so left and right are unknown; "
            "convert the scan again from its DICOM files"
        )


def _check_nrrd(fields: dict[str, str], path: Path) -> None:
    if "space directions" not in fields:
        raise GeometryError(
            f"{path} states no 'space directions', so spacing and orientation are unknown; "
            "convert the scan again from its DICOM files"
        )
    space = fields.get("space", "not stated")
    if space.lower() not in _KNOWN_SPACES:
        raise GeometryError(
            f"{path} has space {space!r}, so left and right are unknown; wanted left-posterior-superior or "
            "another patient space: convert the scan again from its DICOM files"
        )


def _nrrd_fields(text: str) -> dict[str, str]:
    fields = {}
    for line in text.splitlines()[1:]:
        if not line.strip():
            break
        if ":=" not in line and not line.startswith("#") and ": " in line:
            key, value = line.split(":", 1)
            fields[key.strip().lower()] = value.strip()
    return fields


def _meta_fields(text: str) -> dict[str, str]:
    fields = {}
    for line in text.split("\n"):
        key, equals, value = line.partition("=")
        if not equals:
            break
        fields[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile":
            break
    return fields
