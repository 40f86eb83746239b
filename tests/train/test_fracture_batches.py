"""Batches: pictures keep their meaning however they are moved, targets follow the rows."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from spinelab.models import scale_hu  # noqa: E402
from spinelab.tasks.fracture_crop import CROP_SHAPE, tell_facts  # noqa: E402
from spinelab.train import fracture_batches as batches  # noqa: E402
from spinelab.train.fracture_batches import (  # noqa: E402
    FractureSampler,
    cut_view,
    drop_outlines,
    move,
    show_plain,
    tell_targets,
    vary_hu,
)
from spinelab.train.fracture_cache import pack  # noqa: E402
from spinelab.train.fracture_draws import KEPT_SHAPE  # noqa: E402
from tests.train.test_fracture_cache import make_sample  # noqa: E402

pytestmark = pytest.mark.train
KEPT = pack([make_sample("a"), make_sample("b", lost=(0.0, 0.0, 0.0)), make_sample("b", level="T9")])


class Still:
    """Draws the middle of everything: no turn, no shift, no change of scale."""

    def normal(self, mean, sd, size=None):
        return np.zeros(size) if size is not None else 0.0

    def uniform(self, low, high, size=None):
        return np.ones(size)


def test_a_batch_has_a_picture_facts_and_targets():
    picture, facts, low, high, probability, shape = FractureSampler(KEPT).draw(np.random.default_rng(0), 6)
    assert picture.shape == (6, 15, *CROP_SHAPE)
    assert facts.shape == (6, 2)
    assert low.shape == high.shape == (6, 4)
    assert set(probability.tolist()) <= {0.0, 1.0}
    assert set(shape.tolist()) <= {-1, 0}
    assert torch.isfinite(picture).all()


def test_without_motion_the_middle_of_what_is_kept_is_shown():
    stack = torch.arange(KEPT_SHAPE[0] * KEPT_SHAPE[1], dtype=torch.float32).reshape(1, 1, *KEPT_SHAPE)
    shown = move(stack, Still())
    assert torch.allclose(shown, stack[..., 8:-8, 12:-12], atol=1e-2)


def test_shift_and_scale_move_the_right_axes(monkeypatch):
    spot = torch.zeros(1, 1, *KEPT_SHAPE)
    spot[..., 36 + 5, 72 + 20] = 1  # 5.5 back of the middle, 20.5 up
    monkeypatch.setattr(batches, "SCALE", (1.0, 1.0))

    class Shifted(Still):
        def normal(self, mean, sd, size=None):
            return np.array([[3.0, 0.0]]) if sd == batches.SHIFT_MM else np.zeros(size)

    place = np.unravel_index(int(move(spot, Shifted()).argmax()), CROP_SHAPE)
    assert place == (28 + 5 - 3, 60 + 20)


def test_plain_pictures_are_what_the_reader_sees():
    picture, facts = show_plain(KEPT)
    assert picture.shape == (3, 15, *CROP_SHAPE)
    assert picture[0, 2, 0, 0] == pytest.approx(float(scale_hu(torch.tensor(200.0))), abs=0.01)
    assert picture[0, 7, 28, 60] == 1
    assert picture[0, 12].min() == 1  # what was not scanned lies beyond the crop
    assert facts[2].tolist() == pytest.approx(tell_facts("T9", 2.5))


def test_targets_follow_the_rows():
    rows = [
        *KEPT.rows[:2],
        pack(
            [make_sample(lost=(np.nan,) * 3, most_percent=(20.0, 25.0), probability=1.0, shape="crush")]
        ).rows[0],
    ]
    low, high, probability, shape = tell_targets(rows)
    assert low[0].tolist() == high[0].tolist() == [30, 10, 0, 30]
    assert np.isnan(low[2, :3]).all()
    assert (low[2, 3], high[2, 3]) == (20, 25)
    assert probability.tolist() == [1, 0, 1]
    assert shape.tolist() == [0, -1, 2]


def test_outlines_are_dropped_or_left_alone():
    outline = torch.ones(400, 5, 2, 2)
    outline[..., 0] = -1
    dropped = drop_outlines(outline, np.random.default_rng(0))
    none = (dropped == 0).flatten(1).all(1).float().mean()
    alone = ((dropped >= 0).flatten(1).all(1) & (dropped == 1).flatten(1).any(1)).float().mean()
    assert float(none) == pytest.approx(batches.NO_OUTLINE, abs=0.07)
    assert float(alone) == pytest.approx(batches.OWN_ALONE, abs=0.06)


def test_a_cut_view_keeps_the_body():
    seen = cut_view(torch.ones(300, 5, 4, 120), np.random.default_rng(0))
    assert (seen[..., 40:80] == 1).all()
    assert 0.05 < float((seen.flatten(1).min(1).values == 0).float().mean()) < 0.3


def test_hu_vary_but_stay_in_order():
    hu = torch.full((50, 5, 20, 20), 0.0)
    hu[..., 10:] = 400
    varied = vary_hu(hu, np.random.default_rng(0))
    assert (varied[..., 12:].mean((1, 2, 3)) > varied[..., :8].mean((1, 2, 3)) + 100).all()
    assert varied.std(0).mean() > 20


def test_sources_get_their_share():
    many = pack([make_sample("a")] * 20 + [make_sample("b", source="outlined")] * 20)
    chances = FractureSampler(many, {"outlined": 0.25}).chances
    assert chances[20:].sum() / chances[:20].sum() == pytest.approx(0.25)


def test_half_of_all_have_collapsed():
    many = pack([make_sample("a", lost=(0.0, 0.0, 0.0))] * 30 + [make_sample("a")] * 2)
    assert FractureSampler(many).chances[30:].sum() == pytest.approx(0.5)
