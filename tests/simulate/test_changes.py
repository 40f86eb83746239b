from dataclasses import replace

import numpy as np
import pytest

from spinelab.errors import InputError
from spinelab.measurement import find_column
from spinelab.simulate.changes import Change, combine, find_site
from spinelab.simulate.collapse import Collapse
from spinelab.simulate.rigid import RigidMotion
from spinelab.spine import Spine, Vertebra
from tests.phantom import TRABECULAR_HU, make_phantom
from tests.simulate.places import phantom, site


def test_a_site_knows_its_neighbours():
    column = find_column(phantom().mask, phantom().spine)
    place = find_site(column, "L2")
    assert place.above is column.bodies["L1"]
    assert place.below is column.bodies["L3"]
    assert place.farther == (column.bodies["T12"], None)
    assert place.cancellous_hu is None
    assert find_site(column, "L2", image=phantom().image).cancellous_hu == pytest.approx(TRABECULAR_HU, abs=3)
    assert find_site(column, "L2", image=replace(phantom().image, modality="MR")).cancellous_hu is None
    assert find_site(column, "T12").above is None
    assert find_site(column, "L3").below is None
    assert find_site(column, "L3").plane_below is None


def test_the_sacrum_lies_below_the_last_lumbar_body():
    small = make_phantom(levels=("L4", "L5", "S"), spacing_mm=(2, 2, 2))
    column = find_column(small.mask, small.spine)
    assert find_site(column, "L5").plane_below is column.sacrum.plane


def test_a_level_without_a_body_is_refused():
    column = find_column(phantom().mask, Spine((*phantom().spine.vertebrae, Vertebra("L4", (0, 0, 0), 0.9))))
    with pytest.raises(InputError, match="found no body of L4 in the mask; bodies found: T12, L1, L2, L3"):
        find_site(column, "L4")


def test_changes_are_made_one_after_the_other():
    place = replace(site(), cancellous_hu=150.0)
    first, second = Collapse("L1", "biconcave", 20).fit(place), Collapse("L1", "wedge", 30).fit(place)
    both = combine([first, second])
    points = np.random.default_rng(0).uniform(-30, 30, (20_000, 3))
    there = both.apply(points)
    assert np.allclose(there, second.apply(first.apply(points)))
    assert np.abs(both.undo(there) - points).max() < 1e-3
    hu = np.full(len(points), 150.0)
    expected = second.shade(first.shade(hu, points, modality="CT"), first.apply(points), modality="CT")
    assert np.allclose(both.shade(hu, points, modality="CT"), expected)
    assert [entry["shape"] for entry in both.to_dict()["findings"]] == ["biconcave", "wedge"]
    (x0, x1), _, (z0, z1) = both.reach_mm
    assert x0 <= min(first.reach_mm[0][0], second.reach_mm[0][0]) < x1
    assert z1 == max(first.reach_mm[2][1], second.reach_mm[2][1]) > z0


def test_motions_are_made_one_after_the_other():
    shift = Change("L1", follow=RigidMotion(np.eye(3), np.array([1.0, 0, 0])))
    turn = Change("L1", follow=RigidMotion(np.diag([-1.0, -1.0, 1.0]), np.zeros(3)))
    assert combine([shift, turn]).follow.apply(np.zeros(3)).tolist() == [-1, 0, 0]
    assert combine([shift, turn]).reach_mm is None
    assert (combine([shift]).apply(np.ones((2, 3))) == 1).all()


@pytest.mark.parametrize("levels", [(), ("L1", "L2")])
def test_only_changes_of_one_vertebra_are_combined(levels):
    with pytest.raises(InputError, match=f"found changes of {', '.join(levels) or 'no vertebra'}; combine"):
        combine([Change(name) for name in levels])
