"""Drawn columns for the outline network: whole, named, their mask as low as their bodies are."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from spinelab.errors import InputError
from spinelab.train import collapsed
from spinelab.train.collapsed import paint_scan, prepare_collapsed
from tests.train.fracture_scan import LEVELS, open_phantom, prepare_phantom

pytestmark = pytest.mark.train


def body_height_mm(case, label):
    """Height of the mask above and below a body's centre."""
    i, j, _ = np.round(case.centers[list(case.labels).index(label)]).astype(int)
    return float((case.vertebrae[i, j] == label).sum() * case.spacing_mm[2])


def test_some_bodies_are_lower_and_centres_stay_inside_them(tmp_path, monkeypatch):
    monkeypatch.setattr(collapsed, "_SEVERITIES", ("none",))
    whole = prepare_phantom()
    drawn = list(prepare_collapsed(whole, tmp_path, draws=3, seed=1))
    assert len(drawn) == 3
    heights = []
    for case in drawn:
        assert not case.painted
        assert case.image.shape == case.vertebrae.shape
        for center, label in zip(case.centers, case.labels, strict=True):
            assert case.vertebrae[tuple(np.round(center).astype(int))] == label
        heights += [body_height_mm(case, label) for label in case.labels]
    assert min(heights) < 0.75 * max(heights)
    assert not np.array_equal(drawn[0].vertebrae, drawn[1].vertebrae)


def test_what_is_kept_is_only_read(tmp_path, monkeypatch):
    (first,) = prepare_collapsed(prepare_phantom(), tmp_path, draws=1, seed=1)
    monkeypatch.setattr(collapsed, "open_scan", None)
    (again,) = prepare_collapsed(prepare_phantom(), tmp_path, draws=1, seed=1)
    assert np.array_equal(first.image, again.image)
    assert [path.name for path in tmp_path.iterdir()] == ["phantom_collapsed0_1.npz"]


def test_what_folds_is_drawn_anew_and_at_last_left_out(tmp_path, monkeypatch):
    tries = []

    def fold(*_, **__):
        tries.append(1)
        raise InputError("folds")

    monkeypatch.setattr(collapsed, "deform", fold)
    assert list(prepare_collapsed(prepare_phantom(), tmp_path, draws=1, seed=1)) == []
    assert len(tries) >= collapsed.TRIES
    assert list(tmp_path.iterdir()) == []


def test_a_column_without_an_intact_body_gives_none(tmp_path, monkeypatch):
    scan = replace(open_phantom(), intact=frozenset())
    monkeypatch.setattr(collapsed, "open_scan", lambda case: scan)
    assert list(prepare_collapsed(prepare_phantom(), tmp_path, draws=2, seed=1)) == []


def test_a_label_map_is_painted_first():
    scan = open_phantom()
    assert scan.intact == frozenset(LEVELS)
    classes = replace(scan.image, array=(scan.mask.array > 0).astype(np.int16))
    painted = paint_scan(replace(scan, image=classes, painted=True), np.random.default_rng(0))
    assert not painted.painted
    assert len(np.unique(painted.image.array)) > 50
    assert paint_scan(scan, np.random.default_rng(0)) is scan
