"""Sagittal slices in a body's own frame: where they lie, what they show, what was not scanned."""

import numpy as np
import pytest

from spinelab.measurement.sampling import SoftOutline
from spinelab.models import FRACTURE_INPUT
from spinelab.tasks.fracture_crop import (
    CROP_SHAPE,
    OTHER,
    OWN,
    SLICES_MM,
    crop_body,
    crop_points,
    tell_facts,
)
from spinelab.volume import Geometry, Image, Mask
from tests.tasks.volumes import grid, turned, world_of

CENTER = np.array([3.0, -4.0, 5.0])


def slopes(geometry):
    """A scan whose HU is 1 a mm along z and 100 in all where y is above -4."""
    world = world_of(geometry)
    return Image((world[..., 2] + 100 * (world[..., 1] > CENTER[1])).astype(np.float32), geometry, "CT")


def blocks(geometry):
    """L1 within 10 mm of the centre's height, T12 above."""
    z = world_of(geometry)[..., 2] - CENTER[2]
    return Mask(np.where(abs(z) <= 10, 20, np.where(z > 15, 19, 0)).astype(np.uint8), geometry)


def test_pixels_lie_on_slices_one_mm_apart():
    points = crop_points()
    assert points.shape == (len(SLICES_MM), *CROP_SHAPE, 3)
    assert points[:, 0, 0, 0].tolist() == list(SLICES_MM)
    assert np.diff(points[0, :, 0, 1]).tolist() == [1.0] * (CROP_SHAPE[0] - 1)
    assert points.reshape(-1, 3).mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-4)


def test_what_the_file_is_bound_to_is_what_is_cut():
    assert FRACTURE_INPUT["slices_mm"] == list(SLICES_MM)
    assert FRACTURE_INPUT["shape"] == list(CROP_SHAPE)


@pytest.mark.parametrize("codes", ["LPS", "RAS"])
def test_a_crop_shows_the_body_head_up_front_first(codes):
    geometry = grid((40, 80, 150), (1.0, 1.0, 1.0), codes=codes, center=CENTER)
    crop = crop_body(slopes(geometry), blocks(geometry), 20, center_mm=CENTER, frame=np.eye(3))
    heights = crop.hu[2, 10]
    assert heights == pytest.approx(np.arange(120) - 59.5 + CENTER[2], abs=1e-3)
    assert crop.hu[2, 40, 60] - crop.hu[2, 10, 60] == pytest.approx(100)
    assert (crop.outline[2, 28] == OWN).sum() == 20
    assert (crop.outline[2, 28, 80:] == OTHER).all()
    assert crop.in_view.all()


def test_a_turned_frame_turns_the_crop():
    geometry = grid((60, 100, 160), (1.0, 1.0, 1.0), center=CENTER)
    image = Image(world_of(geometry)[..., 2].astype(np.float32), geometry, "CT")
    frame = turned(20)  # about x: superior leans, as seen from the side
    crop = crop_body(image, blocks(geometry), 20, center_mm=CENTER, frame=frame)
    middle = crop.hu[2, 28]
    assert np.diff(middle)[40:80] == pytest.approx(np.full(40, frame[2, 2]), abs=1e-3)


def test_outlines_from_before_the_slices_are_not_cut_into_steps():
    thick = grid((40, 80, 30), (1.0, 1.0, 5.0), center=CENTER)
    fine = grid((40, 80, 150), (1.0, 1.0, 1.0), center=CENTER)
    mask = blocks(thick)
    z = world_of(fine)[..., 2] - CENTER[2]
    low = {20: SoftOutline((abs(z) < 7.4).astype(np.float32), fine)}
    where = {"center_mm": CENTER, "frame": np.eye(3)}
    stepped = crop_body(slopes(thick), mask, 20, **where)
    crop = crop_body(slopes(thick), mask, 20, **where, outlines=low)
    assert (stepped.outline[2, 28] == OWN).sum() % 5 == 0
    assert (crop.outline[2, 28] == OWN).sum() == 14
    assert np.array_equal(crop.outline == OTHER, stepped.outline == OTHER), "others by the mask"
    above = {19: SoftOutline((z > 22).astype(np.float32), fine)}
    crop = crop_body(slopes(thick), mask, 20, **where, outlines=above)
    assert np.array_equal(crop.outline == OWN, stepped.outline == OWN)
    assert not (crop.outline[2, 28, :80] == OTHER).any()
    assert (crop.outline[2, 28, 84:] == OTHER).all()


def test_what_was_not_scanned_is_air_without_outline():
    geometry = Geometry.from_spacing((40, 60, 40), (1, 1, 1), CENTER - [20, 30, 20])
    mask = Mask(np.full(geometry.shape, 20, np.uint8), geometry)
    crop = crop_body(slopes(geometry), mask, 20, center_mm=CENTER, frame=np.eye(3))
    assert not crop.in_view[:, :, :30].any()
    assert (crop.hu[:, :, :30] == -1024).all()
    assert not crop.outline[:, :, :30].any()
    assert (crop.outline[2, 28, 50:70] == OWN).all()


def test_facts_are_place_and_thickness():
    assert tell_facts("T1", 5.0) == (0.0, 1.0)
    assert tell_facts("L5", 1.0) == (1.0, 0.2)
    assert 0.6 < tell_facts("T12", 1.0)[0] < 0.75
