from dataclasses import replace

import numpy as np
import pytest

from spinelab.simulate.radial_map import RimBulge

ANGLES = np.radians(np.arange(-180.0, 180.0, 10.0))


def bulge(size=4.0):
    """Rims of radius 20 at z = 12 and z = -12; the upper one bulges over the front half."""
    front = np.where(np.abs(ANGLES) <= np.pi / 2, size, 0.0)
    return RimBulge(
        y_mm=2.0,
        angles=ANGLES,
        radius_mm=np.full((2, len(ANGLES)), 20.0),
        height_mm=np.repeat([[12.0], [-12.0]], len(ANGLES), axis=1),
        size_mm=np.array([front, 0 * front]),
        inward_mm=8.0,
        outward_mm=(3.0, 3.0),
        core=0.6,
        carried_mm=2.0,
    )


def test_the_rim_moves_out_whole_and_fades_inwards_and_outwards():
    # On the ray to the front: core 12, carried 18 to 22, still again from 20 + 2 + 4 + 2 * 4 = 34.
    radii = np.array([5.0, 12, 15, 18, 20, 22, 28, 34, 40])
    points = np.stack([0 * radii, 2 - radii, np.full_like(radii, 12.0)], axis=1)
    moved = bulge().apply(points)
    assert 2 - moved[:, 1] == pytest.approx([5, 12, 17, 22, 24, 26, 30, 34, 40])
    assert np.abs(moved[:, 0]).max() < 1e-9


def test_it_fades_with_height():
    heights = np.array([12.0, 8, 4, 13.5, 15, -12])
    points = np.stack([0 * heights, 0 * heights - 18, heights], axis=1)
    moved = bulge().apply(points)
    assert -18 - moved[:, 1] == pytest.approx([4, 2, 0, 2, 0, 0])
    assert (moved[:, 2] == heights).all()


def test_directions_without_a_bulge_stay():
    behind = np.array([[0.0, 22, 12], [5, 21, 12], [-3, 24, 12]])
    assert np.abs(bulge().apply(behind) - behind).max() < 1e-9


def test_undo_is_the_inverse_and_nothing_moves_outside_the_reach():
    points = np.random.default_rng(0).uniform(-45, 45, (50_000, 3))
    there = bulge().apply(points)
    assert np.abs(there - points).max() > 3.5
    assert np.abs(bulge().undo(there) - points).max() < 1e-6
    low, high = np.array(bulge().reach_mm).T
    outside = ((points < low) | (points > high)).any(axis=1)
    assert np.abs(there - points)[outside].max() < 1e-9


def test_without_size_there_is_no_reach():
    assert replace(bulge(), size_mm=np.zeros((2, len(ANGLES)))).reach_mm == ((0, 0), (0, 0), (0, 0))
