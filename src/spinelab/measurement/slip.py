"""Slip between neighbours, at the disc between them.

Spondylolisthesis is read as the distance between the posterior-inferior corner of the upper body and the
posterior-superior corner of the lower one along the endplates (Taillard 1954; Meyerding 1932 grades the same
distance in quarters of the endplate). The two endplates of a disc are seldom parallel: the distance is taken
along the plane half-way between them, so that lordosis and kyphosis alone do not read as slip.
"""

from dataclasses import dataclass

import numpy as np

from spinelab.measurement.frames import build_axes
from spinelab.measurement.sampling import Array
from spinelab.measurement.surfaces import Plane
from spinelab.spine import Slip


@dataclass(frozen=True, eq=False)
class DiscSide:
    """One of the two endplates at a disc.

    Attributes:
        plane: The endplate; None where not in view.
        corner_mm: (3,) its posterior corner in the midline, LPS mm; NaN where not found.
        posterior: (3,) posterior direction of its body, LPS; the lower side's is the one used.
    """

    plane: Plane | None
    corner_mm: Array
    posterior: Array | None = None


def measure_slip(above: str, upper: DiscSide, lower: DiscSide) -> Slip | None:
    """Measures the slip of the body above on the one below.

    Args:
        above: Level of the body above.
        upper: Its inferior endplate.
        lower: The superior endplate of the body below.

    Returns:
        The displacement in mm, anterior and left positive; None where an endplate or a corner is not known.
    """
    if upper.plane is None or lower.plane is None:
        return None
    axes = build_axes(upper.plane.normal + lower.plane.normal, lower.posterior)
    shift = axes @ (upper.corner_mm - lower.corner_mm)
    if not np.isfinite(shift).all():
        return None
    return Slip(above, float(-shift[1]), float(shift[0]))
