"""The recipe from a folder of scans to weights the reader takes, with tiny networks."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from spinelab import models  # noqa: E402
from spinelab.errors import InputError, ModelError  # noqa: E402
from spinelab.io import write_mask  # noqa: E402
from spinelab.nets.unet import LocateNet, OutlineNet  # noqa: E402
from spinelab.tasks.segment import SegmentOptions, segment  # noqa: E402
from spinelab.train import export, fitting, samples  # noqa: E402
from spinelab.train import segment as recipe  # noqa: E402
from spinelab.train.cases import Case, find_cases  # noqa: E402
from spinelab.train.prepare import prepare  # noqa: E402
from spinelab.train.segment import TrainOptions, choose_cases, locate_loss, main_recipe, outline_loss  # noqa: E402
from spinelab.train.weak_tissue import UNKNOWN  # noqa: E402
from tests.phantom import make_phantom  # noqa: E402
from tests.scan_files import save_scan  # noqa: E402

pytestmark = pytest.mark.train

OPTIONS = TrainOptions(locate_steps=4, outline_steps=4, batch=1, save_every=2, seed=3, collapsed=2)
PHANTOM = {"levels": ("T12", "L1", "L2", "L3"), "spacing_mm": (2.5, 2.5, 3.0)}


class TinyLocate(LocateNet):
    def __init__(self):
        super().__init__((4, 6, 8, 8))


class TinyOutline(OutlineNet):
    def __init__(self):
        super().__init__((4, 6, 8))


@pytest.fixture(autouse=True, scope="module")
def _tiny():
    with pytest.MonkeyPatch.context() as patch:
        for module in (recipe, export):
            patch.setattr(module, "LocateNet", TinyLocate)
            patch.setattr(module, "OutlineNet", TinyOutline)
        patch.setattr(export, "_SAMPLE_SIDES", {"locate": (32, 32, 32), "outline": (24, 24, 24)})
        patch.setattr(samples, "LOCATE_SHAPE", (32, 32, 32))
        patch.setattr(samples, "OUTLINE_SHAPE", (32, 32, 32))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two VerSe-like cases."""
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate(("sub-a", "sub-b")):
        phantom = make_phantom(**PHANTOM, seed=seed)
        save_scan(phantom.image, folder / f"{name}_ct.nii.gz")
        write_mask(phantom.mask, folder / f"{name}_seg-vert_msk.nii.gz")
    return folder


