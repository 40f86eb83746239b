"""`spinelab locate` as it is typed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK

from spinelab.cli.app import run
from spinelab.cli.batch import unfold
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


def test_a_folder_with_broken_files_among_good_ones_is_gone_through(tmp_path, capsys):
    folder = tmp_path / "scans"
    folder.mkdir()
    write_image(make_scan(), folder / "a_good.nii.gz")
    (folder / "b_broken.nii.gz").write_bytes(b"\x1f\x8b no")
    (folder / "c_empty.nii").write_bytes(b"")
    write_image(replace(make_scan(), modality="CT", array=make_scan().array - 1000), folder / "d_ct.nii.gz")
    write_image(make_scan(), folder / "e_good.nii.gz")
    (folder / "notes.txt").write_text("no scan")
    assert run(["locate", str(folder), "-o", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert [line.partition(":")[0] for line in printed.out.splitlines() if "vertebrae" in line] == [
        "a_good.nii.gz",
        "e_good.nii.gz",
    ]
    lines = printed.err.splitlines()
    assert [line.split()[1] for line in lines[:3]] == ["b_broken.nii.gz:", "c_empty.nii:", "d_ct.nii.gz:"]
    assert "is empty (0 bytes); copy the file again" in lines[1]
    assert lines[3] == "spinelab: 3 of 5 scans failed: b_broken.nii.gz, c_empty.nii, d_ct.nii.gz"
    assert {path.name.split("_")[0] for path in (tmp_path / "out").iterdir()} == {"a", "e"}


def test_a_folder_stands_for_its_scans_only_where_it_holds_several(tmp_path):
    for name in ("b.nii.gz", "a.png", "x.txt"):
        (tmp_path / name).write_bytes(b"1")
    assert unfold([tmp_path]) == [tmp_path / "a.png", tmp_path / "b.nii.gz"]
    (tmp_path / "a.png").unlink()
    assert unfold([tmp_path, tmp_path / "b.nii.gz"]) == [tmp_path, tmp_path / "b.nii.gz"]
