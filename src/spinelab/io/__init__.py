"""Files to `Image`, `Mask` and `Spine`, and back; one module a format."""

from pathlib import Path

from spinelab.errors import OutputError
from spinelab.io.mr_plausibility import check_mr
from spinelab.io.nifti import write_nifti
from spinelab.io.outputs import OutputFolder
from spinelab.io.plausibility import CheckedScan, check_ct
from spinelab.io.reading import read, read_mask
from spinelab.io.spine_json import read_spine, write_spine
from spinelab.volume import Image, Mask

__all__ = [
    "CheckedScan",
    "OutputFolder",
    "check_ct",
    "check_mr",
    "read",
    "read_mask",
    "read_spine",
    "write_image",
    "write_mask",
    "write_spine",
]


def write_mask(mask: Mask, path: str | Path) -> None:
    """Writes a mask as NIfTI on its own grid, voxel for voxel.

    Args:
        mask: Labels (i, j, k) on any grid: all 48 axis orders, oblique, left-handed, sheared.
        path: Ends in ``.nii.gz`` (compressed fast) or ``.nii``.

    Raises:
        OutputError: Another name, or the file cannot be written.
    """
    if mask.array.size and (mask.array.min() < 0 or mask.array.max() > 65535):
        raise OutputError(
            f"cannot write {path}: labels from {mask.array.min()} to {mask.array.max()}, wanted 0 to 65535; "
            "convert the labels first"
        )
    write_nifti(mask, Path(path))


def write_image(image: Image, path: str | Path) -> None:
    """Writes an image as NIfTI on its own grid, voxel for voxel, as 16 bit integers where they hold it.

    Args:
        image: Intensities (i, j, k) on any grid.
        path: Ends in ``.nii.gz`` (compressed fast) or ``.nii``.

    Raises:
        OutputError: Another name, or the file cannot be written.
    """
    write_nifti(image, Path(path))
