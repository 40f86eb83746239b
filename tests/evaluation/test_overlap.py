"""Boxes whose Dice and distances can be counted."""

import numpy as np
import pytest

from spinelab.evaluation.overlap import dice, hausdorff95_mm
from spinelab.volume import Geometry


def box(start, stop, shape=(20, 4, 4)):
    array = np.zeros(shape, dtype=bool)
    array[start:stop] = True
    return array


def test_dice_by_hand():
    assert dice(box(0, 4), box(0, 4)) == 1.0
    assert dice(box(0, 4), box(4, 8)) == 0.0
    assert dice(box(0, 4), box(2, 6)) == 0.5
    assert dice(box(0, 0), box(0, 0)) == 1.0


@pytest.mark.parametrize("spacing", [0.5, 1.0, 3.0])
def test_a_plate_moved_by_five_voxels_is_five_spacings_away(spacing):
    geometry = Geometry.from_spacing((20, 4, 4), (spacing, 1.0, 1.0))
    assert hausdorff95_mm(box(2, 3), box(7, 8), geometry) == pytest.approx(5 * spacing)


def test_equal_masks_are_at_distance_zero():
    assert hausdorff95_mm(box(2, 9), box(2, 9), Geometry.from_spacing((20, 4, 4), (1, 1, 1))) == 0.0


def test_one_stray_voxel_in_a_hundred_is_forgiven_and_a_tenth_is_not():
    geometry = Geometry.from_spacing((40, 10, 10), (1.0, 1.0, 1.0))
    plate = box(2, 3, (40, 10, 10))
    stray = plate.copy()
    stray[30, 0, 0] = True
    assert hausdorff95_mm(plate, stray, geometry) == 0.0
    stray[30, 0, :] = True
    assert hausdorff95_mm(plate, stray, geometry) == 28.0


def test_a_sheared_grid_is_measured_in_the_world():
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    affine[1, 2] = 3.0  # each slice 3 mm further back: neighbours along k are 5 mm apart
    first, second = np.zeros((2, 1, 1, 4), dtype=bool)
    first[0, 0, 0], second[0, 0, 2] = True, True
    assert hausdorff95_mm(first, second, Geometry((1, 1, 4), affine)) == pytest.approx(10.0)
