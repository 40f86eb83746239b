import numpy as np

from spinelab.io.voxels import VoxelStore, slices_per_block


def test_whole_numbers_stay_int16():
    store = VoxelStore((2, 3, 4))
    store.put(0, np.full((2, 3, 2), -1024.0))
    store.put(2, np.full((2, 3, 2), 7, np.int64))
    assert store.array().dtype == np.int16
    assert store.array()[0, 0].tolist() == [-1024, -1024, 7, 7]


def test_the_first_fraction_widens_and_keeps_what_was_there():
    store = VoxelStore((1, 1, 3))
    for k, value in enumerate((-5.0, 0.5, np.nan)):
        store.put(k, np.full((1, 1, 1), value))
    assert store.array().dtype == np.float32
    assert store.array().ravel()[:2].tolist() == [-5.0, 0.5]
    assert np.isnan(store.array()[0, 0, 2])


def test_memory_order_is_that_of_files():
    assert VoxelStore((4, 5, 6)).array().flags.f_contiguous


def test_blocks_are_moderate():
    assert slices_per_block((512, 512, 1000)) == 15
    assert slices_per_block((4000, 4000, 10)) == 1
