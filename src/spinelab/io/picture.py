"""A sagittal slice in a PNG or JPEG file, which says nothing of millimetres."""

from pathlib import Path
from typing import Any

import numpy as np

from spinelab.errors import GeometryError, UnreadableError
from spinelab.volume import Geometry, Image

ENDINGS = (".png", ".jpg", ".jpeg")
#: Thickness given to a slice whose own is unknown.
SLICE_MM = 4.0


def is_picture(path: Path) -> bool:
    """Whether a file's name is that of a picture."""
    return path.suffix.lower() in ENDINGS


def read_picture(path: Path, spacing_mm: float | None) -> Image:
    """Reads one sagittal slice, shown as usual: the front to the left, the head at the top.

    Args:
        path: PNG or JPEG; colours become grey.
        spacing_mm: Edge of a pixel.

    Returns:
        (1, columns, rows) voxels on a grid whose first pixel's row is the highest; where the slice lies from
        left to right is unknown and set to 0.

    Raises:
        UnreadableError: The file is missing or damaged.
        GeometryError: No pixel size was given, or it is none of a scan.
    """
    import SimpleITK

    sitk: Any = SimpleITK
    if spacing_mm is None:
        raise GeometryError(f"{path.name} does not say how large its pixels are; give --spacing in mm")
    if not 0.05 <= spacing_mm <= 3.0:
        raise GeometryError(f"found pixels of {spacing_mm:g} mm, wanted 0.05 to 3; give --spacing in mm")
    if not path.exists():
        raise UnreadableError(f"{path} does not exist; check the name")
    try:
        pixels = np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), np.float32)
    except RuntimeError as error:
        raise UnreadableError(f"{path} is damaged or no picture; export the slice again") from error
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 3, 4):
        pixels = pixels[..., :3].mean(-1) if pixels.shape[-1] > 2 else pixels[..., 0]
    if pixels.ndim != 2:
        raise UnreadableError(f"{path} holds {pixels.ndim} dimensions, wanted one picture")
    array = np.ascontiguousarray(pixels[::-1].T)[None]
    return Image(array, Geometry.from_spacing(array.shape, (SLICE_MM, spacing_mm, spacing_mm)), "MR")
