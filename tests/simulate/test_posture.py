"""From leans to rigid motions."""

import numpy as np
import pytest

from spinelab.simulate.column import chain_centers
from spinelab.simulate.posture import largest_bend_deg, pose_column

CENTERS = np.array([[0, 0, 90.0], [0, 0, 60], [0, 0, 30], [0, 0, 0]])
STILL = np.zeros((4, 3))


def test_no_lean_is_no_motion():
    chain = chain_centers(("L1", "L2", "L3", "L4"), CENTERS)
    for motion in pose_column(chain, STILL, STILL):
        assert motion.apply(CENTERS) == pytest.approx(CENTERS)


def test_leans_are_reached_and_neighbours_hinge_between_them():
    chain = chain_centers(("L1", "L2", "L3", "L4"), CENTERS)
    wanted = np.array([[-9, 3, 2], [-3, 1, 4], [3, -1, 4], [9, -3, 2.0]])
    motions = pose_column(chain, wanted, STILL)
    moved = chain.move_chain(motions)
    assert moved["centers_mm"].mean(axis=0) == pytest.approx(CENTERS.mean(axis=0)), "no sacrum: mean stays"
    for i, motion in enumerate(motions):
        assert motion.turn(chain.axes[i][2])[0] / motion.turn(chain.axes[i][2])[2] == pytest.approx(
            np.tan(np.radians(wanted[i, 0]))
        )
    gaps = np.linalg.norm(moved["upper_mm"][1:] - moved["lower_mm"][:-1], axis=1)
    assert gaps == pytest.approx([6, 6, 6], abs=0.4), "discs of 6 mm bend by 6 degrees and keep their height"
    assert largest_bend_deg(motions) == pytest.approx(6.6, abs=0.7)


def test_the_sacrum_stays():
    chain = chain_centers(("L3", "L4", "L5", "S"), CENTERS)
    leans = np.array([[20.0, 0, 0], [10, 0, 0], [5, 0, 0], [0, 0, 0]])
    motions = pose_column(chain, leans, STILL)
    assert motions[3].apply(CENTERS[3]) == pytest.approx(CENTERS[3])
    assert motions[0].apply(CENTERS[0])[0] > 10, "the column leans to the left"


def test_a_strong_bend_opens_the_disc_rather_than_closing_its_rim():
    chain = chain_centers(("L1", "L2", "L3", "L4"), CENTERS)
    leans = np.array([[-30.0, 0, 0], [-10, 0, 0], [10, 0, 0], [30, 0, 0]])
    moved = chain.move_chain(pose_column(chain, leans, STILL))
    gaps = np.linalg.norm(moved["upper_mm"][1:] - moved["lower_mm"][:-1], axis=1)
    closing = np.radians(20) * chain.half_mm[0, 0]
    assert gaps.min() >= closing, "the concave rims keep apart"


def test_a_shift_carries_all_above():
    chain = chain_centers(("L3", "L4", "L5", "S"), CENTERS)
    shift = np.zeros((4, 3))
    shift[1] = [0, -5, 0]
    moved = chain.move_chain(pose_column(chain, STILL, shift))["centers_mm"]
    assert (moved - CENTERS)[:, 1] == pytest.approx([-5, -5, 0, 0])
