import numpy as np
import pytest

from spinelab.measurement.bodies import find_body
from spinelab.measurement.frames import column_axes
from spinelab.measurement.sacrum import find_sacral_endplate
from spinelab.measurement.sampling import cut_out, find_boxes
from tests.phantom import make_phantom


def find(phantom, label=26):
    boxes, centers = find_boxes(phantom.mask), phantom.spine.centers_mm
    lumbar = find_body(
        cut_out(phantom.mask, 24, boxes[24], centers[-1]), centers[-1], column_axes(centers)[-1]
    )
    return find_sacral_endplate(cut_out(phantom.mask, label, boxes[label], centers[-1]), lumbar)


@pytest.mark.parametrize("tilt", [-15.0, -35.0])
def test_endplate_of_a_tilted_sacrum(tilt):
    phantom = make_phantom(levels=("L4", "L5", "S"), spacing_mm=(1, 1, 1), sagittal_deg={"L4": 5, "S": tilt})
    found, truth = find(phantom), phantom.truth["S"]
    assert found.plane.normal @ truth.axes[2] > np.cos(np.radians(1.5))
    assert np.linalg.norm(found.corner_mm - truth.corner(superior=True)) < 2.0
    assert found.axes[2] == pytest.approx(found.plane.normal)


def test_no_sacrum_below_gives_none():
    phantom = make_phantom(levels=("L3", "L4", "L5"))
    assert find(phantom, label=22) is None
