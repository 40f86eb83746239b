"""The fracture recipe from two scans to a file the reader takes, and each of its parts by itself."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from spinelab import models  # noqa: E402
from spinelab.errors import InputError  # noqa: E402
from spinelab.io import write_mask  # noqa: E402
from spinelab.measurement import measure  # noqa: E402
from spinelab.tasks.fracture import grade_fractures  # noqa: E402
from spinelab.tasks.fracture_network import Combination, ask_network  # noqa: E402
from spinelab.train import fracture_sources as sources  # noqa: E402
from spinelab.train.cases import Case  # noqa: E402
from spinelab.train.fracture import (  # noqa: E402
    FractureTrainOptions,
    accept_found,
    ask,
    calibrate,
    choose_basis,
    divide_patients,
    fracture_loss,
    fracture_recipe,
)
from spinelab.train.fracture_cache import pack  # noqa: E402
from spinelab.train.fracture_draws import draw_samples  # noqa: E402
from spinelab.train.fracture_labels import is_sure  # noqa: E402
from spinelab.train.fracture_sources import Sources, list_unlabelled  # noqa: E402
from tests.phantom import make_phantom  # noqa: E402
from tests.scan_files import save_scan  # noqa: E402
from tests.train.fracture_scan import LEVELS, outline_as_drawn  # noqa: E402
from tests.train.test_fracture_cache import make_sample  # noqa: E402

pytestmark = pytest.mark.train
OPTIONS = FractureTrainOptions(
    steps=2, fold_steps=2, folds=2, draws=1, batch=2, save_every=1, threads=1, learn_found=True
)
READ = {"evaluable": True, "probability": 0.01, "height_loss_percent": 1.0, "interval_percent": [0.0, 6.0]}


class Told(torch.nn.Module):
    """Answers the same of every sample."""

    def __init__(self, percent, probability=0.5):
        super().__init__()
        self.percent, self.logit = percent, float(np.log(probability / (1 - probability)))

    def forward(self, picture, _):
        count = len(picture)
        lost = torch.full((count, 4), self.percent / 20)
        return lost, torch.zeros(count, 4), torch.full((count,), self.logit), torch.zeros(count, 3)


def test_the_recipe_writes_a_file_the_reader_takes(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    for seed, name in enumerate(("a", "b")):
        made = make_phantom(levels=LEVELS, spacing_mm=(2, 2, 2), seed=seed)
        save_scan(made.image, data / f"{name}_ct.nii.gz")
        write_mask(made.mask, data / f"{name}_vert.nii.gz")

    outline_as_drawn(monkeypatch)

    def draw(scan, rng, options):
        for sample in draw_samples(scan, rng, replace(options, thickness_mm=((2.0, 2.0),))):
            yield replace(sample, geometry=READ)

    monkeypatch.setitem(pack.__globals__, "draw_samples", draw)
    monkeypatch.setitem(is_sure.__globals__, "_THICK_MM", ())
    out = tmp_path / "run"
    fracture_recipe(data, out, OPTIONS)
    network = models.load("fracture", folder=out, threads=1)
    assert network.facts["steps"] == 2
    assert isinstance(Combination.from_facts(network.facts), Combination)
    spine = grade_fractures(measure(made.image, made.mask, made.spine))
    answers = ask_network(network, made.image, made.mask, spine.vertebrae)
    assert [np.isfinite(a.lost_percent).all() and 0 < a.probability < 1 for a in answers] == [True] * 4
    assert (out / "fracture.onnx").stat().st_size < 1_000_000
    rows = list(csv.DictReader((out / "accepted.csv").open()))
    assert {row["source"] for row in rows} == {"outlined"}
    assert {row["reason"] for row in rows} <= {"accepted: geometry sure", "geometry unsure"}
    assert "with outlines: 2 cases (a, b)" in (out / "MODEL_CARD.md").read_text()
    fracture_recipe(data, out, replace(OPTIONS, steps=3))
    assert json.loads((out / "weights.json").read_text())["fracture"]["steps"] == 3


def test_patients_are_divided_by_name_and_never_twice():
    kept = pack([make_sample(case) for case in "abcde" for _ in range(2)])
    parts = divide_patients(kept, 2)
    assert parts == [frozenset("ace"), frozenset("bd")]
    with pytest.raises(InputError, match="found 5 patients for 6 folds; give more, or fewer --folds"):
        divide_patients(kept, 6)


def test_a_range_costs_nothing_within_it():
    low = torch.tensor([[float("nan")] * 3 + [20.0]])
    batch = [torch.zeros(1, 15, 2, 2), torch.zeros(1, 2), low, low + 5, torch.ones(1), torch.tensor([-1])]
    inside, below = fracture_loss(Told(24.0), batch), fracture_loss(Told(10.0), batch)
    assert float(inside["lost"]) == 0
    assert float(below["lost"]) == pytest.approx(4 * (10 / 20) ** 2 / 2)
    assert "shape" not in inside
    sure = fracture_loss(Told(24.0, 0.99), batch)
    assert float(sure["grave"]) < float(inside["grave"])


def test_exact_losses_count_for_each_height_and_shape_where_there_is_one():
    lost = torch.tensor([[30.0, 10.0, 0.0, 30.0]])
    batch = [torch.zeros(1, 15, 2, 2), torch.zeros(1, 2), lost, lost, torch.ones(1), torch.tensor([0])]
    told = fracture_loss(Told(10.0), batch)
    assert float(told["lost"]) == pytest.approx(4 * np.mean([1, 0, 0.25, 1]) / 2)
    assert float(told["shape"]) == pytest.approx(0.3 * np.log(3))


def test_only_what_both_readers_agree_on_is_accepted():
    def row(level, percent, probability, **changes):
        read = {**READ, "probability": probability, "height_loss_percent": percent}
        return make_sample(
            "u", level, (np.nan,) * 3, source="unlabelled", probability=probability, geometry=read, **changes
        )

    kept = pack(
        [
            row("L1", 4.0, 0.01),
            row("L2", 10.0, 0.3),
            row("L3", 30.0, 0.95),
            row("L4", 20.0, 0.02),
            make_sample("o", source="outlined"),
        ]
    )
    accepted, told = accept_found(kept, [Told(2.0, 0.02), Told(6.0, 0.1)])
    assert [r["level"] for r in accepted.rows] == ["L1"]
    assert [r["reason"] for r in told] == [
        "accepted: both readers agree",
        "geometry unsure",
        "readers disagree on a fracture",
        "readers differ by more than 8 points",
    ]
    assert told[0]["network_percent"] == 4.0
    assert accept_found(pack([]), [])[1] == []


def test_labels_are_learnt_always_and_found_bodies_where_asked_for():
    simulated = pack([make_sample("a"), make_sample("u")])
    found = pack([make_sample("a", source="labelled"), make_sample("a", source="outlined", probability=0.0)])
    given = Sources(simulated, found, ("a",), ("u",))
    plain = choose_basis(given, FractureTrainOptions())
    assert [r["source"] for r in plain.rows] == ["simulated", "simulated", "labelled"]
    more = choose_basis(given, FractureTrainOptions(learn_found=True, simulate_unlabelled=False))
    assert [(r["case"], r["source"]) for r in more.rows] == [
        ("a", "simulated"),
        ("a", "labelled"),
        ("a", "outlined"),
    ]
    with pytest.raises(InputError, match="no outlined body could be collapsed"):
        choose_basis(replace(given, simulated=pack([])), FractureTrainOptions())


def test_nothing_measured_cannot_be_weighed():
    with pytest.raises(InputError, match=r"no simulated column is that of a CT"):
        calibrate([Told(1.0)], [frozenset("a")], pack([make_sample("a")]))


def test_answers_come_in_per_cent():
    lost, spread, grave = ask(Told(30.0, 0.25), pack([make_sample()] * 3))
    assert lost == pytest.approx(np.full((3, 4), 30.0))
    assert spread == pytest.approx(np.full((3, 4), 20.0))
    assert grave == pytest.approx(np.full(3, 0.25))


def test_unlabelled_scans_are_those_without_outlines_the_split_trains_on(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}_ct.nii.gz").touch()
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["a", "b"], "held_out": ["c"]}))
    assert [c.name for c in list_unlabelled(tmp_path, {"b"}, None)] == ["a", "c"]
    assert [c.name for c in list_unlabelled(tmp_path, {"b"}, split)] == ["a"]


def test_scans_without_outlines_are_outlined_once(tmp_path, monkeypatch):
    made = make_phantom(levels=LEVELS[:2], spacing_mm=(3, 3, 3))
    save_scan(made.image, tmp_path / "a_ct.nii.gz")
    asked = []

    def segment(image, options):
        asked.append(options.threads)
        return type("Found", (), {"mask": made.mask})()

    monkeypatch.setattr("spinelab.tasks.segment.segment", segment)
    case = Case("a", image=tmp_path / "a_ct.nii.gz")
    outlined = [sources.outline_case(case, tmp_path / "outlined", threads=1) for _ in range(2)]
    assert asked == [1]
    assert all(c.vertebrae == tmp_path / "outlined" / "a_vert.nii.gz" for c in outlined)
    assert outlined[0].vertebrae.exists()


def test_a_folder_without_outlines_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "choose_cases", lambda *_: [Case("a", image=tmp_path / "a_ct.nii.gz")])
    with pytest.raises(InputError, match="has outlines of its vertebrae; the fracture network needs some"):
        fracture_recipe(tmp_path, tmp_path / "run", OPTIONS)
