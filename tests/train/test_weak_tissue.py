"""Tissue of CTs of which only body centres are known: a block world."""

import numpy as np
import pytest

from spinelab.train.weak_tissue import BACKGROUND, RIB, SACRAL, UNKNOWN, VERTEBRA, mark_tissue

MM = 3.0
LABELS = np.array([18, 19, 20, 21, 22, 23, 24, 26])  # T11 to L5, S1
CENTERS = np.stack([np.full(8, 40.0), np.full(8, 30.0), 90 - 10.0 * np.arange(8)], axis=1)


@pytest.fixture(scope="module")
def world():
    """30 HU everywhere; a bar of bone to either side at every level, thick contrast on the left at T12."""
    hu = np.full((80, 60, 100), 30, np.int16)
    for x, y, z in CENTERS.astype(int):
        for side in (-1, 1):
            hu[x + side * 11 - 2 : x + side * 11 + 3, y + 1 : y + 4, z - 1 : z + 2] = 400
    hu[52:62, 24:34, 76:88] = 400
    return hu, mark_tissue(hu, MM, CENTERS, LABELS)


def beside(tissue, label, side):
    x, y, z = CENTERS[LABELS.tolist().index(label)].astype(int)
    return int(tissue[x + side * 11, y + 2, z])


def test_bone_beside_thoracic_bodies_is_rib_and_beside_lumbar_ones_transverse_process(world):
    _, tissue = world
    assert [beside(tissue, label, -1) for label in (18, 19)] == [RIB, RIB]
    assert [beside(tissue, label, -1) for label in (21, 22, 23)] == [VERTEBRA] * 3
    assert [beside(tissue, label, -1) for label in (20, 24)] == [UNKNOWN, UNKNOWN], "either may have it"


def test_what_is_thicker_than_a_rib_is_none(world):
    hu, tissue = world
    assert hu[57, 29, 82] == 400
    assert tissue[57, 29, 82] == UNKNOWN


def test_bodies_sacrum_and_soft_tissue(world):
    _, tissue = world
    assert tissue[40, 30, 90] == VERTEBRA
    assert tissue[40, 30, 20] == SACRAL
    assert beside(tissue, 26, 1) == SACRAL
    assert tissue[50, 36, 55] == BACKGROUND
    assert tissue[2, 2, 50] == UNKNOWN, "far from the column nothing is known"


def test_without_the_sacrum_in_view_none_is_marked(world):
    hu, _ = world
    assert not (mark_tissue(hu, MM, CENTERS[:-1], LABELS[:-1]) == SACRAL).any()


def test_a_single_body_says_nothing(world):
    hu, _ = world
    assert (mark_tissue(hu, MM, CENTERS[:1], LABELS[:1]) == UNKNOWN).all()
