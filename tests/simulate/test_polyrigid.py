"""The motion of rigid pieces in soft tissue."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from spinelab.measurement.sampling import find_boxes
from spinelab.simulate.polyrigid import BlockShape, PolyrigidFlow, sample_shape
from spinelab.simulate.rigid import RigidMotion
from spinelab.volume import Geometry, Mask

HALF = np.array([18.0, 14.0, 11.0])
CENTERS = np.array([[0, 0, 62.0], [0, 0, 31], [0, 0, 0]])


@pytest.fixture(scope="module")
def flow() -> PolyrigidFlow:
    motions = []
    for center, degrees, shift in zip(CENTERS, (-15, 0, 15), ([9, 0, -1], [0, 0, 0], [9, 0, 1]), strict=True):
        rotation = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
        motions.append(RigidMotion(rotation, center + shift - rotation @ center))
    return PolyrigidFlow([BlockShape(center, np.eye(3), HALF) for center in CENTERS], motions, steps=8)


def inside(center, rng, count=200):
    return center + rng.uniform(-0.9, 0.9, (count, 3)) * HALF


def test_pieces_move_rigidly_and_come_back(flow):
    rng = np.random.default_rng(0)
    for center, motion in zip(CENTERS, flow.motions, strict=True):
        points = inside(center, rng)
        assert np.abs(flow.forward(points) - motion.apply(points)).max() < 0.15
        assert np.abs(flow.backward(motion.apply(points)) - points).max() < 0.15


def test_time_run_backwards_is_the_inverse_everywhere(flow):
    points = np.random.default_rng(1).uniform(-150, 150, (2000, 3))
    assert np.linalg.norm(flow.backward(flow.forward(points)) - points, axis=1).max() < 0.2


def test_space_never_folds(flow):
    axes = np.meshgrid(np.arange(-40, 41, 2.0), [0.0, 20.0], np.arange(-15, 78, 1.0), indexing="ij")
    points = np.stack(axes, axis=-1).reshape(-1, 3)
    slopes = [flow.forward(points + 0.05 * e) - flow.forward(points - 0.05 * e) for e in np.eye(3)]
    volume = np.linalg.det(np.stack(slopes, axis=-1) / 0.1)
    assert volume.min() > 0.05


def test_far_away_nothing_moves_much_and_in_between_smoothly(flow):
    far = np.array([[0.0, 2000.0, 0.0]])
    assert np.abs(flow.forward(far) - far).max() < 0.05
    line = np.stack([np.linspace(20, 200, 400), np.zeros(400), np.full(400, 62.0)], axis=1)
    shift = flow.forward(line) - line
    assert np.abs(np.diff(shift, axis=0)).max() < 0.6


def test_leaving_out_distant_pieces_near_one_changes_little(flow):
    points = inside(CENTERS[0], np.random.default_rng(2)) + np.array([0, 0, 6])
    assert np.abs(flow.backward(points, near=True) - flow.backward(points)).max() < 0.3


def test_a_sampled_shape_measures_the_distance_to_its_label():
    array = np.zeros((50, 50, 50), np.uint8)
    array[15:35, 15:35, 15:35] = 7
    mask = Mask(array, Geometry.from_spacing(array.shape, (1, 1, 1)))
    shape = sample_shape(mask, 7, find_boxes(mask)[7])
    points = np.array([[25.0, 25, 25], [37.5, 25, 25], [25, 25, 90]]).T
    distance = shape.distance(points.astype(np.float32))
    assert distance[0] == 0
    assert distance[1] == pytest.approx(3, abs=1.0)
    assert distance[2] == pytest.approx(55.5, abs=4)
    assert shape.least_distance(points[:, 2]) <= distance[2]
    truth = ndimage.distance_transform_edt(array == 0)
    voxels = np.argwhere(truth > 0)[::97]
    found = shape.distance(voxels.T.astype(np.float32))
    near = truth[tuple(voxels.T)] < 4
    assert np.abs(found - truth[tuple(voxels.T)])[near].max() < 1.5


def test_a_block_measures_the_distance_to_body_and_arch():
    block = BlockShape(np.zeros(3), np.eye(3), HALF)
    points = np.array([[0, 0, 0], [28, 0, 0], [0, 0, 21], [0, 30, -6]], np.float32).T
    assert block.distance(points) == pytest.approx([0, 10, 10, 0])
    assert block.least_distance(np.array([28.0, 0, 0])) <= 10