@pytest.fixture(scope="module")
def prepared(data, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return [prepare(case, cache, spacing_mm=3.0) for case in find_cases(data)]


def state_of(folder, name):
    return torch.load(folder / f"{name}.pt", weights_only=True)


def flat(state):
    """Every tensor and number of a checkpoint in a fixed order."""
    if isinstance(state, dict):
        return [leaf for key in sorted(state, key=str) for leaf in flat(state[key])]
    return [leaf for part in state for leaf in flat(part)] if isinstance(state, list | tuple) else [state]


class Interrupted(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize(
    ("name", "train"), [("locate", recipe.train_locate), ("outline", recipe.train_outline)]
)
def test_an_interrupted_run_resumed_equals_one_that_was_not(prepared, tmp_path, monkeypatch, name, train):
    train(prepared, tmp_path / "whole", OPTIONS)
    step = fitting.Run.step

    def fall_at_three(run, parts, number):
        if number == 3:
            raise Interrupted
        step(run, parts, number)

    monkeypatch.setattr(fitting.Run, "step", fall_at_three)
    with pytest.raises(Interrupted):
        train(prepared, tmp_path / "broken", OPTIONS)
    assert state_of(tmp_path / "broken", name)["step"] == 2
    monkeypatch.setattr(fitting.Run, "step", step)
    torch.manual_seed(99)  # what the process did before must not matter
    train(prepared, tmp_path / "broken", OPTIONS)
    whole, resumed = (flat(state_of(tmp_path / run, name)) for run in ("whole", "broken"))
    assert len(whole) == len(resumed) > 50
    for one, other in zip(whole, resumed, strict=True):
        same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
        assert same


def test_another_seed_gives_other_weights(prepared, tmp_path):
    for seed in (1, 2):
        recipe.train_locate(prepared, tmp_path / str(seed), replace(OPTIONS, locate_steps=1, seed=seed))
    one, other = (state_of(tmp_path / str(seed), "locate")["net"]["voxels.weight"] for seed in (1, 2))
    assert not torch.equal(one, other)


def test_what_is_finished_is_not_trained_again(prepared, tmp_path):
    recipe.train_locate(prepared, tmp_path, replace(OPTIONS, locate_steps=1))
    before = (tmp_path / "locate.pt").read_bytes()
    recipe.train_locate(prepared, tmp_path, replace(OPTIONS, locate_steps=1))
    assert (tmp_path / "locate.pt").read_bytes() == before


def test_start_takes_the_averaged_weights_of_an_earlier_run(prepared, tmp_path):
    recipe.train_locate(prepared, tmp_path / "first", replace(OPTIONS, locate_steps=1))
    options = replace(OPTIONS, start=tmp_path / "first")
    run = fitting.Run("locate", TinyLocate(), 4, tmp_path / "second", options)
    assert run.resume() == 0
    average = state_of(tmp_path / "first", "locate")["average"]
    assert torch.equal(run.net.voxels.weight, average["module.voxels.weight"])


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    main_recipe(data, out, OPTIONS)
    return out


def test_a_run_leaves_everything_and_the_reader_takes_it(trained):
    assert {path.name for path in trained.iterdir()} == {
        "cache",
        "locate.pt",
        "outline.pt",
        "locate.csv",
        "outline.csv",
        "locate.onnx",
        "outline.onnx",
        "weights.json",
        "MODEL_CARD.md",
        "curves.png",
    }
    assert (trained / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    record = json.loads((trained / "weights.json").read_text("utf-8"))
    assert record["locate"]["steps"] == record["outline"]["steps"] == 4
    assert models.weights_digest(trained) == {name: record[name]["sha256"] for name in ("locate", "outline")}
    card = (trained / "MODEL_CARD.md").read_text("utf-8")
    assert "Trained on 2 cases: sub-a, sub-b." in card
    assert "- locate: 4 steps, last training losses heat " in card
    assert '"seed": 3' in card
    assert "not a medical device" in card
    phantom = make_phantom(**PHANTOM)
    found = segment(phantom.image, SegmentOptions(weights=trained, threads=1))
    assert found.mask.array.shape == phantom.image.array.shape


@pytest.mark.parametrize("name", ["locate", "outline"])
@pytest.mark.parametrize("size", [(32, 32, 32), (16, 48, 32)])
def test_onnx_answers_as_torch_does(trained, name, size):
    net, steps = export.load_average(name, trained)
    assert steps == 4
    assert not net.training
    session = models.load(name, folder=trained, threads=1)
    rng = np.random.default_rng(0)
    hu = rng.uniform(-1500, 3500, (1, 1, *size)).astype(np.float32)
    spots = rng.uniform(-1, 1, hu.shape).astype(np.float32)
    if name == "locate":
        found = session(hu=hu)
        wanted = export._LocateFromHu(net)(torch.from_numpy(hu))
    else:
        found = session(hu=hu, spots=spots)
        wanted = [export._OutlineFromHu(net)(torch.from_numpy(hu), torch.from_numpy(spots))]
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(one - other.detach().numpy()).max() < 1e-3
        assert 0 <= one.min() <= one.max() <= 1


def test_an_exported_file_says_what_it_was_made_for(trained, monkeypatch):
    models.load.cache_clear()
    monkeypatch.setitem(models._EXPECTED, "locate", {**models.LOCATE_INPUT, "spacing_mm": 2.0})
    with pytest.raises(ModelError, match=r"made for other preprocessing \(spacing_mm 3.0, wanted 2.0\)"):
        models.load("locate", folder=trained)


def test_weights_are_stored_in_half(trained):
    import onnx

    model = onnx.load(str(trained / "locate.onnx"))
    kinds = {t.data_type for t in model.graph.initializer if len(t.dims) > 1}
    assert kinds == {onnx.TensorProto.FLOAT16}


def test_a_run_of_one_network_exports_that_one(prepared, tmp_path):
    recipe.train_outline(prepared, tmp_path, replace(OPTIONS, outline_steps=1))
    export.export_onnx(tmp_path)
    assert set(models.weights_digest(tmp_path)) == {"outline"}


def test_a_split_chooses_the_cases(data, tmp_path):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["sub-b"], "held_out": ["sub-a"]}), encoding="utf-8")
    assert [case.name for case in choose_cases(data, split)] == ["sub-b"]
    assert [case.name for case in choose_cases(data, None)] == ["sub-a", "sub-b"]


def test_a_split_that_names_absent_cases_is_refused(data, tmp_path):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["sub-b", "sub-z", "sub-y"]}), encoding="utf-8")
    with pytest.raises(InputError, match=r"the split names cases that are not in .*: sub-y, sub-z"):
        choose_cases(data, split)


def test_nothing_to_locate_is_refused(prepared, tmp_path):
    alone = replace(prepared[0], centers=prepared[0].centers[:1], labels=prepared[0].labels[:1])
    with pytest.raises(
        InputError, match="no case shows two whole vertebrae; the locate network needs at least"
    ):
        recipe.train_locate([alone], tmp_path, OPTIONS)


def test_nothing_to_outline_is_refused(tmp_path):
    with pytest.raises(InputError, match="no case has a mask of its vertebrae; the outline network needs"):
        recipe.train_outline([], tmp_path, OPTIONS)


@pytest.mark.parametrize(
    ("limits", "cases", "wanted"),
    [
        ((1024, 4096), 1005, 1517),
        ((1024, 1200), 1005, 1200),
        ((1024, -1), 9000, 9512),
        ((1024, 4096), 20, None),
    ],
)
def test_the_limit_of_open_files_is_raised_where_it_would_be_met(monkeypatch, limits, cases, wanted):
    resource = pytest.importorskip("resource")
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda kind, values: asked.append(values))
    recipe.allow_open_files(cases)
    assert asked == ([] if wanted is None else [(wanted, limits[1])])


