"""The landmark recipe from a folder to weights that load, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from spinelab import models  # noqa: E402
from spinelab.errors import InputError  # noqa: E402
from spinelab.io import read, write_mask  # noqa: E402
from spinelab.nets.landmarks import LandmarkNet  # noqa: E402
from spinelab.tasks.landmark_maps import map_landmarks  # noqa: E402
from spinelab.tasks.mr_volume import normalise_scan  # noqa: E402
from spinelab.train.landmarks import (  # noqa: E402
    LandmarkOptions,
    choose_labelled,
    choose_unlabelled,
    landmark_loss,
    landmark_recipe,
    train_landmarks,
)
from spinelab.train.mr_cases import find_mr_cases, prepare_mr  # noqa: E402
from spinelab.train.pseudo_labels import Verdict  # noqa: E402
from tests.train.mr_folder import make_mask, write_person  # noqa: E402

OPTIONS = LandmarkOptions(steps=2, batch=1, threads=1, save_every=1)


def test_the_recipe_writes_weights_that_load_and_goes_on_where_it_stopped(tmp_path):
    write_person(tmp_path / "scans", "set_01")
    write_person(tmp_path / "scans", "set_02", labelled=False)
    landmark_recipe([tmp_path / "scans"], tmp_path / "run", OPTIONS)
    network = models.load("landmarks", folder=tmp_path / "run", threads=1)
    maps = map_landmarks(normalise_scan(read(tmp_path / "scans" / "set_01_t2.nii.gz")), network)
    assert maps.heat.shape == (12, 25, 38)
    assert maps.offsets_mm.shape == (5, 3, 12, 25, 38)
    assert maps.levels.sum(0) == pytest.approx(1, abs=1e-3)
    card = (tmp_path / "run" / "MODEL_CARD.md").read_text()
    assert "Labelled persons (1): set_01." in card
    assert "Unlabelled scans looked at (0): none." in card
    landmark_recipe([tmp_path / "scans"], tmp_path / "run", replace(OPTIONS, steps=3))
    assert json.loads((tmp_path / "run" / "weights.json").read_text())["landmarks"]["steps"] == 3


def test_without_a_mask_there_is_nothing_to_train_on(tmp_path):
    write_person(tmp_path, "set_01", labelled=False)
    with pytest.raises(
        InputError, match=r"has NAME_bodies\.nii\.gz or NAME_ctd\.json beside it; label at least"
    ):
        choose_labelled([tmp_path], None)


def test_a_split_chooses_and_must_fit(tmp_path):
    write_person(tmp_path / "scans", "set_01")
    write_person(tmp_path / "scans", "set_02")
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"labelled": {"set": ["set_02"]}}))
    assert [case.name for case in choose_labelled([tmp_path / "scans"], split)] == ["set_02"]
    split.write_text(json.dumps({"labelled": {"set": ["set_07"]}}))
    with pytest.raises(InputError, match=r"cases that are not labelled in .*: set_07"):
        choose_labelled([tmp_path / "scans"], split)


def test_unlabelled_scans_are_all_there_are_or_those_of_the_persons_a_split_names(tmp_path):
    for name in ("set_1", "set_12", "set_2"):
        write_person(tmp_path / "scans", name)
    assert len(choose_unlabelled([tmp_path / "scans"], None)) == 3
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"unlabelled": {"set": ["set_1"]}}))
    assert [case.name for case in choose_unlabelled([tmp_path / "scans"], split)] == ["set_1_t2"]
    split.write_text(json.dumps({"held_out": {"set": ["set_1"]}}))
    assert [case.name for case in choose_unlabelled([tmp_path / "scans"], split)] == ["set_12_t2", "set_2_t2"]


def test_unlabelled_scans_and_painted_maps_enter_and_broken_scans_are_named(tmp_path, monkeypatch):
    write_person(tmp_path / "scans", "set_01")
    write_person(tmp_path / "more", "other_01", labelled=False)
    (tmp_path / "more" / "other_02_t2.nii.gz").write_bytes(b"no scan")
    (tmp_path / "maps").mkdir()
    write_mask(make_mask(), tmp_path / "maps" / "map_vert.nii.gz")
    options = replace(OPTIONS, steps=4, contrast_steps=1, painted=tmp_path / "maps")

    (known,) = prepare_mr(find_mr_cases(tmp_path / "scans"))

    def accept(cases, network):
        assert network(scan=np.zeros((1, 2, 8, 32, 32), np.float32))[0].shape == (1, 1, 8, 16, 16)
        drawn = [replace(case, labels=known.labels, points_mm=known.points_mm) for case in cases]
        return drawn, [Verdict(case.name, True, "as told") for case in cases]

    names = train_landmarks.__globals__
    monkeypatch.setitem(names, "label_scans", accept)
    run = tmp_path / "run"
    refused = landmark_recipe(
        [tmp_path / "scans"], run, options, unlabelled=[tmp_path / "more", tmp_path / "scans"]
    )
    assert list(refused) == ["other_02_t2"]
    card = (run / "MODEL_CARD.md").read_text()
    assert "Unlabelled scans looked at (1): other_01_t2." in card
    assert "Of these with landmarks it drew itself (1): other_01_t2." in card
    assert "Painted label maps (1): map." in card
    assert "other_01_t2,yes,as told" in (run / "unlabelled_2.csv").read_text()
    monkeypatch.setitem(names, "label_scans", None)  # a resumed run does not draw again
    landmark_recipe([tmp_path / "scans"], run, options, unlabelled=[tmp_path / "more"])


class Told(torch.nn.Module):
    """Answers what it was given."""

    def __init__(self, *answers):
        super().__init__()
        self.answers = answers

    def forward(self, _):
        return self.answers


def test_the_loss_falls_from_wrong_to_right_and_leaves_out_what_is_unmarked():
    heat = torch.zeros(1, 2, 4, 4)
    heat[0, 1, 2, 2] = 1
    offsets = torch.full((1, 15, 2, 4, 4), float("nan"))
    offsets[0, :6, 1, 2, 2] = 0.5
    level = torch.full((1, 2, 4, 4), -1)
    level[0, 1, 2, 2] = 23
    batch = [torch.zeros(1), heat, torch.ones_like(heat), offsets, level]
    logits = torch.zeros(1, 26, 2, 4, 4)
    wrong = landmark_loss(
        Told(torch.zeros(1, 1, 2, 4, 4), torch.zeros(1, 15, 2, 4, 4), torch.zeros(1, 5, 2, 4, 4), logits),
        batch,
    )
    assert float(wrong["offset"]) == pytest.approx(4 * 0.5)
    sharp = logits.clone()
    sharp[:, 23] = 9
    right = landmark_loss(
        Told(
            20 * heat[:, None] - 10,
            torch.full((1, 15, 2, 4, 4), 0.5),
            torch.full((1, 5, 2, 4, 4), -3.0),
            sharp,
        ),
        batch,
    )
    assert float(right["offset"]) == 0
    assert all(right[key] < wrong[key] for key in wrong)


def test_the_network_takes_what_the_sampler_gives():
    assert len(LandmarkNet((4, 4, 4, 4)).eval()(torch.zeros(1, 2, 8, 80, 112))) == 4
