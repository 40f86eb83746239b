"""Volumes read at fractional places: images linearly, masks by the label that weighs most."""

import numpy as np
import pytest

from spinelab.errors import GeometryError
from spinelab.simulate.resampling import LabelReader, lay_between, read_linear
from spinelab.volume import Geometry

RAMP = np.arange(5, dtype=np.int16)[:, None, None] * np.ones((1, 3, 3), np.int16)


def at(*places: float) -> np.ndarray:
    """Indices along i, in the middle of j and k."""
    index = np.ones((3, len(places)), np.float32)
    index[0] = places
    return index


def test_images_are_linear_rounded_and_end_half_a_voxel_beyond_the_last():
    read = read_linear(10 * RAMP, at(0.0, 1.26, 3.5, -0.4, 4.4, -0.6, 4.6), outside=-1024)
    assert read.tolist() == [0, 13, 35, 0, 40, -1024, -1024]
    assert read.dtype == np.int16
    floats = read_linear(RAMP.astype(np.float32), at(1.25), outside=0.0)
    assert floats.dtype == np.float32
    assert floats.tolist() == [1.25]


def test_of_a_mask_each_place_gets_the_label_that_weighs_most():
    labels = np.zeros((6, 3, 3), np.uint8)
    labels[2], labels[3] = 20, 21
    read = LabelReader(labels).read(at(1.4, 1.6, 2.4, 2.6, 3.4, 3.6, 0.0, 5.4))
    assert read.tolist() == [0, 20, 20, 21, 21, 0, 0, 0]
    labels[3, 1, 1] = 0  # at a corner the three neighbours of 21 outweigh the 0 between them
    index = np.array([[3.0], [1.4], [1.4]], np.float32)
    assert LabelReader(labels).read(index).tolist() == [21]


def test_how_a_volume_lies_in_memory_changes_nothing():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (7, 6, 5)).astype(np.uint8)
    index = rng.uniform(-1, 7, (3, 500)).astype(np.float32)
    turned = np.asfortranarray(labels)
    assert (LabelReader(turned).read(index) == LabelReader(labels).read(index)).all()
    read = [
        read_linear(array, index, outside=-1) for array in (labels.astype(np.int16), turned.astype(np.int16))
    ]
    assert (read[0] == read[1]).all()


def test_a_label_at_the_border_of_the_scan_ends_half_a_voxel_beyond_it():
    labels = np.zeros((4, 3, 3), np.uint8)
    labels[3] = 24
    assert LabelReader(labels).read(at(2.4, 2.6, 3.4, 3.6, 9.0)).tolist() == [0, 24, 24, 0, 0]
    assert LabelReader(np.zeros((4, 3, 3), np.uint8)).read(at(0.0, 2.0)).tolist() == [0, 0]


def oblique(shape: tuple[int, int, int], step_mm: float, origin_mm: np.ndarray) -> Geometry:
    turn = np.radians(20)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    affine[:3, :3] *= step_mm
    affine[:3, 3] = origin_mm
    return Geometry(shape, affine)


def test_voxels_of_an_oblique_grid_come_from_where_the_field_says():
    nodes = oblique((8, 7, 6), 2.5, np.array([-3.0, 1.0, 0.0]))
    target = oblique((10, 9, 8), 1.2, np.asarray(nodes.index_to_world([0.8, 0.5, 0.4])))
    source = Geometry.from_spacing((40, 40, 40), (1.0, 1.0, 2.0), (-20, -20, -20))
    slopes = np.array([[0.05, 0.02, 0.0], [0.0, -0.04, 0.01], [0.03, 0.0, 0.06]])
    world = np.asarray(nodes.index_to_world(np.indices(nodes.shape).reshape(3, -1).T))
    shift = (world @ slopes.T + [1.0, -2.0, 3.0]).reshape(*nodes.shape, 3).astype(np.float32)
    origins = lay_between(shift, nodes, source, target)
    whole = (slice(0, 10), slice(0, 9), slice(0, 8))
    traced = origins.trace(whole)
    points = np.asarray(target.index_to_world(np.indices(target.shape).reshape(3, -1).T))
    expected = source.world_to_index(points + points @ slopes.T + [1.0, -2.0, 3.0])
    assert np.abs(traced.reshape(3, -1).T - expected).max() < 1e-4
    parts = [origins.trace((slice(first, first + 5), *whole[1:])) for first in (0, 5)]
    assert np.concatenate(parts, axis=1) == pytest.approx(traced, abs=1e-5)
    assert [slab[0] for slab in origins.slabs(whole)] == [slice(0, 10)]


def test_slabs_of_a_large_volume_cover_it_once():
    nodes = Geometry.from_spacing((2, 2, 2), (5000.0, 5000.0, 5000.0))
    target = Geometry.from_spacing((7, 500, 400), (1.0, 1.0, 1.0))
    origins = lay_between(np.zeros((2, 2, 2, 3), np.float32), nodes, target, target)
    slabs = list(origins.slabs((slice(1, 7), slice(0, 500), slice(0, 400))))
    assert [(slab[0].start, slab[0].stop) for slab in slabs] == [(1, 3), (3, 5), (5, 7)]


def test_grids_with_other_axes_than_the_field_are_refused():
    nodes = Geometry.from_spacing((8, 8, 8), (2.5, 2.5, 2.5))
    target = oblique((10, 9, 8), 1.2, np.zeros(3))
    with pytest.raises(GeometryError, match="axes LPS moves volumes along these alone, found LPS or an o"):
        lay_between(np.zeros((8, 8, 8, 3), np.float32), nodes, target, target)
