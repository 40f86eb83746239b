"""The vertebrae of a mask somebody else drew."""

import numpy as np
import pytest

from spinelab.errors import LabelError
from spinelab.measurement import find_column
from spinelab.measurement.named_mask import spine_of_mask
from spinelab.volume import Geometry, Mask
from tests.phantom import make_phantom

LEVELS = ("T12", "L1", "L2")


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(levels=LEVELS)


def test_centres_found_from_the_mask_lie_in_the_bodies(phantom):
    spine = spine_of_mask(phantom.mask)
    assert spine.levels == LEVELS
    for vertebra in spine.vertebrae:
        truth = phantom.truth[vertebra.level].center_mm
        assert np.linalg.norm(np.subtract(vertebra.center_mm, truth)) < 6.0
        assert vertebra.probability == 1.0


def test_given_centres_are_kept(phantom):
    assert spine_of_mask(phantom.mask, {20: (1.0, 2.0, 3.0)})["L1"].center_mm == (1.0, 2.0, 3.0)


def test_sacrum_and_coccyx_are_no_vertebrae():
    array = np.zeros((8, 8, 8), dtype=np.uint8)
    array[1:7, 1:7, 1:3], array[1:7, 1:7, 4:7] = 26, 24
    mask = Mask(array, Geometry.from_spacing((8, 8, 8), (3.0, 3.0, 3.0)))
    assert spine_of_mask(mask).levels == ("L5",)


def test_strange_labels_are_refused():
    mask = Mask(np.full((2, 2, 2), 50, dtype=np.uint8), Geometry.from_spacing((2, 2, 2), (1, 1, 1)))
    with pytest.raises(LabelError, match="labels 50, which are no VerSe vertebra numbers; convert it first"):
        spine_of_mask(mask)


def test_the_column_of_a_mask_has_its_bodies_and_endplates(phantom):
    column = find_column(phantom.mask, spine_of_mask(phantom.mask))
    assert tuple(column.bodies) == LEVELS
    assert [vertebra.complete for vertebra in column.vertebrae] == [True, True, True]
    for vertebra, plates in zip(column.vertebrae, column.endplates(), strict=True):
        truth = phantom.truth[vertebra.level].center_mm
        assert np.linalg.norm(np.subtract(vertebra.center_mm, truth)) < 1.0
        assert plates.superior[2] > 0.98
        assert plates.inferior[2] > 0.98
    assert column.sacrum is None
