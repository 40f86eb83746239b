"""The vertebrae of a mask somebody else drew: names as given, centres from the mask."""

import numpy as np
from scipy import ndimage

from spinelab.anatomy import VERTEBRA_LABELS, level
from spinelab.errors import LabelError
from spinelab.measurement.sampling import Slices, find_boxes
from spinelab.spine import Point, Spine, Vertebra
from spinelab.volume import Mask

#: Labels a mask may hold beside vertebrae: sacrum and coccyx.
_BESIDE = {26, 27}


def spine_of_mask(mask: Mask, centers_mm: dict[int, Point] | None = None) -> Spine:
    """Returns the vertebrae of a mask, taking its names as given (probability 1).

    Args:
        mask: (i, j, k) VerSe numbers.
        centers_mm: Label -> body centre, LPS mm; a label without one gets the centre of its thickest part,
            which is the body.

    Raises:
        LabelError: The mask holds other labels than vertebrae, sacrum and coccyx.
    """
    present = set(mask.labels())
    strange = sorted(present - set(VERTEBRA_LABELS) - _BESIDE)
    if strange:
        raise LabelError(
            f"the mask holds labels {', '.join(map(str, strange[:8]))}, which are no VerSe vertebra numbers; "
            "convert it first with spinelab convert-labels"
        )
    given, boxes = centers_mm or {}, find_boxes(mask)
    vertebrae = tuple(
        Vertebra(
            level=level(label).name,
            center_mm=given.get(label) or _body_center(mask, label, boxes[label]),
            probability=1.0,
        )
        for label in VERTEBRA_LABELS
        if label in present
    )
    return Spine(vertebrae)


def _body_center(mask: Mask, label: int, box: Slices) -> Point:
    """Centre of the voxels at least half as deep inside the label as the deepest, LPS mm."""
    inside = np.pad(mask.array[box] == label, 1)
    depth = ndimage.distance_transform_edt(inside, sampling=mask.spacing_mm)
    index = np.argwhere(depth >= depth.max() / 2).mean(axis=0) - 1 + [part.start for part in box]
    x, y, z = mask.geometry.index_to_world(index)
    return (float(x), float(y), float(z))
