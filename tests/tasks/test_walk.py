"""Walking the column: starts off the middle of a body must gather there."""

import numpy as np
import pytest

from spinelab.tasks.level_evidence import Candidate
from spinelab.tasks.naming import name_column, trace_column
from spinelab.tasks.walk import walk_column
from tests.phantom import make_phantom
from tests.tasks.volumes import network, outline_nearest_body

LEVELS = ("T12", "L1", "L2", "L3")


def name_shifted(phantom, shift_mm):
    """Names a chain whose every point lies `shift_mm` above its body."""
    candidates = []
    for place, name in enumerate(LEVELS):
        vector = np.full(26, 0.01)
        vector[18 + place] = 1.0
        center = np.array(phantom.truth[name].center_mm) + np.array([0.0, 0.0, shift_mm])
        candidates.append(Candidate(tuple(center), 0.8, vector))
    return name_column(trace_column(candidates))


@pytest.mark.parametrize("shift_mm", [-9.0, 13.0])
def test_bodies_are_found_from_a_chain_that_is_out_of_step(shift_mm):
    phantom = make_phantom(levels=LEVELS, spacing_mm=(2.0, 2.0, 3.0))
    told = []
    bodies = walk_column(
        phantom.image, network("outline", outline_nearest_body), name_shifted(phantom, shift_mm), told.append
    )
    found = np.array([body.center_mm for body in bodies])
    for name in LEVELS:
        gaps = np.linalg.norm(found - phantom.truth[name].center_mm, axis=1)
        assert (gaps < 4).sum() == 1, name
    assert len(bodies) == len(LEVELS)
    assert all(0.5 <= body.support <= 1 for body in bodies)
    assert told == sorted(told)


def test_nothing_outlined_means_no_bodies():
    phantom = make_phantom(levels=LEVELS, spacing_mm=(3.0, 3.0, 3.0))
    blank = network("outline", lambda hu, spots: [np.zeros_like(hu)])
    assert walk_column(phantom.image, blank, name_shifted(phantom, 0.0), lambda done: None) == []
