"""The table of labelled persons: who learns from what, and how scores become rows."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra train)")
sys.path.insert(0, os.fspath(Path(__file__).parents[1] / "benchmarks"))

import label_efficiency as table
from mr_held_out import Person, all_right, interval, mean_centre, rate, render_counts

from spinelab.train.mr_cases import PreparedMr


def make_person(name: str, right: int, centre: float) -> Person:
    return Person(name, 5, right, [centre] * 5, [2.0], [True], 0.9, True, 0.1)


def make_pool() -> table.Pool:
    pool = object.__new__(table.Pool)
    array = np.zeros((2, 2, 2), np.float32)
    pool.open = {"lumbar_dixon": [f"d{k}" for k in range(10)], "lumbar_t2": ["t0"]}
    names = [name for some in pool.open.values() for name in some]
    labels, points = np.array([20, 21]), np.zeros((2, 5, 3))
    pool.prepared = {name: PreparedMr(name, array, array, labels, points) for name in names}
    pool.painted = [PreparedMr("map", array, array, labels, points, "painted")]
    pool.slices = []
    return pool


def test_every_cell_has_a_folder_of_its_own() -> None:
    names = [cell.name for cell in table.list_cells()]
    assert len(names) == len(set(names))
    assert "lumbar_dixon-8-3-both" in names


def test_a_cell_knows_the_labels_of_its_persons_alone() -> None:
    pool = make_pool()
    sources = pool.sources(table.Cell("lumbar_dixon", 2, 1, "+ both"))
    assert len(sources.labelled) == 2
    assert len(sources.unlabelled) == 9
    assert all(len(case.labels) == 0 for case in sources.unlabelled)
    assert not {case.name for case in sources.labelled} & {case.name for case in sources.unlabelled}
    assert [case.name for case in sources.painted] == ["map"]
    assert pool.sources(table.Cell("lumbar_dixon", 2, 1, "labels only")).painted == []


def test_more_labelled_persons_of_a_seed_include_the_fewer() -> None:
    pool = make_pool()
    few, more = (pool.sources(table.Cell("lumbar_dixon", n, 1, "labels only")).labelled for n in (2, 8))
    assert [case.name for case in more[:2]] == [case.name for case in few]


def test_figures_are_pooled_over_persons() -> None:
    persons = [make_person("a", 5, 1.0), make_person("b", 0, 3.0)]
    assert rate(persons) == 0.5
    assert mean_centre(persons) == 2.0
    assert all_right(persons) == 0.5
    assert interval(persons, rate, 2) == "0.50 (0.00 to 1.00)"
    assert interval([Person("c", 5, 0, [], [], [], None, False, 0.1)], mean_centre, 1) == "-"


def test_seeds_share_a_row_and_results_are_read_back(tmp_path: Path) -> None:
    tests = {
        "lumbar_dixon": [make_person("a", 5, 1.0)],
        "lumbar_t2": [],
        "spider": [make_person("b", 0, 3.0)],
    }
    results = {
        table.Cell("lumbar_dixon", 8, seed, "labels only"): {**tests, "lumbar_t2": [make_person("c", 4, 2.0)]}
        for seed in (1, 2)
    }
    text = table.render(results)
    row = next(line for line in text.splitlines() if line.startswith("| lumbar_dixon | 8 | 2 | labels only"))
    assert row.endswith("| 1.00 (1.00 to 1.00) | 0.80 (0.80 to 0.80) | 0.00 (0.00 to 0.00) |")
    table.draw(results, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000
    assert table.read_results(tmp_path) == {}


def test_slices_are_counted_by_how_far_off_they_are() -> None:
    text = render_counts({"t1": [(7, 7), (6, 7), (3, 7), (0, 7)]})
    assert "| t1 | 4 | 1 | 1 | 1 | 1 |" in text
