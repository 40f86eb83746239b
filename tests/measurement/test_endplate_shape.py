"""Focal depressions and forward reaching rims, on blocks cut by hand."""

import numpy as np
import pytest

from spinelab.measurement import find_column
from spinelab.measurement.endplate_shape import measure_endplate_shape
from spinelab.spine import Spine, Vertebra
from spinelab.volume import Geometry, Mask

HIGH = 36


def shape_of(change):
    """Endplate shape of a block of 42 x 32 x 24 mm after `change` of its voxels (x, y, z) in LPS."""
    array = np.zeros((62, 52, 60), np.uint8)
    array[10:52, 10:42, 12:HIGH] = 20
    change(array)
    mask = Mask(array, Geometry.from_spacing(array.shape, (1, 1, 1)))
    spine = Spine((Vertebra("L1", (30.5, 25.5, 23.5), 1.0),))
    return measure_endplate_shape(find_column(mask, spine).bodies["L1"])


def test_a_plain_block_has_neither_depression_nor_lip():
    shape = shape_of(lambda array: None)
    assert shape.superior_depression_mm == pytest.approx(0, abs=0.1)
    assert shape.inferior_depression_mm == pytest.approx(0, abs=0.1)
    assert shape.lip_mm == pytest.approx(0, abs=1.0)


def test_a_pit_shows_with_its_depth_on_its_own_side():
    def dig(array):
        array[27:34, 23:30, HIGH - 5 : HIGH] = 0

    shape = shape_of(dig)
    assert shape.superior_depression_mm == pytest.approx(5, abs=0.5)
    assert shape.inferior_depression_mm == pytest.approx(0, abs=0.2)


def test_a_broad_hollow_is_no_focal_depression():
    x, y = np.meshgrid(np.arange(10, 52), np.arange(10, 42), indexing="ij")
    hollow = 5 * np.clip(1 - ((x - 30.5) / 21) ** 2 - ((y - 25.5) / 16) ** 2, 0, None)

    def dig(array):
        for i, j, deep in zip(x.ravel(), y.ravel(), np.round(hollow).ravel().astype(int), strict=True):
            array[i, j, HIGH - deep : HIGH] = 0

    assert shape_of(dig).superior_depression_mm < 1.0


def test_a_rim_that_reaches_forward_is_measured():
    def grow(array):
        array[20:42, 3:10, HIGH - 4 : HIGH] = 20

    assert shape_of(grow).lip_mm == pytest.approx(7, abs=1.0)


def test_an_endplate_out_of_view_has_no_depth():
    array = np.zeros((62, 52, 24), np.uint8)
    array[10:52, 10:42, 0:20] = 20
    mask = Mask(array, Geometry.from_spacing(array.shape, (1, 1, 1)))
    spine = Spine((Vertebra("L1", (30.5, 25.5, 10.0), 1.0),))
    shape = measure_endplate_shape(find_column(mask, spine).bodies["L1"])
    assert shape.inferior_depression_mm is None
    assert shape.superior_depression_mm == pytest.approx(0, abs=0.1)
