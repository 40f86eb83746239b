"""Is this volume a CT one can work on? Checked on the voxels, because volume files do not say.

CT numbers are calibrated: air lies near -1000 HU, fat near -100, muscle near 50. A crop may hold no air, but
there is fat and marrow in every piece of a body, so some voxels are always negative. MR intensities are not
calibrated and practically never negative.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinelab.errors import GeometryError, ModalityError, UnreadableError
from spinelab.io.voxels import slices_per_block
from spinelab.volume import Image

AIR_HU = -1024
_SAMPLE = 2_000_000
_MIN_VOXELS, _MIN_EXTENT_MM = 8, 30.0
_THICK_MM, _TOO_THICK_MM = 4.0, 8.0
_METAL_HU, _METAL_MM3 = 2800, 100.0
#: What a volume must be for its numbers to be believed, as shares of the voxels looked at.
_MIN_SOFT, _MIN_NEGATIVE = 0.03, 0.002
_OFFSET = 1024
#: Values within so small a range are labels or were normalised.
_NORMALISED = 40
_AS_MR = (
    "this task needs CT: give the CT, or convert it again from its DICOM files so that it holds HU; an MR "
    "of the spine goes to spinelab locate"
)


@dataclass(frozen=True)
class CheckedScan:
    """A scan found fit to work on.

    Attributes:
        image: The CT in HU, at least -1024, all finite; the array given where nothing had to change.
        warnings: Sentences for the reader about what was odd or was put right.
    """

    image: Image
    warnings: tuple[str, ...]


def check_ct(image: Image) -> CheckedScan:
    """Checks that a volume is a CT in HU, puts right what is certain, and refuses the rest.

    Put right with a warning: non-finite voxels in part of the volume (set to air), values stored with an
    offset of 1024 or as wrapped 16-bit numbers where the histogram proves it. Padding below -1024 HU becomes
    -1024 without a word.

    Args:
        image: (i, j, k) voxels of any modality.

    Raises:
        GeometryError: Too few slices, too small or too thick.
        ModalityError: Not a CT in HU (an MR, a normalised or shifted scan, a constant volume).
        UnreadableError: No voxel is a finite number.
    """
    warnings = [line for line in image.info.get("warnings", "").split("\n") if line]
    if image.modality in ("MR", "XR") or image.info.get("modality", "CT") not in ("CT", "unknown"):
        found = image.info.get("modality", image.modality)
        raise ModalityError(
            f"the DICOM header says {found}, wanted CT; give the CT series of this patient, or "
            "an MR of the spine to spinelab locate"
        )
    _check_size(image, warnings)
    for step in (_without_holes, _in_hounsfield, _without_padding):
        image = replace(image, array=step(image.array, image, warnings))
    _warn_metal(image, warnings)
    _warn_window(image, warnings)
    info = {key: value for key, value in image.info.items() if key != "warnings"}
    return CheckedScan(replace(image, modality="CT", info=info), tuple(dict.fromkeys(warnings)))


def looks_like_mr(image: Image) -> bool:
    """Tells whether a scan is an MR by its header, or where that does not say by its voxels.

    Without a header an MR is what has hardly any voxel below zero, is not normalised, and is no CT stored
    with an offset or as wrapped numbers.
    """
    known = image.info.get("modality", image.modality)
    if known != "unknown":
        return known == "MR"
    values = _sample(image.array)
    values = values[np.isfinite(values)]
    if not values.size or float(values.max() - values.min()) <= _NORMALISED:
        return False
    few_below = _share(values, -1e9, -20) < _MIN_NEGATIVE
    return few_below and not _looks_offset(values) and not _looks_like_ct(_unwrap(values))


def _check_size(image: Image, warnings: list[str]) -> None:
    shape, spacing = image.geometry.shape, image.spacing_mm
    text = " x ".join(f"{size:g}" for size in spacing)
    if max(spacing) > _TOO_THICK_MM:
        raise GeometryError(
            f"found voxels of {text} mm, wanted at most {_TOO_THICK_MM:g} mm in every direction; give a "
            "series with thinner slices"
        )
    if min(shape) < _MIN_VOXELS:
        raise GeometryError(
            f"found {shape[0]} x {shape[1]} x {shape[2]} voxels, wanted at least {_MIN_VOXELS} in every "
            "direction; give the whole volume"
        )
    extent = min(n * size for n, size in zip(shape, spacing, strict=True))
    if extent < _MIN_EXTENT_MM:
        raise GeometryError(
            f"the volume is {extent:.0f} mm thick in one direction, wanted at least {_MIN_EXTENT_MM:g} mm so "
            "that a vertebra fits; give a larger part of the scan"
        )
    if max(spacing) >= _THICK_MM:
        warnings.append(
            f"Slices are {max(spacing):.1f} mm apart: heights and outlines are less exact than usual."
        )


def _blocks(array: NDArray[Any]) -> list[slice]:
    step = slices_per_block(array.shape)
    return [slice(start, start + step) for start in range(0, array.shape[2], step)]


def _without_holes(array: NDArray[Any], image: Image, warnings: list[str]) -> NDArray[Any]:
    """Replaces NaN and infinities by air."""
    if array.dtype.kind != "f":
        return array
    finite = sum(int(np.isfinite(array[:, :, part]).sum()) for part in _blocks(array))
    if finite == array.size:
        return array
    if finite == 0:
        raise UnreadableError("no voxel is a finite number (all NaN); convert the scan again from its source")
    filled = array.copy(order="K")
    np.copyto(filled, AIR_HU, where=~np.isfinite(filled))
    share = 100 * (1 - finite / array.size)
    warnings.append(f"{share:.2g} % of the voxels were not finite numbers and were set to air ({AIR_HU} HU).")
    return filled


def _sample(array: NDArray[Any]) -> NDArray[np.float32]:
    """Returns a regular sample of the voxels as a flat array."""
    stride = max(1, int(np.ceil((array.size / _SAMPLE) ** (1 / 3))))
    picked = array[::stride, ::stride, ::stride]
    return picked.astype(np.float32).ravel()


def _share(values: NDArray[np.float32], low: float, high: float) -> float:
    return float(((values >= low) & (values < high)).mean()) if values.size else 0.0


def _looks_like_ct(values: NDArray[np.float32]) -> bool:
    """Tells whether voxels look like HU: enough of soft tissue and fat, some of them negative."""
    body = values[values > -1500]
    return (
        _share(body, -200, 300) >= _MIN_SOFT
        and _share(body, -1100, -20) >= _MIN_NEGATIVE
        and float(np.percentile(values, 99.9)) >= 150
        and not _looks_offset(values)
    )


def _looks_offset(values: NDArray[np.float32]) -> bool:
    """Tells whether voxels look like HU + 1024: tissue around 1024 +- 150, hardly anything negative."""
    body = values[values > -1500]
    raised = body[body > 200]
    if raised.size < 0.05 * body.size:
        return False
    return _share(raised, 850, 1200) >= 0.4 and _share(body, -1500, -20) < 0.01


def _in_hounsfield(array: NDArray[Any], image: Image, warnings: list[str]) -> NDArray[Any]:
    """Returns voxels in HU, or refuses."""
    values = _sample(array)
    low, high = float(array.min()), float(array.max())
    if low == high:
        raise ModalityError(f"every voxel has the value {low:g}; this is no scan, give another file")
    if _looks_like_ct(values):
        return array
    if high > 32767 and low >= 0 and _looks_like_ct(_unwrap(values)):
        warnings.append(
            "Negative HU were stored as unsigned 16-bit numbers (65536 too high); they were put right. "
            "Check the densities against the source."
        )
        return _unwrap(array)
    if _looks_offset(values) and _looks_like_ct(np.maximum(values, 0) - _OFFSET):
        warnings.append(
            f"ATTENTION: the values are HU + {_OFFSET} (air at 0, muscle near 1070); {_OFFSET} was "
            "subtracted. Check the densities against the source."
        )
        return np.asarray(np.maximum(array, 0) - array.dtype.type(_OFFSET))
    raise ModalityError(_refusal(values, low, high))


def _unwrap(values: NDArray[Any]) -> NDArray[Any]:
    unwrapped: NDArray[Any] = np.where(values >= 32768, values - 65536, values)
    return unwrapped


def _refusal(values: NDArray[np.float32], low: float, high: float) -> str:
    found = f"found values from {low:g} to {high:g}"
    if high - low <= _NORMALISED:
        return f"{found}: a normalised scan or labels, wanted CT in HU (air -1000, water 0); {_AS_MR}"
    if _share(values, -1e9, -20) < _MIN_NEGATIVE:
        return (
            f"{found}, hardly any below zero: this looks like an MR scan (or a CT cut off at zero); {_AS_MR}"
        )
    if float(np.percentile(values, 99.9)) < 150:
        return f"{found}, nothing as dense as bone: not CT in HU; {_AS_MR}"
    return f"{found}, hardly any soft tissue (-200 to 300): not CT of a body in HU; {_AS_MR}"


def _without_padding(array: NDArray[Any], image: Image, warnings: list[str]) -> NDArray[Any]:
    """Raises the padding outside the round field of view (-2000, -3024 ...) to air."""
    if array.min() >= AIR_HU:
        return array
    return np.asarray(np.maximum(array, array.dtype.type(AIR_HU)))


def _warn_metal(image: Image, warnings: list[str]) -> None:
    array = image.array
    count = sum(int((array[:, :, part] >= _METAL_HU).sum()) for part in _blocks(array))
    volume = count * abs(float(np.linalg.det(image.geometry.affine[:3, :3])))
    if volume >= _METAL_MM3:
        warnings.append(
            f"About {volume / 1000:.1f} cm3 are as dense as metal: outlines and densities near it are unsafe."
        )


def _warn_window(image: Image, warnings: list[str]) -> None:
    """Warns when the bright end was cut off, as in exports of a display window."""
    values = _sample(image.array)
    top = float(values.max())
    if top < 1000 and float((values == top).mean()) > 0.002:
        warnings.append(
            f"The values are cut off at {top:g} HU, as in an exported display window: densities are too low."
        )
