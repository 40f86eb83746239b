"""DICOM files to slices: where each image lies, how its numbers become HU, and its pixels.

Nothing that identifies a patient is read: only the tags named here are parsed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinelab.errors import UnreadableError

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "SeriesNumber", "AcquisitionNumber",
    "TemporalPositionIdentifier", "AcquisitionTime", "ImageType", "ConvolutionKernel", "KVP",
    "SliceThickness", "ContrastBolusAgent", "ImagePositionPatient", "ImageOrientationPatient",
    "EchoTime", "RepetitionTime", "PixelSpacing", "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames",
    "RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
#: First tags of files without preamble: group length or meta, of group 2 and 8.
_BARE_STARTS = (b"\x02\0\0\0", b"\x08\0\0\0", b"\x08\0\x05\0", b"\x08\0\x08\0")
_DICOMDIR = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, eq=False)
class DicomSlice:
    """One image of a DICOM file.

    Attributes:
        path: Its file.
        frame: Its number in a multi-frame file, from 0; None in a single-frame file.
        facts: Series facts as text by DICOM keyword (kernel, image type ...); no identifiers.
        size: (columns, rows).
        position: (3,) centre of the first pixel, LPS mm; None where the file does not say.
        orientation: (6,) unit vectors along a row and down a column, LPS; None where unstated.
        spacing: (between columns, between rows) in mm; None where unstated.
        rescale: Slope and intercept from stored values to HU.
    """

    path: Path
    frame: int | None
    facts: dict[str, str]
    size: tuple[int, int]
    position: NDArray[np.float64] | None
    orientation: NDArray[np.float64] | None
    spacing: tuple[float, float] | None
    rescale: tuple[float, float]

    @property
    def placed(self) -> bool:
        """True when position, orientation and spacing are all stated."""
        return self.position is not None and self.orientation is not None and self.spacing is not None

    @property
    def normal(self) -> NDArray[np.float64]:
        """(3,) unit normal of the image plane, LPS; only for a placed slice."""
        assert self.orientation is not None
        return np.cross(self.orientation[:3], self.orientation[3:])


def is_dicom(path: Path) -> bool:
    """Tells from the first bytes whether a file looks like DICOM, with or without the 128 byte preamble."""
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return False
    return start[128:132] == b"DICM" or start[:4] in _BARE_STARTS


def read_slices(files: Iterable[Path]) -> tuple[list[DicomSlice], int]:
    """Reads the headers of all DICOM images among `files`.

    Returns:
        The slices in no particular order, and how many files claim to be DICOM but cannot be parsed.
    """
    slices: list[DicomSlice] = []
    damaged = 0
    for path in files:
        if not is_dicom(path):
            continue
        try:
            slices.extend(_slices_of(path))
        except UnreadableError:
            damaged += 1
    return slices, damaged


def _slices_of(path: Path) -> list[DicomSlice]:
    import pydicom

    try:
        data = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS, force=True)
        if str(getattr(data, "file_meta", {}).get("MediaStorageSOPClassUID", "")) == _DICOMDIR:
            return []
        complete = "SOPClassUID" in data and "Rows" in data and "Columns" in data
        if not complete and ("SOPClassUID" not in data or data.get("Modality") in ("CT", "MR")):
            raise UnreadableError(f"{path.name} ends within its header")
        if not complete or int(data.get("SamplesPerPixel", 1) or 1) != 1:
            return []  # a report, a plan, a colour screenshot
        frames = int(data.get("NumberOfFrames", 1) or 1)
        if "PerFrameFunctionalGroupsSequence" not in data:
            return [_slice(path, None if frames == 1 else n, data, [data]) for n in range(frames)]
        shared = list(data.get("SharedFunctionalGroupsSequence", []))
        groups = data.PerFrameFunctionalGroupsSequence
        return [_slice(path, n, data, [*shared, group]) for n, group in enumerate(groups)]
    except (OSError, ValueError, TypeError, AttributeError, KeyError, EOFError, NotImplementedError) as error:
        raise UnreadableError(f"{path.name} is a damaged DICOM file ({type(error).__name__})") from error


def _slice(path: Path, frame: int | None, data: Any, sources: list[Any]) -> DicomSlice:
    position = _numbers(_find(sources, "ImagePositionPatient", "PlanePositionSequence"), 3)
    orientation = _numbers(_find(sources, "ImageOrientationPatient", "PlaneOrientationSequence"), 6)
    spacing = _numbers(_find(sources, "PixelSpacing", "PixelMeasuresSequence"), 2)
    if spacing is not None and spacing.min() <= 0:
        spacing = None
    slope = _find(sources, "RescaleSlope", "PixelValueTransformationSequence")
    intercept = _find(sources, "RescaleIntercept", "PixelValueTransformationSequence")
    return DicomSlice(
        path=path,
        frame=frame,
        facts=_facts(data, sources),
        size=(int(data.Columns), int(data.Rows)),
        position=position,
        orientation=_unit(orientation),
        spacing=None if spacing is None else (float(spacing[1]), float(spacing[0])),
        rescale=(float(slope) if slope else 1.0, float(intercept) if intercept is not None else 0.0),
    )


def _find(sources: list[Any], keyword: str, sequence: str) -> Any:
    """Returns an attribute of the last source that has it, on its own or inside `sequence`."""
    for source in reversed(sources):
        if source.get(keyword) is not None:
            return source.get(keyword)
        for item in source.get(sequence, []) or []:
            if item.get(keyword) is not None:
                return item.get(keyword)
    return None


def _numbers(value: Any, count: int) -> NDArray[np.float64] | None:
    if value is None or isinstance(value, str) or not hasattr(value, "__len__") or len(value) != count:
        return None
    numbers = np.array([float(v) for v in value], dtype=np.float64)
    return numbers if np.isfinite(numbers).all() else None


def _unit(orientation: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Returns the two vectors at unit length, None unless they are (about) orthogonal and not zero."""
    if orientation is None:
        return None
    row, column = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.5:
        return None
    row, column = row / lengths[0], column / lengths[1]
    return np.concatenate([row, column]) if abs(row @ column) < 0.01 else None


