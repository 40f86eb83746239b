"""Which parts of a vertebra the field of view cuts."""

import numpy as np

from spinelab.measurement.bodies import Body
from spinelab.measurement.sampling import Cutout

#: Less of a body than this on the border of the scan is a lip, not a cut.
CUT_MM2 = 25.0
#: What lies up to this far outside the body's box still belongs to it.
MARGIN_MM = 2.0


def find_cuts(cutout: Cutout, body: Body | None) -> tuple[bool, bool]:
    """Tells whether the scan's border cuts the body, and whether it cuts the posterior elements.

    A label on the outermost voxels counts as cut: nobody can tell whether it ends there. Without a body
    found, any label on the border counts as a cut body.

    Args:
        cutout: The vertebra's label.
        body: Its body, if one was found.
    """
    if len(cutout.border) == 0:
        return False, False
    if body is None:
        return bool(cutout.border_area_mm2.sum() >= CUT_MM2), False
    local = (cutout.border - body.center_mm) @ body.grid.axes.T
    low = np.array([-body.half_width_mm, float(np.nanmin(body.front_mm)), -np.inf]) - MARGIN_MM
    high = np.array([body.half_width_mm, float(np.nanmedian(body.back_mm)), np.inf]) + MARGIN_MM
    in_body = ((local >= low) & (local <= high)).all(axis=1)
    cut = float(cutout.border_area_mm2[in_body].sum()) >= CUT_MM2
    behind = float(cutout.border_area_mm2[~in_body].sum()) > 0
    return cut, behind
