"""The expected profile from made-up key points whose heights are known."""

import json
from importlib.resources import files

import numpy as np
import pytest

from spinelab.errors import UnreadableError
from spinelab.tasks.column_prior import RUNGS, column_prior
from spinelab.train.fit_height_profile import ASPECT, LEVELS, TABLE, Person, fit, name_levels, read_persons


def points(top, front, middle, back):
    """Six key points (row, column, slice) of an upright body 24 rows deep; heights in slices."""
    rows = (100.0, 112.0, 124.0)
    return [
        [row / ASPECT, 250.0, end]
        for row, height in zip(rows, (front, middle, back), strict=True)
        for end in (top, top + height)
    ]


def write_scan(folder, name, readers):
    target = folder / "tables" / TABLE
    target.mkdir(parents=True, exist_ok=True)
    annotation = {f"expert{n}": bodies for n, bodies in enumerate(readers)}
    (target / f"{name}.json").write_text(json.dumps({"Folder": name, "Annotation": annotation}))


def test_heights_become_means_over_bands_and_readers(tmp_path):
    first = [points(0, 20, 16, 24), points(30, 20, 16, 24)]
    second = [points(30, 20, 16, 24)]  # saw the lower body only
    write_scan(tmp_path, "a", [first, second])
    (person,) = read_persons(tmp_path)
    # 17.5 % of the depth lies 35 % of the way from the front to the middle
    assert person.heights[0] == pytest.approx([0.65 * 20 + 0.35 * 16, 16, 0.65 * 24 + 0.35 * 16])
    assert person.heights[1] == pytest.approx(person.heights[0])
    assert person.readers_sd == pytest.approx(0, abs=1e-9)


def test_readers_who_differ_show_it(tmp_path):
    write_scan(tmp_path, "a", [[points(0, 20, 20, 20)], [points(0, 22, 22, 22)]])
    (person,) = read_persons(tmp_path)
    assert person.heights[0] == pytest.approx([np.sqrt(20 * 22)] * 3)
    assert person.readers_sd == pytest.approx(np.log(1.1) / np.sqrt(2))


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(
        UnreadableError, match=f"{TABLE}/\\*.json; set SPINELAB_DATA to the folder with tables/"
    ):
        read_persons(tmp_path)


def person_of(first, last, name="p", size=1.3, heights=None):
    rungs = np.arange(RUNGS[first], RUNGS[last] + 1)
    gaps = size * np.exp(column_prior().log_spacing(rungs[:-1], rungs[1:])[0])
    centers = np.stack([np.zeros(len(rungs)), np.r_[0, np.cumsum(gaps)]], axis=1)
    if heights is None:
        heights = np.ones((len(rungs), 3))
    return Person(name, centers, heights, 0.02)


@pytest.mark.parametrize(("first", "last"), [("T1", "L1"), ("T3", "L2"), ("C7", "T12")])
def test_levels_are_named_by_their_spacing_whatever_the_unit(first, last):
    for size in (0.9, 1.6):
        names = name_levels(person_of(first, last, size=size))
        assert (names[0], names[-1]) == (first, last)


def test_a_fracture_in_each_tenth_person_bends_nothing():
    rng = np.random.default_rng(3)
    people = []
    for number in range(40):
        heights = 20 * np.exp(rng.normal(0, 0.1)) * np.exp(rng.normal(0, 0.02, (14, 3)))
        heights[:, 0] *= 0.95
        if number % 10 == 0:
            heights[6] *= (0.5, 0.6, 0.9)
        people.append(person_of("T1", "L2", name=str(number), heights=heights))
    profile = fit(people)
    assert profile["persons"] == 40
    rows = {row["level"]: row for row in profile["levels"]}
    assert list(rows) == list(LEVELS)
    assert rows["T7"]["anterior"] / rows["T7"]["posterior"] == pytest.approx(0.95, abs=0.015)
    assert rows["L1"]["posterior"] == 1.0
    assert profile["spread_log"]["anterior"]["own_sd"] < 0.04


def test_the_shipped_profile_covers_every_level_and_holds_no_person():
    data = json.loads(files("spinelab").joinpath("data/height_profile.json").read_text(encoding="utf-8"))
    assert [row["level"] for row in data["levels"]] == list(LEVELS)
    assert "CC BY-NC 4.0" in data["about"]
    assert set(data) == {"about", "licence", "fitted_by", "persons", "reader_sd_log", "levels", "spread_log"}
