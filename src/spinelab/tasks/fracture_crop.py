"""What the fracture network sees of a vertebra: sagittal slices through its body, in the body's own frame.

Shared by the training recipe and the reader. Axes of a crop are (slice to the left, posterior, superior).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.anatomy import ORDER
from spinelab.measurement import Outlines
from spinelab.measurement.sampling import SoftOutline
from spinelab.tasks.outline import sample_scan
from spinelab.volume import Image, Mask

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

#: Places of the sagittal slices, mm to the left of the middle of the body.
SLICES_MM = (-8.0, -4.0, 0.0, 4.0, 8.0)
#: Pixels backwards and headwards, 1 mm each: the body with both neighbours' endplates.
CROP_SHAPE = (56, 120)
#: What is the vertebra's own, what another's.
OWN, OTHER = 1, -1
#: Where the surface of an outline lies between 0 outside and 1 inside.
SURFACE = 0.5


@dataclass(frozen=True, eq=False)
class Crop:
    """Sagittal slices of one body.

    Attributes:
        hu: (5, j, k) float32 HU, air where nothing was scanned.
        outline: (5, j, k) int8, `OWN` in the vertebra's outline, `OTHER` in another's, else 0.
        in_view: (5, j, k) bool, where there is a scan.
    """

    hu: Floats
    outline: NDArray[np.int8]
    in_view: NDArray[np.bool_]


def crop_points(shape: tuple[int, int] = CROP_SHAPE) -> Floats:
    """Returns (5, j, k, 3) local mm (left, posterior, superior) of a crop's pixels."""
    axes = [np.asarray(SLICES_MM), *(np.arange(n) - (n - 1) / 2 for n in shape)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)


_POINTS = crop_points()


def crop_body(
    image: Image,
    mask: Mask,
    label: int,
    *,
    center_mm: Array,
    frame: Array,
    points: Floats = _POINTS,
    outlines: Outlines | None = None,
) -> Crop:
    """Cuts the slices through a body out of a scan and its outlines.

    Args:
        image: CT in HU.
        mask: VerSe numbers on the same grid.
        label: The vertebra's number.
        center_mm: (3,) centre of its body, LPS mm.
        frame: (3, 3) rows left, posterior, superior.
        points: (5, j, k, 3) local mm, as `crop_points` gives them.
        outlines: VerSe number -> the outline before it was put onto the slices, which thick ones cut into
            steps; the mask where there is none.
    """
    index = np.asarray(image.geometry.world_to_index(points @ frame + center_mm), np.float64)
    hu, in_view = sample_scan(image, index)
    nearest = np.clip(np.round(index).astype(int), 0, np.array(mask.array.shape) - 1)
    labels = mask.array[nearest[..., 0], nearest[..., 1], nearest[..., 2]]
    own, other = labels == label, (labels > 0) & (labels != label)
    if outlines:
        world = points @ frame + center_mm
        own = _inside(outlines[label], world) if label in outlines else own
        for number in np.unique(labels[other]).tolist():
            if number in outlines:
                other = np.where(labels == number, False, other) | _inside(outlines[number], world)
    outline = np.where(own, OWN, np.where(other, OTHER, 0)) * in_view
    return Crop(hu, outline.astype(np.int8), in_view)


def _inside(outline: SoftOutline, world: Array) -> NDArray[np.bool_]:
    """Tells which of the points (..., 3), LPS mm, lie inside an outline."""
    index = np.moveaxis(np.asarray(outline.geometry.world_to_index(world)), -1, 0)
    values = ndimage.map_coordinates(outline.array, index, order=1, cval=0.0, output=np.float32)
    return np.asarray(values >= SURFACE)


def tell_facts(name: str, slice_mm: float) -> tuple[float, float]:
    """Returns what is told beside the picture: place along the column (T1 0, L5 1), thickness in 5 mm."""
    place = (ORDER[name] - ORDER["T1"]) / (ORDER["L5"] - ORDER["T1"])
    return (place, slice_mm / 5)
