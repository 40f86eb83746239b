"""Samples come back from their files as they were, and only what is missing is drawn."""

import numpy as np
import pytest

pytest.importorskip("torch")

from spinelab.tasks.fracture_crop import Crop
from spinelab.train import fracture_cache as cache
from spinelab.train.fracture_cache import fill_cache, join, keep_samples, load_samples, pack, to_hu
from spinelab.train.fracture_draws import KEPT_SHAPE, Sample

pytestmark = pytest.mark.train
SHAPE = (5, *KEPT_SHAPE)


def make_sample(case="a", level="L1", lost=(30.0, 10.0, 0.0), **changes):
    """A body of even HU that fills the middle of its crop; the upper rows were not scanned."""
    hu = np.full(SHAPE, 200.0, np.float32)
    outline = np.zeros(SHAPE, np.int8)
    outline[:, 20:50, 60:80] = 1
    seen = np.ones(SHAPE, bool)
    seen[:, :, -10:] = False
    most = float(np.nanmax(lost)) if np.isfinite(lost).any() else 0.0
    values = {
        "source": "simulated",
        "slice_mm": 2.5,
        "most_percent": (most, most),
        "probability": float(most >= 20),
        "shape": "wedge" if most else "",
        "geometry": {},
    }
    values |= changes
    return Sample(case, level, crop=Crop(hu, outline, seen), lost_percent=np.array(lost), **values)


def test_samples_come_back_as_they_were(tmp_path):
    path = tmp_path / "a_000.npz"
    unknown = make_sample(lost=(np.nan,) * 3, source="outlined", geometry={"probability": 0.5})
    assert keep_samples([make_sample(), unknown], path) == 2
    assert not list(tmp_path.glob("*.part"))
    kept = load_samples([path])
    assert len(kept) == 2
    assert kept.rows[0]["lost_percent"] == [30.0, 10.0, 0.0]
    assert kept.rows[1]["lost_percent"] == [None] * 3
    assert kept.rows[1]["geometry"] == {"probability": 0.5}
    assert (kept.outline[0] == make_sample().crop.outline).all()
    assert (kept.grey[0][:, :, -10:] == 0).all()
    assert to_hu(kept.grey[0][2, 0, 0].astype(np.float32)) == pytest.approx(200, abs=3.2)


def test_lots_are_joined_and_picked():
    both = join([pack([make_sample("a")]), pack([]), pack([make_sample("b"), make_sample("c")])])
    assert [row["case"] for row in both.rows] == ["a", "b", "c"]
    assert [row["case"] for row in both.pick([2, 0]).rows] == ["c", "a"]
    assert len(join([])) == 0


class Named:
    painted = False

    def __init__(self, name):
        self.name = name


def test_only_what_is_missing_is_drawn(tmp_path, monkeypatch):
    drawn = []

    def draw(scan, rng, options):
        drawn.append((scan.name, int(rng.integers(1000))))
        return [make_sample(scan.name)]

    monkeypatch.setattr(cache, "draw_samples", draw)
    paths = fill_cache([Named("a"), Named("b")], tmp_path, draws=4, seed=1)
    assert len(paths) == len(set(paths)) == 8
    assert len({number for _, number in drawn}) > 4
    (tmp_path / "b_002.npz").unlink()
    before = dict(zip([(n, i // 2) for i, (n, _) in enumerate(drawn)], drawn, strict=True))
    drawn.clear()
    fill_cache([Named("a"), Named("b")], tmp_path, draws=4, seed=1)
    assert drawn == [before["b", 2]]
