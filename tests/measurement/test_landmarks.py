"""What corners tell, on columns whose numbers can be counted by hand."""

from dataclasses import replace

import numpy as np
import pytest

from spinelab.measurement.landmarks import measure_landmarks
from spinelab.spine import Corners, Spine, Vertebra

LEVELS = ("L1", "L2", "L3", "L4", "L5")


def body(name, center, tilt_deg=0.0, *, height=24.0, depth=32.0, sd=1.0, **changes) -> Vertebra:
    """A box in the sagittal plane; a positive tilt lifts its back."""
    turn = np.radians(tilt_deg)
    back, up = np.array([0, np.cos(turn), np.sin(turn)]), np.array([0, -np.sin(turn), np.cos(turn)])
    y, z = depth / 2 * back, height / 2 * up
    points = [tuple(map(float, np.array(center) + p)) for p in (z - y, z + y, -z - y, -z + y)]
    corners = Corners(points[0], points[1], points[2], points[3], (sd, sd, sd, sd))
    return replace(Vertebra(name, center, 0.9, center_sd_mm=sd, corners=corners), **changes)


def column(tilts=(0.0,) * 5, **changes) -> Spine:
    """Centres 36 mm apart, so 12 mm between upright boxes."""
    places = [(3.0, 0.0, -36.0 * k) for k in range(5)]
    return Spine(
        tuple(body(*row, **changes) for row in zip(LEVELS, places, tilts, strict=True)),
    )


def test_heights_and_discs_of_an_upright_column():
    spine = measure_landmarks(column())
    assert [(v.heights_mm.anterior, v.heights_mm.posterior) for v in spine.vertebrae] == [(24.0, 24.0)] * 5
    assert [(d.above, d.below) for d in spine.discs] == [
        ("L1", "L2"),
        ("L2", "L3"),
        ("L3", "L4"),
        ("L4", "L5"),
    ]
    first = spine.discs[0]
    assert first.center_mm == (3.0, 0.0, -18.0)
    assert (first.anterior_mm, first.posterior_mm, first.angle_deg) == (12.0, 12.0, 0.0)
    assert first.sd_mm == 0.5  # four points of 1 mm
    assert first.height_sd_mm == 1.4  # the difference of two


def test_a_disc_that_opens_to_the_front_has_a_positive_angle():
    spine = measure_landmarks(column((0.0, 0.0, 0.0, 0.0, 10.0)))
    last = spine.discs[-1]
    assert last.angle_deg == 10.0
    assert last.anterior_mm > last.posterior_mm + 4


def test_lordosis_ends_at_the_last_body_and_no_coronal_curve_is_looked_for():
    curvature = measure_landmarks(column((-20.0, -10.0, 0.0, 10.0, 20.0))).curvature
    assert (curvature.lordosis.upper, curvature.lordosis.lower) == ("L1", "L5")
    assert curvature.lordosis.angle_deg == pytest.approx(40)
    assert curvature.lordosis.convex == "anterior"
    assert curvature.kyphosis is None
    assert curvature.coronal == ()


def test_of_a_body_that_is_cut_and_the_disc_beside_it_nothing_is_measured():
    spine = column()
    first, *others = spine.vertebrae
    spine = measure_landmarks(Spine((replace(first, complete=False), *others)))
    assert spine["L1"].heights_mm is None
    assert spine.discs[0].center_mm == (3.0, 0.0, -18.0)
    assert spine.discs[0].anterior_mm is None
    assert spine.discs[1].anterior_mm == 12.0
    assert spine.curvature.lordosis.upper == "L2"


def test_corners_that_cross_give_no_height():
    spine = measure_landmarks(column(height=50.0))
    assert all(disc.anterior_mm is None for disc in spine.discs)


def test_beside_a_body_without_corners_a_disc_lies_between_the_centres():
    first, second, *others = column().vertebrae
    spine = measure_landmarks(Spine((first, replace(second, corners=None, center_sd_mm=None), *others)))
    disc = spine.discs[0]
    assert disc.center_mm == (3.0, 0.0, -18.0)
    assert disc.sd_mm == round(float(np.hypot(np.hypot(1, 4) / 2, 2)), 2)
    assert spine["L2"].heights_mm is None


def test_the_disc_above_the_sacrum_lies_below_the_last_body_towards_it():
    spine = measure_landmarks(column(), sacrum=(3.0, 0.0, -180.0))
    last = spine.discs[-1]
    assert (last.above, last.below) == ("L5", "S")
    assert last.center_mm == (3.0, 0.0, -144.0 - 12.0 - 5.3)
    assert last.sd_mm == round(float(np.hypot(np.sqrt(2) / 2, 4)), 2)
    assert (last.anterior_mm, last.angle_deg) == (None, None)


@pytest.mark.parametrize("sacrum", [None, (3.0, 0.0, -158.0)])
def test_without_a_sacrum_or_with_one_that_lies_within_the_body_there_is_no_last_disc(sacrum):
    assert measure_landmarks(column(), sacrum=sacrum).discs[-1].below == "L5"


def test_an_empty_spine_stays_empty():
    assert measure_landmarks(Spine(())).discs == ()
