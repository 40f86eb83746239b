"""The fracture network's shapes, and that it looks at what it is given."""

import pytest

torch = pytest.importorskip("torch")

from spinelab.nets.fracture import FACTS, LOSSES, SHAPES, SLICES, FractureNet  # noqa: E402


def test_it_answers_for_every_body():
    net = FractureNet().eval()
    lost, spread, grave, shape = net(torch.randn(3, 3 * SLICES, 56, 120), torch.randn(3, FACTS))
    assert (lost.shape, spread.shape) == ((3, LOSSES), (3, LOSSES))
    assert (grave.shape, shape.shape) == ((3,), (3, SHAPES))


def test_picture_and_facts_both_count():
    net = FractureNet((16, 24), (4, 6), hidden=8).eval()
    picture, facts = torch.randn(1, 3 * SLICES, 16, 24), torch.zeros(1, FACTS)
    plain = net(picture, facts)[0]
    assert not torch.allclose(plain, net(picture.flip(-1), facts)[0])
    assert not torch.allclose(plain, net(picture, facts + 1)[0])


def test_it_is_small():
    assert sum(p.numel() for p in FractureNet().parameters()) < 400_000
