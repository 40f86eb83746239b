"""Landmark samples: targets follow the picture through every warp."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from spinelab.train import mr_samples  # noqa: E402
from spinelab.train.mr_cases import PreparedMr  # noqa: E402
from spinelab.train.mr_samples import SHAPE, MrSampler, vary_contrast  # noqa: E402
from spinelab.train.paint import CORE, SOFT  # noqa: E402

POINTS = np.full((3, 5, 3), np.nan)
POINTS[:, 0] = [(32, 80, 180), (32, 80, 144), (32, 80, 108)]
POINTS[:2, 1:] = POINTS[:2, :1] + [(0, -16, 12), (0, 16, 12), (0, -16, -12), (0, 16, -12)]


def make_case(labels=(23, 24, 26)):
    """Every voxel tells its own height, so that a sample shows where it comes from."""
    array = np.broadcast_to(np.linspace(-1, 1, 120, dtype=np.float32), (32, 80, 120)).copy()
    return PreparedMr("case", array, np.ones_like(array), np.array(labels), POINTS)


def draw(number, **change):
    return MrSampler([make_case()], **change).draw(np.random.default_rng(number))


def test_fields_fit_the_network():
    sample = draw(0)
    cells = (SHAPE[0], SHAPE[1] // 2, SHAPE[2] // 2)
    assert sample.x.shape == (2, *SHAPE)
    assert sample.heat.shape == sample.known.shape == sample.level.shape == cells
    assert sample.offsets.shape == (15, *cells)
    assert set(sample.level.unique().tolist()) <= {-1, 22, 23, 25}


def test_points_are_found_where_the_warp_puts_them():
    sampler = MrSampler([make_case()])
    rng = np.random.default_rng(4)
    grid = mr_samples.make_grid()
    for _ in range(3):
        source = sampler._source(sampler.cases[0], grid, rng)
        found = mr_samples._find_in_sample(POINTS, source, grid)
        steps = torch.tensor([4.0, 2.0, 2.0])
        index = (found - grid[0, 0, 0]) / steps
        inside = (torch.isfinite(index) & (index > 0) & (index < torch.tensor(SHAPE) - 1)).all(-1)
        back = mr_samples.augment.sample(source.permute(3, 0, 1, 2), index[inside][None, None])[:, 0, 0].T
        assert inside.any()
        assert back.numpy() == pytest.approx(POINTS[inside.numpy()], abs=0.3)


def test_what_is_not_seen_teaches_nothing(monkeypatch):
    monkeypatch.setattr(mr_samples, "SINGLE", 1.0)
    for number in range(4):
        sample = draw(number)
        blank = sample.x[1].amax((1, 2)) == 0
        assert int((~blank).sum()) <= 1
        assert (sample.known[blank] == 0).all()
        assert (sample.level[blank] == -1).all()
        assert sample.offsets[:, blank].isnan().all()


def test_beyond_the_first_body_nothing_is_known_and_about_s1_little():
    cells = (mr_samples.make_grid()[:, ::2, ::2] + mr_samples.make_grid()[:, 1::2, 1::2]) / 2
    centers = torch.tensor([[0.0, 0.0, 36.0], [0.0, 0.0, 0.0], [0.0, 0.0, -36.0]])
    heat, known = mr_samples._draw_heat(cells, centers, np.array([23, 24, 26]))
    assert float(heat.max()) == pytest.approx(np.exp(-12 / 50), abs=1e-3)
    middle = (SHAPE[0] // 2, SHAPE[1] // 4)
    height = cells[middle][:, 2]
    assert (known[middle][height > 60] == 0).all()
    assert known[middle][(height + 36).abs().argmin()] == pytest.approx(0.3)
    assert known[middle][height.abs().argmin()] == 1


def test_contrast_may_turn_and_stays_in_bounds():
    image = torch.randn(*SHAPE).clamp(-3, 3)
    signs = set()
    for number in range(12):
        changed = vary_contrast(image, np.random.default_rng(number))
        assert changed.abs().max() <= 3.5
        signs.add(float(np.sign(np.corrcoef(changed.numpy().ravel(), image.numpy().ravel())[0, 1])))
    assert signs == {-1.0, 1.0}


def test_a_column_without_names_teaches_places_only_and_nothing_beyond_either_end():
    named, unnamed = make_case(), replace(make_case(), named=False)
    first, second = (
        MrSampler([case], simulate=False).draw(np.random.default_rng(7)) for case in (named, unnamed)
    )
    assert (first.level >= 0).any()
    assert not (second.level >= 0).any()
    assert torch.equal(first.heat, second.heat)
    assert torch.equal(torch.isnan(first.offsets), torch.isnan(second.offsets))
    assert second.known.mean() < first.known.mean() or bool((first.known == second.known).all())


def test_a_painted_label_map_becomes_a_picture_of_its_own_each_time():
    case = make_case()
    classes = np.full(case.array.shape, SOFT, np.float32)
    for point in case.points_mm[:, 0] / 2:
        i, j, k = np.rint(point).astype(int)
        classes[i - 6 : i + 6, j - 8 : j + 8, k - 6 : k + 6] = CORE
    sampler = MrSampler([case], painted=[replace(case, array=classes, kind="painted")], simulate=False)
    assert sampler.chances.tolist() == pytest.approx([0.8, 0.2])
    sampler.chances = np.array([0.0, 1.0])
    one, two = (sampler.draw(np.random.default_rng(seed)) for seed in (1, 2))
    for sample in (one, two):
        assert torch.isfinite(sample.x).all()
        assert sample.x[0].abs().max() <= 3.5
        assert sample.x[0][sample.x[1] > 0].std() > 0.2


def test_a_slice_is_seen_in_one_sheet_only():
    case = replace(make_case(), kind="slice")
    sample = MrSampler([case], simulate=False).draw(np.random.default_rng(3))
    assert int((sample.x[1].amax(dim=(1, 2)) > 0).sum()) == 1
