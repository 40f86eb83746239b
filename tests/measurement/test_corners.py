"""Corners of blocks whose edges are known."""

import numpy as np
import pytest

from spinelab.measurement import find_column
from spinelab.measurement.corners import CORNERS, find_corners
from spinelab.spine import Spine, Vertebra
from spinelab.volume import Geometry, Mask


def block(stop=(55, 50, 42)):
    array = np.zeros((70, 70, 60), np.uint8)
    array[15 : stop[0], 20 : stop[1], 18 : stop[2]] = 20
    return Mask(array, Geometry.from_spacing(array.shape, (1, 1, 1)))


def body_of(mask):
    return find_column(mask, Spine((Vertebra("L1", (34.5, 34.5, 29.5), 1.0),))).bodies["L1"]


def test_the_corners_of_a_block_are_its_edges():
    mask = block()
    corners = find_corners(mask, 20, body_of(mask))
    wanted = [(34.5, y, z) for z in (41.5, 17.5) for y in (19.5, 49.5)]
    assert CORNERS == (
        "superior anterior", "superior posterior", "inferior anterior", "inferior posterior"
    )  # fmt: skip
    assert corners == pytest.approx(np.array(wanted), abs=0.6)


def test_a_wedge_is_lower_in_front():
    mask = block()
    array = mask.array.copy()
    for y in range(20, 50):
        array[:, y, 42 - round((50 - y) * 0.25) :] = 0
    wedge = Mask(array, mask.geometry)
    corners = find_corners(wedge, 20, body_of(wedge))
    assert corners[1, 2] - corners[0, 2] == pytest.approx(7.5, abs=1.5)
    assert corners[3, 2] - corners[2, 2] == pytest.approx(0.0, abs=0.5)


def test_a_body_without_an_endplate_in_view_has_no_corners():
    array = block().array[:, :, 24:]
    mask = Mask(array, Geometry.from_spacing(array.shape, (1, 1, 1), (0, 0, 24)))
    column = find_column(mask, Spine((Vertebra("L1", (34.5, 34.5, 32.0), 1.0),)))
    body = column.bodies.get("L1")
    assert body is None or find_corners(mask, 20, body) is None
