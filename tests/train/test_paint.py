import numpy as np
import pytest

from spinelab.train import paint
from spinelab.train.paint import (
    AIR,
    AIRWAY,
    BONE_CORE,
    BONE_SHELL,
    CARTILAGE,
    CORE,
    DISC,
    LUNG,
    ORGAN,
    SHELL,
    SOFT,
    draw_palette,
    paint_classes,
)
from spinelab.volume import Geometry, Mask


def two_blocks(labels=(20, 21), shape=(60, 60, 40)):
    """Two bodies of 20 x 20 x 12 mm with 4 mm between them, 1 mm voxels."""
    array = np.zeros(shape, np.uint8)
    array[20:40, 20:40, 4:16] = labels[1]
    array[20:40, 20:40, 20:32] = labels[0]
    return Mask(array, Geometry.from_spacing(shape, (1, 1, 1)))


def test_bone_is_a_shell_around_a_core_and_a_disc_lies_between():
    mask = two_blocks()
    classes = paint_classes(mask, None)
    bone = mask.array > 0
    assert set(np.unique(classes[bone])) == {SHELL, CORE}
    assert (classes[20:40, 20:40, [4, 15, 20, 31]] == SHELL).all()
    assert (classes[22:38, 22:38, 7:13] == CORE).all()
    assert (classes[25:35, 25:35, 16:20] == DISC).all()
    assert not (classes[:, :, 33:] == DISC).any(), "nothing lies above the upper one"
    assert set(np.unique(classes[~bone & (classes != DISC)])) <= {AIR, SOFT, LUNG}


def test_the_trunk_around_bare_vertebrae_ends_in_air():
    shape = (120, 120, 40)
    array = np.zeros(shape, np.uint8)
    array[58:62, 100:104, 10:30] = 20
    mask = Mask(array, Geometry.from_spacing(shape, (3, 3, 3)))
    classes = paint_classes(mask, None)
    assert (classes[0, :, :] == AIR).all()
    assert (classes[:, 0, :] == AIR).all()
    assert classes[60, 90, 20] == SOFT


def test_a_neck_has_an_airway_and_a_narrower_body_than_shoulders():
    shape = (120, 100, 80)
    array = np.zeros(shape, np.uint8)
    for place, label in enumerate((3, 4, 5, 6, 7, 8)):
        array[57:63, 60:66, 60 - 6 * place : 65 - 6 * place] = label
    classes = paint_classes(Mask(array, Geometry.from_spacing(shape, (3, 3, 3))), None)
    assert (classes == AIRWAY).any()
    widths = [(classes[:, 55, k] != AIR).sum() for k in (50, 12)]
    assert widths[0] < widths[1]


def test_organs_keep_their_numbers_and_bones_split_into_shell_and_core():
    shape = (60, 60, 40)
    organs = np.zeros(shape, np.uint8)
    organs[5:55, 5:55, :] = 5  # liver all over, so that all lies in the body
    organs[10:14, 10:14, 10:30] = 16  # trachea
    organs[10:14, 20:24, 10:30] = 11  # a lobe of a lung
    organs[10:14, 30:34, 10:30] = 117  # costal cartilage
    organs[44:54, 10:20, 10:30] = 77  # a hip
    mask = two_blocks(shape=shape)
    classes = paint_classes(mask, organs)
    assert classes[8, 50, 20] == ORGAN + 5
    assert classes[12, 12, 20] == AIRWAY
    assert classes[12, 22, 20] == LUNG
    assert classes[12, 32, 20] == CARTILAGE
    assert classes[44, 15, 20] == BONE_SHELL
    assert classes[49, 15, 20] == BONE_CORE
    assert classes[30, 30, 10] == CORE
    assert classes[0, 0, 0] in {SOFT, AIR}


def test_high_organ_numbers_do_not_wrap_around():
    organs = np.full((8, 8, 8), 250, np.uint8)
    array = np.zeros((8, 8, 8), np.uint8)
    array[4, 4, 4] = 20
    classes = paint_classes(Mask(array, Geometry.from_spacing((8, 8, 8), (3, 3, 3))), organs)
    assert classes[0, 0, 0] == 255


def test_a_palette_has_a_row_a_class_and_bone_is_denser_outside():
    palettes = [draw_palette(np.random.default_rng(seed)) for seed in range(200)]
    assert all(p.shape == (256, 2) and p.dtype == np.float32 for p in palettes)
    assert all(np.isfinite(p).all() and (p[:, 1] > 0).all() for p in palettes)
    assert np.mean([p[SHELL, 0] > p[CORE, 0] for p in palettes]) > 0.95
    assert np.mean([p[AIR, 0] < p[SOFT, 0] for p in palettes]) == pytest.approx(1)
    contrasts = [p[ORGAN + 51 : ORGAN + 69, 0].mean() for p in palettes]
    assert max(contrasts) > 200, "contrast medium in some"
    assert min(contrasts) < 100, "and not in all"


def test_the_same_draw_gives_the_same_palette():
    first, second = (draw_palette(np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, draw_palette(np.random.default_rng(4)))


def test_what_lies_between_needs_bone_above_and_below():
    array = np.zeros((1, 1, 40), np.uint8)
    array[0, 0, [5, 15, 39]] = 20
    between = paint._between(Mask(array, Geometry.from_spacing(array.shape, (1, 1, 1))))[0, 0]
    assert np.flatnonzero(between).tolist() == list(range(6, 15)), "10 mm apart, the next 24"
