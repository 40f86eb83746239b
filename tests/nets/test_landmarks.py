"""The landmark network: shapes, folding, a quiet start."""

import pytest

torch = pytest.importorskip("torch")

from spinelab.nets.landmarks import LandmarkNet, fold_plane  # noqa: E402


def test_a_cell_holds_the_four_voxels_of_the_plane():
    x = torch.arange(16.0).reshape(1, 1, 1, 4, 4)
    assert fold_plane(x).shape == (1, 4, 1, 2, 2)
    assert fold_plane(x)[0, :, 0, 0, 0].tolist() == [0, 1, 4, 5]


@pytest.mark.parametrize("shape", [(8, 16, 16), (16, 32, 48)])
def test_answers_are_on_cells(shape):
    net = LandmarkNet((4, 4, 4, 4)).eval()
    cells = (shape[0], shape[1] // 2, shape[2] // 2)
    answers = net(torch.zeros(2, 2, *shape))
    assert [tuple(a.shape) for a in answers] == [(2, n, *cells) for n in (1, 15, 5, 26)]


def test_it_starts_from_nowhere():
    torch.manual_seed(0)
    heat = LandmarkNet().eval()(torch.randn(1, 2, 8, 16, 16))[0]
    assert torch.sigmoid(heat).mean() < 0.1
