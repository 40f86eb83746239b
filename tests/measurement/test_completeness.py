import numpy as np
import pytest

from spinelab.measurement.bodies import find_body
from spinelab.measurement.completeness import find_cuts
from spinelab.measurement.sampling import cut_out, find_boxes
from tests.phantom import make_phantom


def cuts(name, **changes):
    phantom = make_phantom(levels=("L1", "L2"), **changes)
    label, center = phantom.spine[name].label, np.array(phantom.spine[name].center_mm)
    cutout = cut_out(phantom.mask, label, find_boxes(phantom.mask)[label], center)
    return find_cuts(cutout, find_body(cutout, center, np.eye(3)))


def test_a_whole_vertebra_is_not_cut():
    assert cuts("L1") == (False, False)


@pytest.mark.parametrize("codes", ["LPS", "RAI"])
def test_a_body_that_reaches_the_top_is_cut(codes):
    assert cuts("L1", cut_mm=(8.0, -15.0), codes=codes)[0]
    assert not cuts("L2", cut_mm=(8.0, -15.0), codes=codes)[0]


def test_a_cut_spinous_process_leaves_the_body_whole():
    assert cuts("L1", posterior_cut_mm=15.0) == (False, True)


def test_a_label_on_the_border_without_a_body_is_cut():
    phantom = make_phantom(levels=("L1", "L2"), cut_mm=(22.0, -15.0))
    center = np.array(phantom.spine["L1"].center_mm)
    cutout = cut_out(phantom.mask, 20, find_boxes(phantom.mask)[20], center)
    assert find_cuts(cutout, None) == (True, False)
