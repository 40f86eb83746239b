"""`spinelab simulate` on files."""

import json

import numpy as np
import pytest

from spinelab.errors import InputError, ModalityError
from spinelab.io import read, read_mask, verse, write_image, write_mask
from spinelab.simulate.deformity import CurveRequest
from spinelab.tasks.simulate import SimulateOptions, TypedFindings, measure_whole, simulate_files
from spinelab.volume import Mask
from tests.phantom import make_phantom

LEVELS = ("T12", "L1", "L2", "L3")
KEYS = ("image.nii.gz", "vert.nii.gz", "ctd.json", "truth.json", "preview.png")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulate")
    phantom = make_phantom(levels=LEVELS, spacing_mm=(2.0, 2.0, 2.0))
    write_image(phantom.image, folder / "case.nii.gz")
    write_mask(phantom.mask, folder / "mask.nii.gz")
    return folder / "case.nii.gz", folder / "mask.nii.gz"


def test_two_draws_and_their_manifest(files, tmp_path):
    options = SimulateOptions(CurveRequest(cobb_deg=30.0), count=2, seed=4, radiograph=True)
    seen = []
    manifest = simulate_files(*files, tmp_path / "out", options, on_draw=lambda *p: seen.append(p))
    assert seen == [(1, 2), (2, 2)]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    films = ("ap.png", "lateral.png", "films.json")
    assert names == {"case_manifest.json"} | {f"case_000{n}_{k}" for n in (0, 1) for k in (*KEYS, *films)}
    truths = [json.loads((tmp_path / f"out/case_000{n}_truth.json").read_text()) for n in (0, 1)]
    assert [truth["cobb_deg"][0]["angle_deg"] for truth in truths] == pytest.approx([30, 30], abs=0.1)
    assert truths[0]["vertebrae"] != truths[1]["vertebrae"]
    assert all(truth["simulated"] for truth in truths)
    assert all(v["endplates"] == ["superior", "inferior"] for v in truths[0]["vertebrae"])
    assert manifest["simulated"]
    assert [draw["seed"] for draw in manifest["draws"]] == [4, 5]
    mask = read_mask(tmp_path / "out/case_0000_vert.nii.gz")
    image = read(tmp_path / "out/case_0000_image.nii.gz")
    assert image.geometry.same_grid(mask.geometry)
    points = verse.read_centroids(tmp_path / "out/case_0000_ctd.json", mask.geometry)
    for label, point in points.items():
        i, j, k = np.round(mask.geometry.world_to_index(point)).astype(int)
        assert mask.array[i, j, k] == label
    film = json.loads((tmp_path / "out/case_0000_films.json").read_text())["ap"]
    assert set(film["corners"]) == set(LEVELS)


def test_vertebrae_the_scan_cuts_are_named_but_not_measured(files):
    mask = read_mask(files[1])
    low = int(np.argwhere(mask.array == 22)[:, 2].mean())
    part = Mask(mask.array[..., low:], mask.geometry.cropped((0, 0, low), mask.array.shape))
    plates = {"L3": ["superior"]}
    truth = {
        "vertebrae": [
            {"level": name, "label": 19 + i, "complete": name not in ("T12", "L3"),
             "endplates": plates.get(name, ["superior", "inferior"])}
            for i, name in enumerate(LEVELS)
        ]
    }  # fmt: skip
    spine = measure_whole(part, truth)
    assert [(v.level, v.complete, v.heights_mm is None) for v in spine.vertebrae] == [
        ("T12", False, False), ("L1", True, False), ("L2", True, False), ("L3", False, True),
    ]  # fmt: skip


def test_the_same_seed_writes_the_same_scan(files, tmp_path):
    for name in ("a", "b"):
        simulate_files(*files, tmp_path / name, SimulateOptions(CurveRequest(cobb_deg=20.0), seed=9))
    first, second = (read(tmp_path / name / "case_0000_image.nii.gz").array for name in ("a", "b"))
    assert (first == second).all()


