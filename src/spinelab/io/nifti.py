"""NIfTI-1 and NIfTI-2 single files (``.nii``, ``.nii.gz``), read and written without loss of the affine.

SimpleITK refuses sheared affines, which a tilted gantry produces; so the header is read here.
NIfTI is RAS mm, `Geometry` is LPS mm: the first two rows change sign.
"""

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from spinelab.errors import GeometryError, OutputError, UnreadableError
from spinelab.io.outputs import writing
from spinelab.io.voxels import VoxelStore, slices_per_block
from spinelab.volume import Geometry, Image, Mask

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_COPY_AGAIN = "copy the file again from its source"
#: Header fields used, as (name, struct format, offset in NIfTI-1, offset in NIfTI-2).
_FIELDS = (
    ("dim", ("8h", "8q"), 40, 16),
    ("datatype", ("h", "h"), 70, 12),
    ("pixdim", ("8f", "8d"), 76, 104),
    ("vox_offset", ("f", "q"), 108, 168),
    ("slope", ("f", "d"), 112, 176),
    ("inter", ("f", "d"), 116, 184),
    ("units", ("B", "i"), 123, 500),
    ("qform_code", ("h", "i"), 252, 344),
    ("sform_code", ("h", "i"), 254, 348),
    ("quaternion", ("3f", "3d"), 256, 352),
    ("qoffset", ("3f", "3d"), 268, 376),
    ("srow", ("12f", "12d"), 280, 400),
)


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    inter: float
    sform: NDArray[np.float64] | None
    qform: NDArray[np.float64] | None


def read_nifti(path: Path) -> tuple[NDArray[Any], Geometry, tuple[str, ...]]:
    """Reads a NIfTI file.

    Returns:
        The (i, j, k) voxels as int16 or float32, slope and intercept applied; their grid in LPS mm; and
        warnings.

    Raises:
        UnreadableError: Not NIfTI, truncated, or of a voxel type that is not a number.
        GeometryError: Not three-dimensional, or spacing or orientation are missing.
    """
    with _opened(path) as stream:
        header, consumed = _read_header(stream, path)
        geometry, warnings = _geometry(header, path)
        _read_exactly(stream, max(0, header.offset - consumed), path)
        store = VoxelStore(header.shape)
        step = slices_per_block(header.shape)
        plane = header.shape[0] * header.shape[1]
        for start in range(0, header.shape[2], step):
            count = min(step, header.shape[2] - start)
            raw = _read_exactly(stream, plane * count * header.dtype.itemsize, path)
            block = np.frombuffer(raw, header.dtype).reshape((*header.shape[:2], count), order="F")
            store.put(start, _scale(block, header))
        _read_checksum(stream)
    return store.array(), geometry, warnings


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if zipped:
                with gzip.GzipFile(fileobj=raw) as stream:
                    yield stream  # type: ignore[misc]
            else:
                yield raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableError(f"{path} is damaged or truncated ({error}); {_COPY_AGAIN}") from error
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read: {error.strerror or error}; check the disk") from error


def _read_exactly(stream: IO[bytes], count: int, path: Path) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise UnreadableError(
            f"{path} is truncated: {count - len(data)} of {count} bytes are missing; {_COPY_AGAIN}"
        )
    return data


def _read_checksum(stream: IO[bytes]) -> None:
    """Reads on to the end of a gzip member, which makes gzip compare its checksum."""
    stream.read(1)


def _read_header(stream: IO[bytes], path: Path) -> tuple[_Header, int]:
    """Returns the header and how many bytes of the file it took."""
    start = _read_exactly(stream, 348, path)
    for order in "<>":
        size = struct.unpack(order + "i", start[:4])[0]
        if size == 348 and start[344:347] == b"n+1":
            return _parse(start, order, 0, path), 348
        if size == 540 and start[4:7] == b"n+2":
            return _parse(start + _read_exactly(stream, 192, path), order, 1, path), 540
    raise UnreadableError(
        f"{path} is not a NIfTI file (no NIfTI-1 or NIfTI-2 header; hdr/img pairs and ANALYZE are not read); "
        "convert it to a single .nii.gz file"
    )


def _parse(data: bytes, order: str, version: int, path: Path) -> _Header:
    values: dict[str, Any] = {}
    for name, formats, *offsets in _FIELDS:
        found = struct.unpack_from(order + formats[version], data, offsets[version])
        values[name] = found if len(found) > 1 else found[0]
    code = values["datatype"]
    if code not in _TYPES:
        raise UnreadableError(
            f"{path} holds voxels of NIfTI type {code} (colour or complex); a scan has one number a voxel, "
            "save it as 16-bit integers"
        )
    slope, inter = float(values["slope"]), float(values["inter"])
    if slope == 0 or not np.isfinite([slope, inter]).all():
        slope, inter = 1.0, 0.0
    unit = _UNIT_MM.get(values["units"] & 7, 1.0)
    return _Header(
        shape=_shape(values["dim"], path),
        dtype=np.dtype(order + _TYPES[code]),
        offset=int(values["vox_offset"]),
        slope=slope,
        inter=inter,
        sform=_sform(values, unit),
        qform=_qform(values, unit),
    )


def _shape(dim: tuple[int, ...], path: Path) -> tuple[int, int, int]:
    if not 1 <= dim[0] <= 7 or min(dim[1 : 1 + dim[0]]) < 1:
        raise UnreadableError(f"{path} has a damaged NIfTI header (dimensions {list(dim)}); {_COPY_AGAIN}")
    sizes = list(dim[1 : 1 + dim[0]])
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) != 3:
        raise GeometryError(
            f"{path} has {len(sizes)} dimensions {tuple(sizes)}; a scan has three: "
            + ("give a whole volume" if len(sizes) < 3 else "save one time point or channel as its own file")
        )
    return (sizes[0], sizes[1], sizes[2])


