"""`spinelab locate` as it is typed."""

import json

import numpy as np
import pytest
import SimpleITK

from spinelab.cli.app import run
from spinelab.io import write_image
from spinelab.tasks import landmarks as task
from tests.tasks.mr_scans import LABELS, Answers, centers, make_scan


@pytest.fixture(autouse=True)
def network(monkeypatch):
    monkeypatch.setattr(task.models, "load", lambda *_, **__: Answers(centers(), LABELS))
    monkeypatch.setattr(task.models, "weights_digest", lambda folder: {"landmarks": "ab"})


def test_it_says_what_it_found_and_where_it_wrote(tmp_path, capsys):
    write_image(make_scan(), tmp_path / "scan.nii.gz")
    assert run(["locate", str(tmp_path / "scan.nii.gz"), "-o", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "5 vertebrae, L1 to L5" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "scan_ctd.json",
        "scan_preview.png",
        "scan_report.html",
        "scan_spine.json",
    ]


def test_a_picture_needs_its_spacing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(task.models, "load", lambda *_, **__: Answers(centers(x=2.0), LABELS, first=3))
    pixels = np.random.default_rng(0).integers(0, 255, (100, 60), dtype=np.uint8)
    path = tmp_path / "slice.png"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels), str(path))
    assert run(["locate", str(path), "-o", str(tmp_path / "out")]) == 2
    assert "give --spacing in mm" in capsys.readouterr().err
    command = ["locate", str(path), "-o", str(tmp_path / "out"), "--spacing", "2", "--json"]
    assert run(command) == 0
    spine = json.loads(capsys.readouterr().out)["results"][0]["spine"]
    assert [v["level"] for v in spine["vertebrae"]] == ["L1", "L2", "L3", "L4", "L5"]
    assert spine["discs"][0]["above"] == "L1"
