"""Drawn columns: what is taken is told exactly, slices are as thick as asked, crops show the body."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from spinelab.spine import Heights  # noqa: E402
from spinelab.train import collapsed  # noqa: E402
from spinelab.train import fracture_draws as draws  # noqa: E402
from spinelab.train.fracture_draws import (  # noqa: E402
    KEPT_SHAPE,
    DrawOptions,
    draw_samples,
    lost_shares,
    slice_scan,
)
from spinelab.volume import Geometry, Image, Mask  # noqa: E402
from tests.train.fracture_scan import LEVELS, open_phantom, outline_as_drawn  # noqa: E402

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def scan():
    return open_phantom()


def test_a_phantom_is_intact(scan):
    assert scan.intact == frozenset(LEVELS)
    assert scan.image.geometry.same_grid(scan.mask.geometry)


def test_bodies_come_with_what_they_lost(scan, monkeypatch):
    outline_as_drawn(monkeypatch)
    options = DrawOptions(collapsed_share=0.6, thickness_mm=((2.0, 2.0), (5.0, 5.0)))
    samples = list(draw_samples(scan, np.random.default_rng(1), options))
    assert {s.slice_mm for s in samples} == {2.0, 5.0}
    collapsed = [s for s in samples if s.shape]
    assert collapsed
    for s in samples:
        assert s.crop.hu.shape == (5, *KEPT_SHAPE)
        assert s.source == "simulated"
        assert s.most_percent == (s.lost_percent.max(), s.lost_percent.max())
        assert s.probability == float(s.lost_percent.max() >= 20)
        assert (s.lost_percent.max() > 1) == bool(s.shape)
        assert s.crop.outline[2, KEPT_SHAPE[0] // 2, KEPT_SHAPE[1] // 2] == 1
    for s in collapsed:
        deepest = {"wedge": 0, "biconcave": 1}.get(s.shape)
        assert deepest is None or s.lost_percent.argmax() == deepest


def test_the_same_seed_draws_the_same(scan, monkeypatch):
    outline_as_drawn(monkeypatch)
    options = DrawOptions(thickness_mm=((2.0, 2.0),))
    first, second = (list(draw_samples(scan, np.random.default_rng(7), options)) for _ in range(2))
    assert [s.level for s in first] == [s.level for s in second]
    assert all(np.array_equal(a.crop.hu, b.crop.hu) for a, b in zip(first, second, strict=True))


def test_measured_columns_are_outlined_and_read(scan, monkeypatch):
    def outline(image, centers):
        from spinelab.measurement.named_mask import spine_of_mask

        array = np.where(image.array > 120, 1, 0).astype(np.uint8)
        assert set(centers) == set(LEVELS)
        assert array.shape == image.geometry.shape
        return scan.mask, spine_of_mask(scan.mask), {}

    monkeypatch.setattr(draws, "outline_drawn", outline)
    options = DrawOptions(collapsed_share=0.0, thickness_mm=((2.0, 2.0),))
    samples = list(draw_samples(scan, np.random.default_rng(1), options))
    assert samples
    assert all(s.geometry["evaluable"] and s.geometry["height_loss_percent"] < 15 for s in samples)


def test_a_column_that_cannot_be_bent_or_collapsed_gives_nothing(scan, monkeypatch):
    def fold(*_, **__):
        from spinelab.errors import InputError

        raise InputError("folds")

    monkeypatch.setattr(collapsed, "deform", fold)
    assert list(draw_samples(scan, np.random.default_rng(1))) == []


def test_slices_are_averaged_over_their_thickness_and_their_places_are_kept():
    geometry = Geometry.from_spacing((4, 4, 60), (1, 1, 1), (0, 0, 100))
    ramp = np.broadcast_to(np.arange(60) * 10, (4, 4, 60)).astype(np.int16)
    labels = np.broadcast_to(np.arange(60) // 20, (4, 4, 60)).astype(np.uint8)
    image, mask = slice_scan(Image(ramp, geometry, "CT"), Mask(labels, geometry), 5.0, 0.0)
    assert image.spacing_mm[2] == pytest.approx(5.0)
    z = image.geometry.index_to_world([[0, 0, k] for k in range(image.array.shape[2])])[:, 2]
    inner = slice(1, -1)
    assert image.array[0, 0, inner] == pytest.approx((z[inner] - 100) * 10, abs=1)
    assert mask.array[0, 0].tolist() == (np.round(z - 100) // 20).astype(int).tolist()


def test_slices_that_are_as_thick_already_stay():
    geometry = Geometry.from_spacing((2, 2, 9), (1, 1, 5))
    image = Image(np.zeros((2, 2, 9), np.int16), geometry, "CT")
    mask = Mask(np.zeros((2, 2, 9), np.uint8), geometry)
    assert slice_scan(image, mask, 5.0, 0.5) == (image, mask)


def test_shares_lost_are_of_the_former_height():
    lost = lost_shares(Heights(20, 20, 25), Heights(10, 15, 26))
    assert lost.tolist() == [50.0, 25.0, 0.0]