def _sform(values: dict[str, Any], unit: float) -> NDArray[np.float64] | None:
    if values["sform_code"] <= 0:
        return None
    affine = np.eye(4)
    affine[:3] = np.reshape(values["srow"], (3, 4))
    affine[:3] *= unit
    return affine


def _qform(values: dict[str, Any], unit: float) -> NDArray[np.float64] | None:
    if values["qform_code"] <= 0:
        return None
    from scipy.spatial.transform import Rotation

    b, c, d = values["quaternion"]
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    sizes = np.array(values["pixdim"][1:4], dtype=np.float64)
    if values["pixdim"][0] < 0:
        sizes[2] = -sizes[2]
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_quat([b, c, d, a]).as_matrix() * sizes
    affine[:3, 3] = values["qoffset"]
    affine[:3] *= unit
    return affine


def _geometry(header: _Header, path: Path) -> tuple[Geometry, tuple[str, ...]]:
    chosen = header.sform if header.sform is not None else header.qform
    if chosen is None:
        raise GeometryError(
            f"{path} states no orientation (sform and qform codes are 0), so left and right are unknown; "
            "convert the scan again from its DICOM files"
        )
    try:
        geometry = Geometry(header.shape, _RAS_TO_LPS @ chosen)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}; convert the scan again from its DICOM files") from error
    if header.sform is None or header.qform is None:
        return geometry, ()
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in header.shape])).reshape(3, -1).T
    other = corners @ header.qform[:3, :3].T + header.qform[:3, 3]
    gap = np.linalg.norm(geometry.index_to_world(corners) * [-1, -1, 1] - other, axis=1).max()
    if gap <= 1.0:
        return geometry, ()
    return geometry, (
        f"The file states two positions that differ by up to {gap:.0f} mm (sform and qform); "
        "the sform was used.",
    )


def _scale(block: NDArray[Any], header: _Header) -> NDArray[Any]:
    if header.slope == 1.0 and header.inter == 0.0:
        return block
    scaled: NDArray[Any] = block * np.float64(header.slope) + np.float64(header.inter)
    return scaled


#: NumPy type -> NIfTI code of what is written.
_CODES = {"u1": 2, "i2": 4, "f4": 16, "u2": 512}


def write_nifti(volume: Image | Mask, path: Path) -> None:
    """Writes a volume as NIfTI-1 on its own grid, voxel for voxel; gzip when the name ends in ``.gz``.

    Masks become 8 or 16 bit unsigned, images 16 bit signed where their type holds whole numbers that fit,
    else 32 bit floating point.

    The sform carries the affine whatever it is; the qform is set as well unless there is shear.

    Raises:
        OutputError: The name is not ``.nii`` or ``.nii.gz``, or the file cannot be written.
    """
    if not path.name.endswith((".nii", ".nii.gz")):
        raise OutputError(f"a volume is written as .nii.gz or .nii, found {path.name!r}; change the name")
    dtype = _type_of(volume)
    head = _header_bytes(volume.geometry, dtype)
    with writing(path), path.open("wb") as raw:
        if path.name.endswith(".gz"):
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=1, mtime=0) as stream:
                _write_voxels(stream, head, volume, dtype)
        else:
            _write_voxels(raw, head, volume, dtype)


def _type_of(volume: Image | Mask) -> np.dtype[Any]:
    array = volume.array
    if isinstance(volume, Mask):
        return np.dtype("<u1" if array.size == 0 or int(array.max()) < 256 else "<u2")
    whole = array.dtype.kind in "iu" and array.size > 0
    return np.dtype("<i2" if whole and array.min() >= -32768 and array.max() <= 32767 else "<f4")


def _write_voxels(stream: Any, head: bytes, volume: Image | Mask, dtype: np.dtype[Any]) -> None:
    stream.write(head)
    step = slices_per_block(volume.array.shape)
    for start in range(0, volume.array.shape[2], step):
        stream.write(volume.array[:, :, start : start + step].astype(dtype).tobytes(order="F"))


def _header_bytes(geometry: Geometry, dtype: np.dtype[Any]) -> bytes:
    affine = _RAS_TO_LPS @ geometry.affine
    quaternion, qfac = _quaternion(affine)
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, *geometry.shape, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, _CODES[dtype.str[1:]], 8 * dtype.itemsize)
    struct.pack_into("<8f", head, 76, qfac, *geometry.spacing_mm, 0, 0, 0, 0)
    struct.pack_into("<3f", head, 108, 352, 1, 0)
    struct.pack_into("<B", head, 123, 2)
    struct.pack_into("<2h", head, 252, 0 if quaternion is None else 1, 1)
    if quaternion is not None:
        struct.pack_into("<6f", head, 256, *quaternion, *affine[:3, 3])
    struct.pack_into("<12f", head, 280, *affine[:3].ravel())
    head[344:348] = b"n+1\0"
    return bytes(head)


def _quaternion(affine: NDArray[Any]) -> tuple[NDArray[np.float64] | None, float]:
    """Returns b, c, d of the affine's rotation (None if it is sheared) and the sign of the third axis."""
    from scipy.spatial.transform import Rotation

    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    qfac = -1.0 if np.linalg.det(axes) < 0 else 1.0
    axes[:, 2] *= qfac
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-5):
        return None, qfac
    b, c, d, a = Rotation.from_matrix(axes).as_quat()
    return np.array([b, c, d]) * (-1 if a < 0 else 1), qfac