def _facts(data: Any, sources: list[Any]) -> dict[str, str]:
    keywords = (
        "Modality", "SeriesInstanceUID", "SeriesNumber", "AcquisitionNumber", "TemporalPositionIdentifier",
        "AcquisitionTime", "KVP", "SOPInstanceUID", "EchoTime", "RepetitionTime",
    )  # fmt: skip
    facts = {keyword: _text(data.get(keyword)) for keyword in keywords if data.get(keyword) not in (None, "")}
    facts["ImageType"] = _joined(data.get("ImageType"))
    kernel = _joined(_find([data, *sources], "ConvolutionKernel", "CTReconstructionSequence"))
    thickness = _find([data, *sources], "SliceThickness", "PixelMeasuresSequence")
    if kernel:
        facts["ConvolutionKernel"] = kernel[:32]
    if thickness is not None:
        facts["SliceThickness"] = _text(thickness)
    if str(data.get("ContrastBolusAgent") or "").strip():
        facts["Contrast"] = "yes"
    return facts


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _joined(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else "\\".join(str(part) for part in value)


def stored_bytes(item: DicomSlice) -> bytes:
    """Returns the pixel data of a slice's file as stored, to compare files that claim the same place."""
    import pydicom

    data = pydicom.dcmread(item.path, force=True)
    return bytes(data.get("PixelData", b""))


def read_pixels(item: DicomSlice) -> NDArray[Any]:
    """Reads the (columns, rows) pixels of a slice, rescaled (HU for CT).

    Compressed files go through pydicom's decoders and, where none is installed for the compression, through
    SimpleITK's.

    Raises:
        UnreadableError: Truncated, or no decoder can read it.
    """
    import pydicom
    from pydicom.pixels.utils import pixel_array

    try:
        if item.frame is None:
            return _rescaled(pydicom.dcmread(item.path, force=True).pixel_array, item).T
        return _rescaled(pixel_array(item.path, index=item.frame), item).T
    except Exception as error:  # pydicom's decoders and plugins raise nearly anything
        if not _is_compressed(item.path):
            raise UnreadableError(
                f"{item.path.name} is a truncated or damaged DICOM file ({error}); "
                "export the series again from its source"
            ) from error
        return _decode_with_itk(item)


def _is_compressed(path: Path) -> bool:
    import pydicom
    import pydicom.errors

    try:
        meta = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta
        return bool(meta.TransferSyntaxUID.is_compressed)
    except (pydicom.errors.InvalidDicomError, OSError, AttributeError, ValueError):
        return False


def _decode_with_itk(item: DicomSlice) -> NDArray[Any]:
    """Reads a compressed single-frame file; SimpleITK applies slope and intercept itself."""
    import SimpleITK

    sitk: Any = SimpleITK
    step = "export the series again uncompressed (explicit VR little endian)"
    if item.frame is not None:
        raise UnreadableError(f"{item.path.name} is multi-frame and compressed, which is not read; {step}")
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(item.path))
    try:
        pixels = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise UnreadableError(
            f"{item.path.name} is damaged or compressed in a way that cannot be decoded here; {step}"
        ) from error
    return np.asarray(pixels).reshape(pixels.shape[-2:]).T


def _rescaled(pixels: NDArray[Any], item: DicomSlice) -> NDArray[Any]:
    slope, intercept = item.rescale
    if (slope, intercept) == (1.0, 0.0):
        return pixels
    if slope.is_integer() and intercept.is_integer() and pixels.dtype.kind in "iu":
        return pixels.astype(np.int32) * int(slope) + int(intercept)
    return pixels * np.float64(slope) + np.float64(intercept)
