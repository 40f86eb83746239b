"""Any scan or mask in a file, folder or archive to `Image` or `Mask`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinelab.errors import InputError, LabelError, UnreadableError
from spinelab.io.archive import unpacked
from spinelab.io.dicom import is_dicom
from spinelab.io.dicom_series import read_dicom
from spinelab.io.itk import read_itk
from spinelab.io.nifti import read_nifti
from spinelab.volume import Geometry, Image, Mask

_VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_WANTED = "wanted NIfTI (.nii, .nii.gz), NRRD, MHA/MHD, a DICOM folder or a zip of one"


def read(path: str | Path, *, series: str | int | None = None) -> Image:
    """Reads a scan.

    Args:
        path: NIfTI, NRRD, MHA/MHD, DICOM file or folder (with its subfolders), or a zip of one of them.
        series: For DICOM with several series: the number (with its letter) or SeriesInstanceUID.

    Returns:
        The voxels (i, j, k) exactly as stored, rescaled: int16 where all are whole numbers that fit, else
        float32; grid in LPS mm. The modality is "unknown" for volume files: `check_ct` looks at the voxels.

    Raises:
        UnreadableError: Missing, empty, truncated, damaged or of no known format.
        GeometryError: Not one regular volume, or spacing, orientation or positions are missing.
        InputError: Several series could be meant; the message lists them.
    """
    path = Path(path)
    _check_exists(path)
    if path.is_dir():
        return _read_folder(path, path, series)
    if path.suffix.lower() == ".zip" or _first_bytes(path) == b"PK\x03\x04":
        with unpacked(path) as folder:
            return _read_folder(folder, path, series)
    if not is_volume(path) and is_dicom(path):
        return read_dicom([path], path, series=series)
    if series is not None:
        raise InputError(f"{path} is a single volume; series= is for DICOM folders, leave it out")
    array, geometry, warnings = _read_volume(path)
    info = {"warnings": "\n".join(warnings)} if warnings else {}
    return Image(array, geometry, "unknown", info)


def read_mask(path: str | Path) -> Mask:
    """Reads labels from a NIfTI, NRRD or MHA/MHD file.

    Returns:
        The labels (i, j, k) as uint8 or uint16, grid in LPS mm.

    Raises:
        UnreadableError: Missing, empty, truncated, damaged or of no known format.
        GeometryError: Not three-dimensional, or spacing or orientation are missing.
        LabelError: Voxels are not whole numbers from 0 to 65535.
    """
    path = Path(path)
    _check_exists(path)
    if path.is_dir():
        raise UnreadableError(f"{path} is a folder; a mask is one NIfTI, NRRD or MHA file")
    array, geometry, _ = _read_volume(path)
    low, high = float(array.min()), float(array.max())
    whole = array.dtype == np.int16 or bool(np.array_equal(np.rint(array), array))
    if not whole or low < 0 or high > 65535:
        fractions = "" if whole else " with fractions"
        raise LabelError(
            f"{path} holds values from {low:g} to {high:g}{fractions}; a mask has whole numbers from 0 to "
            "65535: give the label file, not the scan"
        )
    return Mask(array.astype(np.uint8 if high < 256 else np.uint16), geometry)


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise UnreadableError(f"{path} does not exist; check the name")
    if path.is_dir():
        return
    try:
        empty = not _first_bytes(path)
    except OSError as error:
        raise UnreadableError(
            f"{path} cannot be read: {error.strerror or error}; check its rights"
        ) from error
    if empty:
        raise UnreadableError(f"{path} is empty (0 bytes); copy the file again from its source")


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(4)


def is_volume(path: Path) -> bool:
    """Whether a file's name is that of a volume."""
    return path.name.lower().endswith(_VOLUME_SUFFIXES)


def _read_folder(folder: Path, called: Path, series: str | int | None) -> Image:
    files = sorted(entry for entry in folder.rglob("*") if entry.is_file())
    if not any(is_dicom(entry) for entry in files):
        volumes = [entry for entry in files if is_volume(entry)]
        if len(volumes) == 1:
            return read(volumes[0], series=series)
        if volumes:
            raise InputError(f"{called} holds {len(volumes)} volume files; give one of them")
        raise UnreadableError(f"{called} holds no scan among its {len(files)} files; {_WANTED}")
    return read_dicom(files, called, series=series)


def _read_volume(path: Path) -> tuple[NDArray[Any], Geometry, tuple[str, ...]]:
    name = path.name.lower()
    if name.endswith((".nrrd", ".nhdr", ".mha", ".mhd")):
        return (*read_itk(path), ())
    if name.endswith((".nii", ".nii.gz")):
        return read_nifti(path)
    raise UnreadableError(f"{path} is of no known format; {_WANTED}")
