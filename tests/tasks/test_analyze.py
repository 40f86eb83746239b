"""From a file to all outputs. The networks are stood in for by the truth; they have their own tests."""

import csv
import json
from importlib.resources import files

import jsonschema
import numpy as np
import pytest

from spinelab.errors import OutputError, SpinelabError, UnreadableError
from spinelab.io import read_mask, read_spine
from spinelab.spine import Spine
from spinelab.tasks import analyze as task
from spinelab.tasks import landmarks
from spinelab.tasks.analyze import OUTPUTS, analyze, analyze_image, segment_scan
from spinelab.tasks.segment import Segmentation, SegmentOptions
from spinelab.volume import Mask
from tests.phantom import make_phantom
from tests.scan_files import save_scan, truth_for
from tests.tasks.mr_scans import LABELS, Answers, centers, make_scan

SCHEMA = json.loads(files("spinelab").joinpath("spine.schema.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(levels=("T12", "L1", "L2"), codes="PIR", spacing_mm=(2.0, 2.0, 2.0))


@pytest.fixture(scope="module")
def scan(phantom, tmp_path_factory):
    return save_scan(phantom.image, tmp_path_factory.mktemp("scan") / "case.nii.gz")


@pytest.fixture
def _known(phantom, monkeypatch):
    monkeypatch.setattr(task, "segment", truth_for(phantom))
    monkeypatch.setattr(task, "weights_digest", lambda folder: {"locate": "ab", "outline": "cd"})


@pytest.fixture(scope="module")
def result(phantom, scan, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "segment", truth_for(phantom))
        patch.setattr(task, "weights_digest", lambda folder: {"locate": "ab", "outline": "cd"})
        patch.setattr(task, "digest_of_reader", lambda folder: {"fracture": "ef"})
        stages = []
        out = tmp_path_factory.mktemp("out") / "new" / "folder"
        found = analyze(scan, out, options=SegmentOptions(threads=1), progress=lambda s, f: stages.append(s))
    return found, out, stages


def test_every_output_is_there_and_nothing_else(result):
    found, out, _ = result
    assert {path.name for path in out.iterdir()} == {"case" + ending for ending in OUTPUTS.values()}
    assert all(path.stat().st_size > 0 for path in found.files.values())


def test_the_mask_is_on_the_input_grid_voxel_for_voxel(result, phantom):
    written = read_mask(result[0].files["mask"])
    assert np.array_equal(written.array, phantom.mask.array)
    assert written.geometry.same_grid(phantom.mask.geometry, 0.01)


def test_the_spine_follows_the_schema_and_is_measured(result):
    found = result[0]
    data = json.loads(found.files["spine"].read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(data)
    assert [v["level"] for v in data["vertebrae"]] == ["T12", "L1", "L2"]
    assert all(v["heights_mm"]["middle"] > 10 for v in data["vertebrae"])
    assert data["numbering"]["statement"] == "Counted from the last rib."
    assert read_spine(found.files["spine"]) == found.spine


def test_both_readers_look_at_every_body_that_is_graded(result):
    graded = [v.fracture for v in result[0].spine.vertebrae if v.fracture.evaluable]
    assert graded
    assert all(found.geometry is not None and found.network is not None for found in graded)


def test_the_manifest_tells_how(result):
    manifest = result[0].spine.manifest
    assert manifest["input"] == "case.nii.gz"
    assert manifest["options"]["threads"] == 1
    assert manifest["weights_sha256"] == {"locate": "ab", "outline": "cd", "fracture": "ef"}
    assert {"read", "locate", "outline", "measure", "write", "report"} <= set(manifest["seconds"])


def test_no_output_names_a_folder_of_this_machine(result, scan):
    for kind in ("spine", "centroids", "measurements", "report"):
        assert str(scan.parent) not in result[0].files[kind].read_text(encoding="utf-8")


def test_the_table_has_a_row_a_vertebra(result):
    with result[0].files["measurements"].open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["level"] for row in rows] == ["T12", "L1", "L2"]


def test_progress_goes_through_the_stages(result):
    stages = list(dict.fromkeys(result[2]))
    assert stages == ["read", "outline", "measure", "write", "report"]


@pytest.mark.usefixtures("_known")
def test_an_image_in_memory_gives_the_same_under_the_name_given(result, phantom, tmp_path):
    found = analyze_image(phantom.image, tmp_path, name="case-1", options=SegmentOptions(threads=1))
    assert {path.name for path in tmp_path.iterdir()} == {"case-1" + ending for ending in OUTPUTS.values()}
    assert found.spine.manifest["input"] == "case-1"
    assert found.spine.vertebrae == result[0].spine.vertebrae


@pytest.mark.usefixtures("_known")
def test_a_scan_without_vertebrae_is_answered(scan, phantom, tmp_path, monkeypatch):
    blank = Mask(np.zeros_like(phantom.mask.array), phantom.mask.geometry)
    empty = Segmentation(blank, Spine((), warnings=("No vertebra was found.",)), {})
    monkeypatch.setattr(task, "segment", lambda *_, **__: empty)
    found = analyze(scan, tmp_path)
    assert found.spine.vertebrae == ()
    assert "No vertebra was found." in json.loads(found.files["spine"].read_text())["warnings"]
    assert all(path.stat().st_size > 0 for path in found.files.values())


@pytest.mark.usefixtures("_known")
def test_segment_scan_writes_mask_and_centroids_alone(scan, tmp_path):
    found = segment_scan(scan, tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"case_vert.nii.gz", "case_ctd.json"}
    assert found.spine.manifest["input"] == "case.nii.gz"


def test_an_unreadable_scan_leaves_no_folder(tmp_path):
    (tmp_path / "case.nii.gz").write_bytes(b"")
    with pytest.raises(UnreadableError, match="is empty"):
        analyze(tmp_path / "case.nii.gz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_known")
def test_a_failure_late_on_leaves_nothing_half_written(scan, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OutputError("no room")

    monkeypatch.setattr(task, "write_report", fail)
    (tmp_path / "case_report.html").write_text("the one before")
    with pytest.raises(SpinelabError, match="no room"):
        analyze(scan, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["case_report.html"]
    assert (tmp_path / "case_report.html").read_text() == "the one before"


def test_a_file_in_the_place_of_the_folder_is_told_before_the_work(scan, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("segmented before the output folder was tried")

    monkeypatch.setattr(task, "segment", never)
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        analyze(scan, tmp_path / "out")


def test_the_manifest_names_the_weights_used_and_not_their_path(phantom, scan, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(task, "segment", truth_for(phantom))
    monkeypatch.setattr(task, "weights_digest", lambda folder: asked.append(folder) or {"locate": "ef"})
    own = tmp_path / "my-run"
    found = segment_scan(scan, tmp_path / "out", options=SegmentOptions(weights=own))
    assert set(asked) == {own}
    assert found.spine.manifest["weights_sha256"] == {"locate": "ef"}
    assert found.spine.manifest["options"]["weights"] == "my-run"
    assert str(tmp_path) not in json.dumps(found.spine.manifest)


def test_an_mr_is_recognised_and_marked(tmp_path, monkeypatch):
    monkeypatch.setattr(landmarks.models, "load", lambda *_, **__: Answers(centers(), LABELS))
    monkeypatch.setattr(landmarks.models, "weights_digest", lambda folder: {"landmarks": "ab"})
    scan = save_scan(make_scan(), tmp_path / "spine_t2.nii.gz")
    found = analyze(scan, tmp_path / "out", options=SegmentOptions(threads=1))
    assert found.mask is None
    assert found.spine.levels == ("L1", "L2", "L3", "L4", "L5")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "spine_t2" + ending for ending in landmarks.OUTPUTS.values()
    }
    assert any(line.startswith("Taken for an MR") for line in found.spine.warnings)
    assert set(found.spine.manifest["seconds"]) == {"read", "locate", "write", "report"}
