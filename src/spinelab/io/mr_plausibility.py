"""Is this a scan the landmark network can work on? MR intensities mean nothing by themselves, so only what is
certain is refused: CT numbers, empty scans, voxels too coarse, and too little in view."""

from dataclasses import replace

import numpy as np

from spinelab.errors import GeometryError, ModalityError, UnreadableError
from spinelab.io.plausibility import CheckedScan
from spinelab.volume import Image

#: Voxels in plane and slices may be so coarse; a stack or a slice must show so much of the back.
_IN_PLANE_MM, _SLICES_MM, _EXTENT_MM = 3.0, 10.0, 60.0
#: CT: fat at -100 and air at -1000; MR, normalised or not, has nothing so low.
_FAT_HU, _SHARE = -50.0, 0.005


def check_mr(image: Image) -> CheckedScan:
    """Checks that a scan may be an MR of a spine: a sagittal stack, a volume, or one sagittal slice.

    Args:
        image: (i, j, k) voxels of any modality and contrast.

    Returns:
        The scan as float32 or int16 with every voxel finite, and what was odd.

    Raises:
        ModalityError: It is a CT or a film.
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
    if float((array < _FAT_HU).mean()) > _SHARE:
        raise ModalityError(
            f"voxels reach {float(array.min()):g} as fat and air do in CT, wanted MR; CT goes to "
            "spinelab analyze"
        )
    info = {key: value for key, value in image.info.items() if key != "warnings"}
    return CheckedScan(replace(image, array=array, modality="MR", info=info), tuple(warnings))


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
