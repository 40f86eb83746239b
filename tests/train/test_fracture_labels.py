"""Labels of the workstation as targets, and bodies as they are."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from spinelab.errors import InputError
from spinelab.train.fracture_labels import RANGE_OF_GRADE, find_samples, is_sure, read_labels
from tests.train.fracture_scan import LEVELS, open_phantom

pytestmark = pytest.mark.train
HEAD = (
    "case,position,model_level,level,reader,how,evaluable,grade,shape,anterior_mm,middle_mm,posterior_mm,"
    "seconds\n"
)


def line(case, level, reader, grade, *, shape="", evaluable="True"):
    return f"{case},0,{level},{level},{reader},finished,{evaluable},{grade},{shape},,,,3\n"


def test_what_adjudication_settled_holds(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(
        HEAD
        + line("a", "L1", "ann", 1, shape="wedge")
        + line("a", "L1", "bob", 3, shape="crush")
        + line("a", "L1", "final", 2, shape="wedge")
        + line("a", "L2", "ann", 0)
        + line("a", "L2", "bob", 0)
        + line("a", "L3", "ann", 1)
        + line("a", "L3", "bob", 2)
        + line("a", "L4", "ann", "", evaluable="False")
    )
    assert read_labels(path) == {("a", "L1"): (2, "wedge"), ("a", "L2"): (0, "")}


def test_json_is_read_alike(tmp_path):
    path = tmp_path / "labels.json"
    row = {"case": "a", "level": "T9", "reader": "ann", "grade": 3, "shape": "crush", "evaluable": True}
    path.write_text(json.dumps({"format": "spinelab labels 1", "labels": [row]}))
    assert read_labels(path) == {("a", "T9"): (3, "crush")}


def test_the_export_of_the_workstation_has_these_columns():
    from spinelab.server.exports import COLUMNS, FINAL

    assert tuple(HEAD.strip().split(",")) == COLUMNS
    assert FINAL == "final"


@pytest.mark.parametrize("text", ["level\nL1\n", HEAD + line("a", "L1", "ann", "much")])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(
        InputError, match=r"labels\.csv holds no labels .*workstation's labels\.csv or labels"
    ):
        read_labels(path)


def test_bodies_as_they_are_have_geometrys_range_or_their_label():
    scan = replace(open_phantom(), name="a")
    samples = list(find_samples(scan, {("a", "L1"): (2, "crush")}, "outlined", np.random.default_rng(0)))
    assert {s.slice_mm for s in samples} == {2.0, 2.5, 5.0}
    assert {s.level for s in samples} <= set(LEVELS)
    for s in samples:
        assert np.isnan(s.lost_percent).all()
        if s.level == "L1":
            assert (s.source, s.most_percent, s.probability, s.shape) == (
                "labelled",
                (25.0, 40.0),
                1.0,
                "crush",
            )
        else:
            assert s.source == "outlined"
            assert s.most_percent[0] == 0.0
            assert s.probability < 0.1


def test_ranges_are_genants():
    assert RANGE_OF_GRADE == ((0.0, 20.0), (20.0, 25.0), (25.0, 40.0), (40.0, 100.0))


def test_geometry_is_sure_at_both_ends():
    assert [is_sure({"probability": p}) for p in (0.0, 0.03, 0.5, 0.9, 1.0)] == [
        True,
        True,
        False,
        True,
        True,
    ]