def test_angles_from_a_file_and_findings_alone(files, tmp_path):
    angles = tmp_path / "angles.csv"
    angles.write_text("level,sagittal_deg\nT12,8\nL3,-8\n", encoding="utf-8")
    truth = tmp_path / "a/case_0000_truth.json"
    simulate_files(*files, tmp_path / "a", SimulateOptions(angles=angles))
    assert json.loads(truth.read_text())["deformity"]["sagittal_deg"] == {"T12": 8.0, "L3": -8.0}
    findings = TypedFindings(collapse=("L1:wedge:30",))
    simulate_files(*files, tmp_path / "b", SimulateOptions(findings=findings))
    told = json.loads((tmp_path / "b/case_0000_truth.json").read_text())
    assert told["findings"][0]["level"] == "L1"
    assert told["cobb_deg"] == []


def test_unknown_sides_are_not_told_and_cannot_be_asked_for(files, tmp_path):
    curve = CurveRequest(cobb_deg=25.0)
    simulate_files(*files, tmp_path / "out", SimulateOptions(curve, unknown_sides=True))
    truth = json.loads((tmp_path / "out/case_0000_truth.json").read_text())
    assert truth["cobb_deg"][0]["convex"] is None
    sided = CurveRequest(cobb_deg=25.0, side="left")
    with pytest.raises(InputError, match=r"left and right are not known .* so no side can be asked"):
        simulate_files(*files, tmp_path / "no", SimulateOptions(sided, unknown_sides=True))


def test_refusals(files, tmp_path):
    with pytest.raises(InputError, match="a count of 0 was asked for; wanted at least 1"):
        simulate_files(*files, tmp_path / "no", SimulateOptions(count=0))
    both = SimulateOptions(CurveRequest(cobb_deg=20.0), angles=tmp_path / "x.csv")
    with pytest.raises(InputError, match="angles a level and a curve were both asked for"):
        simulate_files(*files, tmp_path / "no", both)
    impossible = SimulateOptions(CurveRequest(cobb_deg=118.0), count=2)
    with pytest.raises(InputError, match="none of 2 draws could be had; the last: no column with"):
        simulate_files(*files, tmp_path / "no", impossible)
    assert not (tmp_path / "no").exists()


def test_an_mr_is_taken_for_one_and_not_for_a_ct(files, tmp_path):
    from dataclasses import replace

    image = read(files[0])
    write_image(
        replace(image, array=np.where(image.array < -500, 0, 500 - image.array // 4)), tmp_path / "mr.nii.gz"
    )
    simulate_files(
        tmp_path / "mr.nii.gz", files[1], tmp_path / "out", SimulateOptions(CurveRequest(cobb_deg=20.0))
    )
    moved = read(tmp_path / "out/mr_0000_image.nii.gz").array
    assert moved.min() == 0, "never scanned is dark in an MR"
    with pytest.raises(ModalityError):
        simulate_files(tmp_path / "mr.nii.gz", files[1], tmp_path / "no", SimulateOptions(modality="ct"))


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("collapse", "L1:wedge", "--collapse L1:wedge: wanted LEVEL:SHAPE:PERCENT"),
        ("slip", "L4:far", "--slip L4:far: wanted LEVEL:MM with numbers"),
    ],
)
def test_findings_that_cannot_be_parsed(kind, text, message):
    with pytest.raises(InputError, match=message):
        TypedFindings(**{kind: (text,)})


def test_every_kind_of_finding_is_parsed():
    texts = {
        "collapse": "L1:crush:30",
        "narrow": "L4:50",
        "slip": "L5:6",
        "osteophytes": "L3:4",
        "sclerosis": "L4:3:200",
    }
    found = TypedFindings(**{kind: (text, text) for kind, text in texts.items()}).parse()
    assert [finding.level for finding in found] == [
        "L1",
        "L1",
        "L5",
        "L5",
        "L4",
        "L4",
        "L3",
        "L3",
        "L4",
        "L4",
    ]
