"""Is this a scan the landmark network can work on? MR intensities mean nothing by themselves, so only what is
certain is refused: CT numbers, masks, empty scans, voxels too coarse, and too little in view."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinelab.errors import GeometryError, ModalityError, UnreadableError
from spinelab.io.plausibility import CheckedScan
from spinelab.volume import Image

#: Voxels in plane and slices may be so coarse; a stack or a slice must show so much of the back.
_IN_PLANE_MM, _SLICES_MM, _EXTENT_MM = 3.0, 10.0, 60.0
#: CT: fat at -100 and air at -1000; MR, normalised or not, has nothing so low.
_FAT_HU, _SHARE = -50.0, 0.005
#: A scan has more different values than this; a mask has fewer, whole ones.
_MASK_VALUES, _EVERY = 40, 4
#: CT numbers stored with 1024 added: so much of what is not air lies within muscle and fat.
_OFFSET_HU, _OFFSET_SHARE = (850.0, 1200.0), 0.6


def check_mr(image: Image) -> CheckedScan:
    """Checks that a scan may be an MR of a spine: a sagittal stack, a volume, or one sagittal slice.

    Args:
        image: (i, j, k) voxels of any modality and contrast.

    Returns:
        The scan as float32 or int16 with every voxel finite, and what was odd.

    Raises:
        ModalityError: It is a CT, a film or a mask.
        GeometryError: Voxels too coarse, too little in view, or slices that do not run sagittally.
        UnreadableError: All voxels are alike, or none is a finite number.
    """
    warnings = [line for line in image.info.get("warnings", "").split("\n") if line]
    modality = image.info.get("modality", image.modality)
    if image.modality in ("CT", "XR") or modality not in ("MR", "unknown"):
        raise ModalityError(f"the header says {modality}, wanted MR; CT goes to spinelab analyze")
    _check_grid(image)
    array = image.array
    finite = np.isfinite(array)
    if not finite.all():
        if not finite.any():
            raise UnreadableError("no voxel is a finite number; convert the scan again from its DICOM files")
        warnings.append(f"{int((~finite).sum())} voxels are no finite numbers and were set to 0.")
        array = np.where(finite, array, 0)
    if float(array.max()) == float(array.min()):
        raise UnreadableError(f"every voxel is {float(array.flat[0]):g}; give the scan, not an empty volume")
    _check_values(array, warnings)
    info = {key: value for key, value in image.info.items() if key != "warnings"}
    return CheckedScan(replace(image, array=array, modality="MR", info=info), tuple(warnings))


def _check_values(array: NDArray[Any], warnings: list[str]) -> None:
    """Refuses what is no MR by its values, and tells of what may be none."""
    if float((array < _FAT_HU).mean()) > _SHARE:
        raise ModalityError(
            f"voxels reach {float(array.min()):g} as fat and air do in CT, wanted MR; CT goes to "
            "spinelab analyze; an MR with values below zero (normalised, say) is to be shifted to start at 0"
        )
    values = np.unique(array[::_EVERY, ::_EVERY, ::_EVERY])
    if len(values) <= _MASK_VALUES:
        values = np.unique(array)
    if len(values) <= _MASK_VALUES and bool((values == np.rint(values)).all()):
        raise ModalityError(
            f"found {len(values)} different values, all whole numbers, as a mask has; give the scan itself"
        )
    tissue = array[array > 200]
    low, high = _OFFSET_HU
    if tissue.size and float(((tissue > low) & (tissue < high)).mean()) >= _OFFSET_SHARE:
        warnings.append(
            f"Most values lie between {low:g} and {high:g}, as in a CT stored with 1024 added: if it is one, "
            "give it to spinelab analyze."
        )


def _check_grid(image: Image) -> None:
    axes = image.geometry.axes_by_world
    spacing = [image.spacing_mm[axis] for axis in axes]
    shape = [image.geometry.shape[axis] for axis in axes]
    text = " x ".join(f"{size:g}" for size in image.spacing_mm)
    if max(spacing[1:]) > _IN_PLANE_MM:
        raise GeometryError(
            f"found voxels of {text} mm; wanted at most {_IN_PLANE_MM:g} mm from front to back and head to "
            "foot: give a sagittal stack or a volume, not axial or coronal slices"
        )
    if spacing[0] > _SLICES_MM:
        raise GeometryError(
            f"found sagittal slices {spacing[0]:g} mm apart, wanted at most {_SLICES_MM:g} mm"
        )
    extent = min(n * size for n, size in zip(shape[1:], spacing[1:], strict=True))
    if extent < _EXTENT_MM:
        raise GeometryError(
            f"the scan shows {extent:.0f} mm of the sagittal plane, wanted at least {_EXTENT_MM:g} mm; give "
            "the whole scan"
        )