class Fixed(torch.nn.Module):
    """Answers what it was given."""

    def __init__(self, *answers):
        super().__init__()
        self.answers = answers

    def forward(self, x):
        return self.answers if len(self.answers) > 1 else self.answers[0]


def locate_batch(*, tissue=0, level=-1, heat=0.0, known=1.0):
    whole = torch.zeros(1, 4, 4, 4)
    cells = torch.full((1, 2, 2, 2), level)
    return [whole[None], whole + heat, whole + known, whole.long() + tissue, cells]


def test_a_right_answer_costs_next_to_nothing_and_a_wrong_one_much():
    voxels, levels = torch.full((1, 5, 4, 4, 4), -9.0), torch.full((1, 26, 2, 2, 2), -9.0)
    voxels[:, 1] = 9
    levels[:, 3] = 9
    right = locate_loss(Fixed(voxels, levels), locate_batch(level=3))
    assert set(right) == {"heat", "tissue", "level"}
    assert right["heat"] < 0.01
    assert right["tissue"] < 0.01
    wrong = locate_loss(Fixed(voxels, levels), locate_batch(level=4, tissue=1, heat=1.0))
    assert all(wrong[key] > 5 for key in right)
    assert wrong["level"] > right["level"] + 5


def test_the_unknown_teaches_nothing():
    voxels = torch.randn(1, 5, 4, 4, 4)
    losses = locate_loss(
        Fixed(voxels, torch.randn(1, 26, 2, 2, 2)), locate_batch(tissue=UNKNOWN, known=0.0, heat=1.0)
    )
    assert set(losses) == {"heat"}
    assert losses["heat"] == 0


def test_the_outline_loss_falls_from_empty_to_right():
    mask = torch.zeros(1, 1, 8, 8, 8)
    mask[:, :, 2:6, 2:6, 2:6] = 1
    batch = [torch.zeros(1, 1, 8, 8, 8), torch.zeros(1, 1, 8, 8, 8), mask]
    right = outline_loss(Fixed(mask * 40 - 20), batch)
    assert right["dice"] < 0.001
    assert right["cross"] < 0.001
    empty = outline_loss(Fixed(torch.full_like(mask, -20)), batch)
    # 64 voxels of mask, none drawn: 1 - (0 + 20) / (0 + 64 + 20)
    assert float(empty["dice"]) == pytest.approx(1 - 20 / 84, abs=1e-4)
    assert empty["cross"] > 4


def test_the_rate_warms_up_and_falls_to_a_fiftieth(tmp_path):
    run = fitting.Run("locate", TinyLocate(), 1000, tmp_path, replace(OPTIONS, rate=1.0))
    rates = {}
    for number in (0, 99, 500, 999):
        run.step({"heat": run.net.voxels.bias.sum()}, number)
        rates[number] = run.optimizer.param_groups[0]["lr"]
    assert rates[0] == pytest.approx(0.01)
    assert rates[99] == pytest.approx(0.901**0.9)
    assert rates[500] == pytest.approx(0.5**0.9)
    assert rates[999] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("wanted", "asked"), [(12, [(case, 2) for case in "abcde"]), (2, [("a", 1), ("e", 1)]), (0, [])]
)
def test_collapsed_columns_are_spread_over_the_cases(monkeypatch, tmp_path, wanted, asked):
    drawn = []
    monkeypatch.setattr(recipe, "_open_outlined", lambda case, cache, options: case)
    monkeypatch.setattr(
        recipe, "prepare_collapsed", lambda case, cache, *, draws, seed: drawn.append((case, draws)) or []
    )
    recipe._draw_collapsed(list("abcde"), tmp_path, TrainOptions(collapsed=wanted))
    assert drawn == asked


def test_a_thin_scan_without_a_mask_is_outlined_if_it_shows_a_column(prepared, tmp_path, monkeypatch):
    whole = prepared[0]
    bare = replace(whole, vertebrae=np.zeros((0, 0, 0), np.uint8), spacing_mm=np.array([1.0, 1.0, 2.5]))
    answers = {"x": bare, "x outlined": whole}
    monkeypatch.setattr(recipe, "prepare", lambda case, cache, spacing_mm: answers[case.name])
    monkeypatch.setattr(
        recipe, "outline_case", lambda case, folder, threads: replace(case, name="x outlined")
    )
    assert recipe._open_outlined(Case("x"), tmp_path, TrainOptions()) is whole
    answers["x"] = replace(bare, spacing_mm=np.array([1.0, 1.0, 5.0]))
    assert recipe._open_outlined(Case("x"), tmp_path, TrainOptions()) is None

    def find_nothing(case, folder, threads):
        raise InputError("no column")

    answers["x"] = bare
    monkeypatch.setattr(recipe, "outline_case", find_nothing)
    assert recipe._open_outlined(Case("x"), tmp_path, TrainOptions()) is None
