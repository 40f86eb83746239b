"""The parts of benchmarks/curve_realism.py that count and calculate, by examples counted by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the classifiers need scikit-learn (extra dev)")
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from curve_realism import (
    apex_groups,
    draw_lots,
    match_angles,
    nearest,
    pattern_of,
    render_shares,
    side_and_region,
    three_angles,
)

from spinelab.simulate.curve_model import LEVELS
from spinelab.train.film_corners import FilmSets


def profile(**turns: float) -> np.ndarray:
    places = [LEVELS.index(name) for name in turns]
    return np.interp(np.arange(len(LEVELS)), places, list(turns.values()))


def test_three_angles_are_the_range_and_the_swings_beyond_it() -> None:
    rows = np.array([profile(T1=2, T5=20, T11=-20, L4=10, L5=4)])
    assert three_angles(rows).tolist() == [[40, 18, 30]]


def test_main_curves_are_counted_by_apex_side_and_pattern() -> None:
    rows = np.array([profile(T1=0, T5=20, T11=-20, L5=0), profile(T1=0, T10=-20, L4=20, L5=20), np.zeros(17)])
    assert apex_groups(rows) == ["T6 to T8", "T12 to L1", "none"]
    assert side_and_region(rows) == ["main_thoracic right", "thoracolumbar left", "none"]
    assert pattern_of(rows)[2] == "no type"


def test_shares_are_of_each_lot() -> None:
    def name(rows: np.ndarray) -> list[str]:
        return ["a" if row[0] > 0 else "b" for row in rows]

    lots = [np.array([[1.0], [1], [1], [-1]]), np.array([[1.0], [-1]]), np.array([[1.0], [1]])]
    lines = render_shares("letter", name, ("a", "b"), lots)
    assert lines[2:4] == ["| a | 75 % | 50 % | 100 % |", "| b | 25 % | 50 % | 0 % |"]


def test_the_nearest_film_is_found() -> None:
    films = np.array([np.zeros(17), np.full(17, 10.0)])
    assert nearest(np.full((1, 17), 7.0), films).tolist() == [3.0]


def test_draws_of_like_angle_are_chosen() -> None:
    pool = np.array([[0.0, angle] for angle in range(100)])
    picked = match_angles(np.array([[0.0, 50.0]]), pool, np.random.default_rng(0))
    assert len(picked) == 3
    assert np.abs(np.ptp(picked, axis=1) - 50).max() <= 15


def test_lots_hold_whole_patients() -> None:
    patients = np.repeat(["a", "b", "c", "d"], 5)
    empty = np.zeros((20, 17))
    films = FilmSets(empty, empty, empty, np.zeros((20, 17, 2)), np.zeros((20, 3)), patients)
    for lot in draw_lots(films, 10, np.random.default_rng(0))[:20]:
        assert lot.sum() == 10
        assert all(lot[patients == key].all() or not lot[patients == key].any() for key in "abcd")
