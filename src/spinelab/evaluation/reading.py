"""What is compared: centres, and a mask if there is one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.anatomy import VERTEBRA_LABELS
from spinelab.errors import LabelError
from spinelab.spine import Point
from spinelab.volume import Mask

Box = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """How a reading is scored.

    Attributes:
        tolerance_mm: A centre farther than this from its reference is wrong (VerSe: 20 mm).
        missed_hausdorff_mm: What a missed vertebra counts in the 95 % Hausdorff distance.
        drop_partial: Leave out vertebrae the field of view cuts: those partial in the reference, and
            those partial in the prediction that the reference does not list (VerSe leaves such
            vertebrae unlabelled, which would punish finding them).
        resamples: Bootstrap resamples over scans; 0 gives no intervals.
        seed: Seed of the bootstrap.
    """

    tolerance_mm: float = 20.0
    missed_hausdorff_mm: float = 100.0
    drop_partial: bool = False
    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class Reading:
    """One reading of a scan, reference or prediction.

    Attributes:
        centers_mm: VerSe number -> centre, LPS mm.
        mask: VerSe numbers on the scan's grid; None when there are only centres.
        partial: Labels the field of view cuts.
    """

    centers_mm: Mapping[int, Point]
    mask: Mask | None = None
    partial: frozenset[int] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        known = {*VERTEBRA_LABELS, 26, 27}
        unknown = sorted({*self.centers_mm, *self.mask_labels} - known)
        if unknown:
            raise LabelError(
                f"labels {', '.join(map(str, unknown))} are no VerSe vertebra numbers (1-25, 28; sacrum 26, "
                "coccyx 27); convert the reading first with spinelab convert-labels"
            )

    @classmethod
    def of_mask(cls, mask: Mask, centers_mm: Mapping[int, Point] | None = None) -> "Reading":
        """Returns the reading of a mask; centres are those of the whole label unless given.

        A label that touches the first or last slice across the head-foot axis counts as partial.
        """
        return cls(centers_of(mask) if centers_mm is None else centers_mm, mask, _cut_labels(mask))

    @cached_property
    def mask_labels(self) -> tuple[int, ...]:
        """Labels of the mask, sacrum and coccyx included; empty without one."""
        return self.mask.labels() if self.mask is not None else ()

    @property
    def labels(self) -> tuple[int, ...]:
        """Vertebrae in this reading from the head down in VerSe number, sacrum and coccyx left out."""
        present = {*self.centers_mm, *self.mask_labels}
        return tuple(label for label in VERTEBRA_LABELS if label in present)


def centers_of(mask: Mask) -> dict[int, Point]:
    """Returns label -> centre of mass of all its voxels, LPS mm.

    The centre of a whole vertebra lies some millimetres behind that of its body.
    """
    centers: dict[int, Point] = {}
    for label, box in boxes_of(mask).items():
        index = np.argwhere(mask.array[box] == label).mean(axis=0) + [part.start for part in box]
        x, y, z = mask.geometry.index_to_world(index)
        centers[label] = (float(x), float(y), float(z))
    return centers


def boxes_of(mask: Mask) -> dict[int, Box]:
    """Returns label -> the slices around its voxels."""
    found = ndimage.find_objects(mask.array.astype(np.int32, copy=False))
    return {label: box for label, box in enumerate(found, start=1) if box is not None}


def _cut_labels(mask: Mask) -> frozenset[int]:
    axis = mask.geometry.axes_by_world[2]
    ends: NDArray[np.generic] = np.take(mask.array, [0, mask.array.shape[axis] - 1], axis=axis)
    return frozenset(int(label) for label in np.unique(ends) if label)
