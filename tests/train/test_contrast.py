"""Contrastive pre-training: what the losses ask for, and that it leaves a landmark network."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from spinelab.nets.contrast import LENGTH, ContrastNet  # noqa: E402
from spinelab.nets.landmarks import LandmarkNet  # noqa: E402
from spinelab.train.contrast import contrast_loss, draw_pair, pretrain  # noqa: E402
from spinelab.train.landmarks import LandmarkOptions  # noqa: E402
from spinelab.train.mr_cases import PreparedMr  # noqa: E402
from spinelab.train.mr_samples import SHAPE  # noqa: E402

NOISE = np.random.default_rng(1).normal(0, 1, (20, 90, 120)).astype(np.float32)
CASE = PreparedMr("a", NOISE, np.ones_like(NOISE), np.zeros(0, np.int64), np.zeros((0, 5, 3)))


class Told(torch.nn.Module):
    def __init__(self, whole, local):
        super().__init__()
        self.answers = whole, local

    def forward(self, _):
        return self.answers


def make_batch(count=2):
    x = torch.ones(count, 2, 2, 16, 16)
    return [x, x, torch.tensor([0.1, 0.9])]


def unit(*shape):
    return torch.nn.functional.normalize(
        torch.randn(*shape, generator=torch.Generator().manual_seed(0)), dim=1
    )


def test_vectors_that_agree_between_contrasts_cost_less_than_strangers():
    torch.manual_seed(0)
    local, whole = unit(2, LENGTH, 2, 8, 8), unit(2, LENGTH)
    agreeing = contrast_loss(Told(whole.repeat(2, 1), local.repeat(2, 1, 1, 1, 1)), make_batch())
    strange = contrast_loss(Told(unit(4, LENGTH), unit(4, LENGTH, 2, 8, 8)), make_batch())
    assert agreeing["local"] < 0.5 * strange["local"]
    assert agreeing["global"] < 0.5 * strange["global"]


def test_near_cells_need_not_differ():
    """All cells alike: the cost is the log of those far enough away, and itself."""
    torch.manual_seed(0)
    alike = torch.ones(2, LENGTH, 1, 2, 8) / LENGTH**0.5
    batch = [torch.ones(1, 2, 1, 4, 16), torch.ones(1, 2, 1, 4, 16), torch.tensor([0.5])]
    cost = contrast_loss(Told(unit(2, LENGTH), alike), batch)["local"]
    far = [
        sum(4 * np.hypot(a - c, b - d) >= 14 for c in range(2) for d in range(8))
        for a in range(2)
        for b in range(8)
    ]
    assert float(cost) == pytest.approx(np.log(1 + np.array(far)).mean(), abs=1e-4)


def test_samples_of_one_height_belong_together():
    batch = make_batch()
    batch[2] = torch.tensor([0.5, 0.52])
    one = unit(1, LENGTH).repeat(4, 1)
    two = unit(2, LENGTH).repeat(2, 1)
    local = unit(4, LENGTH, 2, 8, 8)
    assert contrast_loss(Told(one, local), batch)["global"] < contrast_loss(Told(two, local), batch)["global"]


def test_nothing_seen_costs_nothing():
    batch = make_batch()
    batch[0] = torch.zeros_like(batch[0])
    assert float(contrast_loss(Told(unit(4, LENGTH), unit(4, LENGTH, 2, 8, 8)), batch)["local"]) == 0


def test_a_pair_shows_the_same_place_in_two_contrasts():
    volume = torch.from_numpy(np.stack([CASE.array, CASE.seen]))
    first, second, height = draw_pair(CASE, volume, np.random.default_rng(4))
    assert first.shape == second.shape == (2, *SHAPE)
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], second[0])
    inside = first[1] > 0
    together = np.corrcoef(first[0][inside].numpy(), second[0][inside].numpy())[0, 1]
    assert abs(together) > 0.5
    assert 0.1 <= float(height) <= 0.9


def test_pre_training_gives_a_landmark_network_and_goes_on(tmp_path):
    options = LandmarkOptions(threads=1, save_every=1)
    net = pretrain([CASE], 1, tmp_path, options)
    assert isinstance(net, LandmarkNet)
    pretrain([CASE], 2, tmp_path, options)
    assert torch.load(tmp_path / "contrast.pt", weights_only=True)["step"] == 2


def test_vectors_are_of_unit_length():
    whole, local = ContrastNet(LandmarkNet((4, 4, 4, 4))).eval()(torch.randn(1, 2, 8, 16, 16))
    assert whole.norm(dim=1).item() == pytest.approx(1, abs=1e-5)
    assert local.shape == (1, LENGTH, 8, 8, 8)
    assert local.norm(dim=1).mean().item() == pytest.approx(1, abs=1e-5)
