import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy import ndimage  # noqa: E402

from spinelab.train import augment  # noqa: E402
from spinelab.train.augment import Warp, cut_view, draw_warp, grid_mm, rotation, sample  # noqa: E402

pytestmark = pytest.mark.train

STILL = np.zeros((3, 2, 2))


def warp(*, turn=np.eye(3), scale=(1.0, 1.0, 1.0), tilt=STILL, mirror=False):  # noqa: B008
    return Warp(turn, np.array(scale), tilt, 300.0, mirror)


@pytest.fixture
def points():
    return grid_mm((6, 8, 40), 3.0, np.zeros(3))


def test_the_grid_of_a_sample_is_centred_and_moved():
    points = grid_mm((3, 2, 5), 2.0, np.array([0.0, 10, -1]))
    assert points.shape == (3, 2, 5, 3)
    assert points[0, 0, 0].tolist() == [-2, 9, -5]
    assert points[2, 1, 4].tolist() == [2, 11, 3]


def test_without_angles_a_warp_changes_nothing(points):
    assert torch.allclose(warp().source(points), points, atol=1e-4)


def test_the_mirror_changes_left_and_right_alone(points):
    mirrored = warp(mirror=True).source(points)
    assert torch.allclose(mirrored, points * torch.tensor([-1.0, 1, 1]), atol=1e-4)


def test_a_magnified_sample_comes_from_a_smaller_part_of_the_scan(points):
    assert torch.allclose(
        warp(scale=(2, 1, 0.5)).source(points), points * torch.tensor([0.5, 1, 2]), atol=1e-4
    )


def test_a_rotation_turns_the_whole_sample(points):
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turned = warp(turn=quarter).source(points)
    expected = points.numpy() @ quarter.T
    assert np.allclose(turned.numpy(), expected, atol=1e-4)


def test_a_tilted_axis_keeps_its_length_and_bends(points):
    tilt = STILL.copy()
    tilt[0, 0] = (0.4, 0.7)
    bent = warp(tilt=tilt).source(points)
    axis = bent[2:4, 3:5].mean(dim=(0, 1))
    steps = torch.diff(axis, dim=0).norm(dim=1)
    assert torch.allclose(steps, torch.full_like(steps, 3.0), atol=1e-3)
    assert (axis[:, 0].max() - axis[:, 0].min()) > 10
    assert axis[:, 1].abs().max() < 1e-3, "a coronal tilt leaves the sagittal plane"
    assert torch.allclose(axis[20], torch.tensor([0.0, 0, 1.5]), atol=1.0), "the middle stays in the middle"


def test_a_swept_sample_does_not_fold():
    tilt = STILL.copy()
    tilt[0, 0], tilt[1, 0] = (0.25, 0.3), (0.25, 1.3)
    bent = warp(tilt=tilt).source(grid_mm((20, 20, 40), 3.0, np.zeros(3))).numpy()
    jacobian = np.stack([np.gradient(bent, axis=a) for a in range(3)], axis=-1)
    assert np.linalg.det(jacobian).min() > 0


def test_drawn_rotations_are_rotations_of_the_size_asked_for():
    rng = np.random.default_rng(0)
    matrices = np.array([rotation(rng, (0, 0, 10)) for _ in range(300)])
    assert np.allclose(matrices @ matrices.transpose(0, 2, 1), np.eye(3), atol=1e-6)
    assert np.allclose(matrices[:, 2], (0, 0, 1), atol=1e-6), "about z alone"
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert 8 < angles.std() < 12


def test_the_same_draw_gives_the_same_warp(points):
    one, two = (
        draw_warp(np.random.default_rng(5), bend_deg=10, turn_deg=(5, 5, 5)).source(points) for _ in range(2)
    )
    assert torch.equal(one, two)


@pytest.mark.parametrize("nearest", [False, True])
def test_sampling_agrees_with_scipy(nearest):
    rng = np.random.default_rng(1)
    volume = rng.normal(size=(2, 7, 9, 5)).astype(np.float32)
    index = rng.uniform(0, 1, (4, 5, 6, 3)) * (np.array(volume.shape[1:]) - 1)
    found = sample(torch.from_numpy(volume), torch.from_numpy(index).float(), nearest=nearest)
    for channel in range(2):
        expected = ndimage.map_coordinates(
            volume[channel], np.moveaxis(index, -1, 0), order=0 if nearest else 1
        )
        assert np.allclose(found[channel].numpy(), expected, atol=1e-4)


def test_beyond_the_border_comes_nothing():
    volume = torch.ones(1, 4, 4, 4)
    index = torch.tensor([[[[-2.0, 1, 1], [1, 1, 5.5], [3, 3, 3]]]])
    assert sample(volume, index)[0, 0, 0].tolist() == [0, 0, 1]


def test_blurring_is_a_three_tap_filter_along_each_axis():
    x = torch.zeros(1, 5, 5, 5)
    x[0, 2, 2, 2] = 100
    one = augment.blur(x, (0.0, 0.0, 0.2))
    assert torch.allclose(one[0, 2, 2], torch.tensor([0.0, 20, 60, 20, 0]))
    assert one.sum() == pytest.approx(100)
    assert augment.blur(x, (0.25, 0.25, 0.25))[0, 1, 1, 1] == pytest.approx(100 / 64)


@pytest.mark.parametrize(("thickness", "spacing"), [(3.0, 3.0), (6.0, 1.25), (0.2, 3.0)])
def test_thick_slices_smear_along_the_column_as_a_box_of_their_thickness(thickness, spacing):
    x = torch.zeros(1, 3, 3, 41)
    x[0, 1, 1, 20] = 1
    profile = augment.thicken(x, thickness, spacing)[0, 1, 1]
    assert profile.sum() == pytest.approx(1, abs=1e-5)
    variance = float((profile * (torch.arange(41) - 20.0) ** 2).sum()) * spacing**2
    assert variance == pytest.approx(thickness**2 / 12, abs=0.02 * spacing**2)


def test_painting_gives_each_class_its_density():
    classes = torch.zeros(1, 24, 24, 24)
    classes[:, :, :, 12:] = 3
    hu = augment.paint(classes, np.random.default_rng(0))
    assert hu.shape == classes.shape
    assert hu[..., :10].median() < -800
    assert hu[..., 14:].median() > -200


def test_varied_hu_stay_finite_and_sometimes_hold_metal():
    bone = torch.full((1, 24, 24, 24), 300.0)
    rng = np.random.default_rng(2)
    varied = [augment.vary_hu(bone, rng, spacing_mm=3.0) for _ in range(200)]
    assert all(torch.isfinite(hu).all() and hu.shape == bone.shape for hu in varied)
    means = np.array([float(hu.median()) for hu in varied])
    assert means.std() > 20
    assert any((hu == 3000).any() for hu in varied)


def test_the_field_of_view_is_whole_in_most_draws_and_never_empty():
    rng = np.random.default_rng(3)
    shape = (80, 80, 96)
    views = [cut_view(shape, rng) for _ in range(400)]
    for view in views:
        for part, size in zip(view, shape, strict=True):
            assert 0 <= part.start < size // 2 < part.stop <= size
    whole = np.mean([all((s.start, s.stop) == (0, n) for s, n in zip(v, shape, strict=True)) for v in views])
    assert 0.2 < whole < 0.7
    assert any(view[2].start > 0 for view in views)
    assert any(view[2].stop < 96 for view in views)
