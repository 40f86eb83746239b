"""Stems, stage times and what a manifest says and does not say."""

import json
import time
from pathlib import Path

import pytest

import spinelab
from spinelab.tasks.manifest import Stopwatch, peak_memory_mb, run_manifest, stem_of, versions


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("case.nii.gz", "case"),
        ("case.nii", "case"),
        ("case.NRRD", "case"),
        ("case.mha", "case"),
        ("study.zip", "study"),
        ("dicom_folder", "dicom_folder"),
        ("v1.2_scan.nii.gz", "v1.2_scan"),
        ("folder/", "folder"),
    ],
)
def test_stems(tmp_path, name, stem):
    assert stem_of(tmp_path / name) == stem


def test_the_current_folder_has_its_own_name(tmp_path, monkeypatch):
    (tmp_path / "series").mkdir()
    monkeypatch.chdir(tmp_path / "series")
    assert stem_of(Path()) == "series"


def test_a_stage_used_twice_adds_up():
    watch = Stopwatch()
    for _ in range(2):
        with watch.stage("read"):
            time.sleep(0.01)
    assert watch.seconds["read"] >= 0.02


def test_a_stage_that_fails_is_still_timed():
    watch = Stopwatch()
    with pytest.raises(ZeroDivisionError), watch.stage("read"):
        _ = 1 / 0
    assert "read" in watch.seconds


def test_parts_take_the_place_of_their_stage():
    watch = Stopwatch({"read": 1.0, "segment": 5.0})
    watch.include({"locate": 3.0, "outline": 1.5}, replacing="segment")
    assert watch.seconds == {"read": 1.0, "locate": 3.0, "outline": 1.5, "segment": 0.5}


def test_a_manifest_is_json_without_paths():
    manifest = run_manifest(
        "case.nii.gz", {"device": "cpu"}, Stopwatch({"read": 1.0}), weights={"locate": "ab"}
    )
    assert set(manifest) == {"versions", "weights_sha256", "input", "options", "seconds", "peak_memory_mb"}
    assert "/" not in json.dumps(manifest)
    assert manifest["versions"]["spinelab"] == spinelab.__version__


def test_versions_name_what_results_depend_on():
    assert {"spinelab", "python", "numpy", "onnxruntime"} <= set(versions())


def test_memory_is_plausible():
    used = peak_memory_mb()
    assert used is None or 20 < used < 50_000
