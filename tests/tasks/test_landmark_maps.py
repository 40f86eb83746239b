"""Bodies are read where the cells agree."""

import numpy as np
import pytest

from spinelab.tasks.landmark_maps import map_landmarks, read_bodies
from spinelab.tasks.mr_volume import normalise_scan
from tests.tasks.mr_scans import HALF, LABELS, Answers, centers, make_scan


def test_centres_corners_and_levels_come_out_as_they_went_in():
    bodies = read_bodies(map_landmarks(normalise_scan(make_scan()), Answers(centers(), LABELS)))
    found = sorted(bodies, key=lambda body: -body.points_mm[0, 2])
    assert [int(body.candidate.level_probabilities.argmax()) + 1 for body in found] == list(LABELS)
    for body, center in zip(found, centers(), strict=True):
        assert body.points_mm[0] == pytest.approx(center, abs=0.01)
        assert body.points_mm[1:] == pytest.approx(np.array(center) + HALF, abs=0.01)


def test_the_told_spread_and_the_scatter_of_the_cells_add_up():
    maps = map_landmarks(normalise_scan(make_scan()), Answers(centers(), LABELS, spread_mm=2.0))
    assert read_bodies(maps)[0].sd_mm == pytest.approx(np.full(5, 2.0 * 1.2533), abs=0.01)


def test_faint_heat_is_no_body():
    assert not read_bodies(map_landmarks(normalise_scan(make_scan()), Answers(centers(), LABELS, height=0.1)))


def test_two_peaks_in_one_place_are_one_body():
    close = [(16.0, 60.0, 100.0), (16.0, 60.0, 106.0)]
    assert len(read_bodies(map_landmarks(normalise_scan(make_scan()), Answers(close, (22, 22))))) == 1


def test_all_of_a_single_slice_lies_in_it():
    image = make_scan((1, 60, 100), (4.0, 2.0, 2.0))
    maps = map_landmarks(normalise_scan(image), Answers(centers(x=2.0), LABELS, first=3))
    assert maps.single
    assert [body.points_mm[0, 0] for body in read_bodies(maps)] == pytest.approx([0.0] * 6, abs=1e-6)
