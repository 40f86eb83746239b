import numpy as np
import pytest

from spinelab.measurement.sampling import (
    LocalGrid,
    cut_out,
    find_boxes,
    find_deepest_point,
    lies_outside,
    sample,
)
from spinelab.volume import Geometry, Mask


def block(shape=(20, 20, 20), spacing=(1.0, 1.0, 1.0), where=(slice(5, 15),) * 3):
    array = np.zeros(shape, np.uint8)
    array[where] = 20
    return Mask(array, Geometry.from_spacing(shape, spacing))


def test_boxes_of_the_labels_present():
    assert find_boxes(block()) == {20: (slice(5, 15), slice(5, 15), slice(5, 15))}


def test_boxes_near_centres_leave_out_what_is_far():
    array = np.zeros((300, 4, 4), np.uint8)
    array[0], array[250:252, 1:3, 1:3] = 20, 21
    mask = Mask(array, Geometry.from_spacing(array.shape, (1, 1, 1)))
    assert find_boxes(mask, np.array([[240.0, 2, 2]])) == {21: (slice(250, 252), slice(1, 3), slice(1, 3))}
    assert set(find_boxes(mask, np.zeros((0, 3)))) == {20, 21}


def test_volume_is_the_voxels_counted():
    cutout = cut_out(block(spacing=(1, 1, 2)), 20, (slice(5, 15),) * 3, np.full(3, 10.0))
    assert cutout.volume_mm3 == pytest.approx(10 * 10 * 10 * 2)
    assert len(cutout.border) == 0


def test_no_voxel_near_the_centre_is_none():
    assert cut_out(block(), 20, (slice(5, 15),) * 3, np.full(3, 500.0)) is None


def test_a_box_whose_label_lies_outside_reach_is_none():
    array = np.zeros((300, 3, 3), np.uint8)
    array[[0, 299]] = 20
    mask = Mask(array, Geometry.from_spacing(array.shape, (1, 1, 1)))
    assert cut_out(mask, 20, find_boxes(mask)[20], np.array([150.0, 1, 1])) is None


def test_edge_is_half_a_voxel_beyond_the_last_centre():
    cutout = cut_out(block(), 20, (slice(5, 15),) * 3, np.full(3, 9.5))
    line = np.array([4.0, 4.5, 5.0])
    grid = LocalGrid(np.zeros(3), np.eye(3), line, np.array([9.0, 10.0]), np.array([9.0, 10.0]))
    assert sample(cutout, grid)[:, 0, 0] == pytest.approx([0, 0.5, 1])


def test_label_on_the_border_goes_on_beyond_it_and_is_listed():
    mask = block(where=(slice(5, 15), slice(5, 15), slice(10, 20)))
    cutout = cut_out(mask, 20, find_boxes(mask)[20], np.array([9.5, 9.5, 15]))
    assert len(cutout.border) == 100
    assert cutout.border_area_mm2.sum() == pytest.approx(100)
    assert set(cutout.border[:, 2]) == {19.0}
    grid = LocalGrid(
        np.zeros(3), np.eye(3), np.array([9.0, 10.0]), np.array([9.0, 10.0]), np.array([19.0, 21.0])
    )
    assert sample(cutout, grid)[0, 0] == pytest.approx([1, 1])


def test_points_beyond_the_outermost_centres_lie_outside():
    scan = Geometry.from_spacing((4, 4, 4), (1, 1, 2))
    points = np.array([[1.0, 1, 1], [1, 1, 6.1], [-0.1, 1, 1]])
    assert lies_outside(scan, points).tolist() == [False, True, True]


def test_thickness_is_that_of_the_axis_nearest_to_the_direction():
    cutout = cut_out(block(spacing=(1, 1, 4)), 20, (slice(5, 15),) * 3, np.full(3, 20.0))
    assert cutout.thickness_along(np.array([0.1, 0.1, 0.99])) == pytest.approx(4)
    assert cutout.thickness_along(np.array([0.9, 0.1, 0.4])) == pytest.approx(1)


def test_deepest_point_of_a_block_is_its_middle():
    cutout = cut_out(block(), 20, (slice(5, 15),) * 3, np.full(3, 9.5))
    assert find_deepest_point(cutout) == pytest.approx([9.5] * 3, abs=0.6)
