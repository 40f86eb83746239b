import numpy as np
import pytest

from spinelab.measurement.slip import DiscSide, measure_slip
from spinelab.measurement.surfaces import Plane

UP, BACK = np.array([0.0, 0, 1]), np.array([0.0, 1, 0])


def side(corner, normal=UP):
    return DiscSide(Plane(normal, np.zeros(3)), np.array(corner, float), BACK)


def test_displacement_between_the_corners():
    slip = measure_slip("L4", side([2.0, -7.0, 8.0]), side([0.0, 0.0, 0.0]))
    assert (slip.above, slip.anterior_mm, slip.left_mm) == ("L4", pytest.approx(7), pytest.approx(2))


def test_lordosis_alone_is_no_slip():
    """Endplates that open by 20 degrees to the front, corners one above the other along the middle."""
    half = np.radians(10)
    tilted = [np.array([0, sign * np.sin(half), np.cos(half)]) for sign in (1, -1)]
    slip = measure_slip("L5", side([0, 0, 6.0], tilted[0]), side([0, 0, 0], tilted[1]))
    assert slip.anterior_mm == pytest.approx(0, abs=1e-9)


def test_a_tilted_disc_is_measured_along_itself():
    tilt = np.radians(30)
    normal = np.array([0, -np.sin(tilt), np.cos(tilt)])
    forward = -np.array([0, np.cos(tilt), np.sin(tilt)])
    slip = measure_slip("L5", side(5 * forward + 8 * normal, normal), side([0, 0, 0], normal))
    assert slip.anterior_mm == pytest.approx(5)


@pytest.mark.parametrize("missing", [DiscSide(None, np.zeros(3)), side([np.nan] * 3)])
def test_unknown_corners_give_none(missing):
    assert measure_slip("L4", missing, side([0, 0, 0])) is None
    assert measure_slip("L4", side([0, 0, 0]), missing) is None
