"""Expected heights: the shipped profile, and predictions along small columns."""

import numpy as np
import pytest

from spinelab.errors import LabelError
from spinelab.measurement.height_profile import HeightProfile, Known, Spread, height_profile

FLAT = HeightProfile(
    {"L1": 0.0, "L2": 1.0, "L3": 2.0},
    np.zeros((3, 3)),
    np.zeros(3),
    {
        "posterior": Spread(0.0, 0.05, 0.5, 0.01),
        "anterior": Spread(0.0, 0.05, 0.5, 0.01),
        "anterior_to_posterior": Spread(0.02, 0.04, 0.8, 0.01),
    },
)


def known(name, percent, noise=0.01):
    return Known(name, float(np.log1p(percent / 100)), noise)


def test_bodies_grow_from_t1_to_l2_and_wedge_most_in_the_middle_of_the_thorax():
    profile = height_profile()
    posterior = [profile.expect(name, "posterior") for name in ("T1", "T4", "T8", "T12", "L2")]
    assert posterior == sorted(posterior)
    wedging = {name: profile.expect(name, "anterior_to_posterior") for name in profile.places}
    assert min(wedging, key=wedging.__getitem__) in ("T5", "T6", "T7", "T8")
    assert wedging["L5"] > wedging["L4"] > wedging["L3"] > wedging["T7"]


def test_rare_levels_stand_between_their_neighbours():
    profile = height_profile()
    t12, t13, l1 = (profile.expect(name, "posterior") for name in ("T12", "T13", "L1"))
    assert t13 == pytest.approx((t12 + l1) / 2)
    assert profile.expect("L6", "middle") == profile.expect("L5", "middle")


def test_levels_beyond_the_profile_are_refused():
    with pytest.raises(LabelError, match="no expected heights for C5; the profile covers T1 to L6"):
        height_profile().expect("C5", "posterior")


def test_a_height_is_predicted_between_its_neighbours_whatever_the_size():
    for size in (0, 30, -30):
        mean, sd = FLAT.predict("L2", "posterior", [known("L1", size), known("L3", size)])
        assert mean == pytest.approx(np.log1p(size / 100), abs=1e-3)
        assert 0.02 < sd < 0.06


def test_noisy_neighbours_count_less_and_leave_more_doubt():
    sharp, sure = FLAT.predict("L2", "posterior", [known("L1", 0), known("L3", 20)])
    blurred, doubtful = FLAT.predict("L2", "posterior", [known("L1", 0), known("L3", 20, noise=0.2)])
    assert blurred < sharp
    assert doubtful > sure


def test_a_ratio_alone_is_what_the_profile_says_and_others_of_the_person_move_it():
    alone, wide = FLAT.predict("L2", "anterior_to_posterior", [])
    assert alone == 0.0
    others = [known("L1", 10), known("L3", 10)]
    mean, narrow = FLAT.predict("L2", "anterior_to_posterior", others)
    assert 0.03 < mean < np.log1p(0.1)
    assert narrow < wide
