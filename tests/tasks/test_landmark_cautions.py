"""What a reader is told of slices, voxel size and names."""

from dataclasses import replace

import numpy as np
import pytest

from spinelab.spine import Numbering, Vertebra
from spinelab.tasks.landmark_cautions import INFERRED_FLAG, caution
from spinelab.tasks.naming import NamedColumn, TracedPoint
from spinelab.volume import Geometry

FLAT = np.full(26, 1 / 26)


def vertebrae(levels=("L1", "L2", "L3"), x=20.0, step=36.0):
    return [Vertebra(name, (x, 0.0, -step * k), 0.9) for k, name in enumerate(levels)]


def named(found, *, anchored=True, sacral=()):
    vector = np.eye(26)[25]
    points = tuple(
        TracedPoint(v.center_mm, 0.8, vector if k in sacral else FLAT, candidate=k)
        for k, v in enumerate(found)
    )
    numbering = Numbering(("sacrum",) if anchored else (), 0.9, (), 0.0, anchored)
    return NamedColumn(points, tuple(v.level for v in found), (0.9,) * len(found), numbering, ())


def told(found, slices=(21, 2.0), belief=0.7, **change):
    count, step = slices
    geometry = Geometry.from_spacing((count, 100, 100), (step, 1.0, 1.0))
    return caution(geometry, found, named(found, **change), belief=belief)


def test_a_plain_stack_with_the_sacrum_needs_no_caution():
    assert told(vertebrae()) == []


def test_one_slice_may_lie_beside_the_middle():
    (sentence,) = told(vertebrae(x=0.0), slices=(1, 4.0))
    assert sentence.startswith(
        "One slice: whether it runs through the middle of the bodies cannot be checked"
    )


def test_thick_slices_leave_left_and_right_open():
    (sentence,) = told(vertebrae(x=40.0), slices=(20, 4.4))
    assert sentence == (
        "Slices are 4.4 mm apart: where centres lie from left to right is known to about 2 mm."
    )


@pytest.mark.parametrize(("x", "doubted"), [(0.0, True), (7.0, True), (20.0, False), (35.0, True)])
def test_a_column_at_the_edge_of_the_slices_may_have_its_middle_beyond(x, doubted):
    assert any("at the edge of the slices" in line for line in told(vertebrae(x=x))) == doubted


@pytest.mark.parametrize(("step", "doubted"), [(20.0, True), (30.0, False), (42.0, False), (60.0, True)])
def test_bodies_closer_or_farther_than_people_have_them_doubt_the_voxel_size(step, doubted):
    lines = told(vertebrae(step=step))
    assert any(f"The bodies are {step:.0f} mm apart" in line for line in lines) == doubted


def test_a_faint_column_is_doubted():
    (sentence,) = told(vertebrae(), belief=0.5)
    assert "seen less clearly than usual" in sentence


def test_names_without_the_sacrum_are_a_guess():
    assert told(vertebrae(), anchored=False) == ["The sacrum was not seen: the names are a guess."]


def test_an_inferred_body_is_named():
    first, second, third = vertebrae()
    (sentence,) = told([first, replace(second, flags=(INFERRED_FLAG,)), third])
    assert sentence == "L2: not seen by the detector, inferred from the neighbours."


@pytest.mark.parametrize(
    ("levels", "told_so"), [(("T9", "T10", "T11"), True), (("T10", "T11", "T12"), False)]
)
def test_thoracic_names_are_uncertain_above_t10(levels, told_so):
    lines = told(vertebrae(levels, step=26.0))
    assert any("trained on lumbar scans" in line for line in lines) == told_so


def test_a_sacrum_in_mid_column_is_told():
    assert told(vertebrae(), sacral=(1,)) == ["A body in mid-column looks like the sacrum; check the names."]
    assert told(vertebrae(), sacral=(2,)) == []
