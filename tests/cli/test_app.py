"""Every way a command can end: what is printed where, and the exit code."""

import json
import re
import sys

import pytest

import spinelab
from spinelab.cli import main
from spinelab.cli.app import VERBS, run
from spinelab.errors import ModelError, SpinelabError
from spinelab.io import read_mask, write_mask
from spinelab.tasks import analyze as task
from spinelab.tasks.analyze import OUTPUTS
from tests.phantom import make_phantom
from tests.scan_files import save_scan, truth_for


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(levels=("L1", "L2"), spacing_mm=(2.5, 2.5, 2.5))


@pytest.fixture(scope="module")
def folder(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    save_scan(phantom.image, folder / "good.nii.gz")
    save_scan(phantom.image, folder / "other.nii.gz")
    write_mask(phantom.mask, folder / "good_vert.nii.gz")
    (folder / "broken.nii.gz").write_bytes(b"\x1f\x8b no")
    return folder


@pytest.fixture
def _known(phantom, monkeypatch):
    monkeypatch.setattr(task, "segment", truth_for(phantom))
    monkeypatch.setattr(task, "weights_digest", lambda folder: {"locate": "ab"})


def one_line(text):
    assert text.startswith("spinelab: ")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text


def test_no_command_shows_the_help(capsys):
    assert run([]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in (*VERBS, "train"))


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"spinelab {spinelab.__version__}\n"


def test_main_exits_with_the_code(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["spinelab", "nonsense"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "No such command" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["analyze", "x.nii.gz"], "Missing option '--out'"),
        (["analyze", "x.nii.gz", "-o", "y", "--nonsense"], "No such option"),
        (["analyze", "x.nii.gz", "-o", "y", "--threads", "many"], "Invalid value for '--threads'"),
        (["train"], "Missing command"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(arguments, message, capsys):
    assert run(arguments) == 2
    assert message in one_line(capsys.readouterr().err)


@pytest.mark.usefixtures("_known")
def test_analyze_tells_what_it_found_and_where_it_is(folder, tmp_path, capsys):
    assert run(["analyze", str(folder / "good.nii.gz"), "-o", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "good.nii.gz: 2 vertebrae, L1 to L2; names right with probability 0.90" in printed.out
    assert str(tmp_path / "good_report.html") in printed.out
    assert printed.err == ""
    assert len(list(tmp_path.iterdir())) == len(OUTPUTS)


@pytest.mark.usefixtures("_known")
def test_quiet_says_nothing(folder, tmp_path, capsys):
    assert run(["analyze", str(folder / "good.nii.gz"), "-o", str(tmp_path), "--quiet"]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


@pytest.mark.usefixtures("_known")
def test_json_is_one_document_with_the_spine(folder, tmp_path, capsys):
    assert run(["segment", str(folder / "good.nii.gz"), "-o", str(tmp_path), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["failed"] == []
    assert data["results"][0]["input"] == "good.nii.gz"
    assert [v["level"] for v in data["results"][0]["spine"]["vertebrae"]] == ["L1", "L2"]
    assert set(data["results"][0]["files"]) == {"mask", "centroids"}


@pytest.mark.usefixtures("_known")
def test_a_batch_names_the_broken_scan_and_does_the_others(folder, tmp_path, capsys):
    scans = [str(folder / f"{name}.nii.gz") for name in ("good", "broken", "other")]
    assert run(["segment", *scans, "-o", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert "good.nii.gz: 2 vertebrae" in printed.out
    assert "other.nii.gz: 2 vertebrae" in printed.out
    lines = printed.err.splitlines()
    assert lines[0].startswith("spinelab: broken.nii.gz: ")
    assert lines[1] == "spinelab: 1 of 3 scans failed: broken.nii.gz"
    assert not list(tmp_path.glob("broken*"))


@pytest.mark.usefixtures("_known")
def test_a_batch_survives_the_unexpected(folder, tmp_path, capsys, monkeypatch):
    known = task.segment
    calls = []

    def stumble(*arguments, **settings):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("oh")
        return known(*arguments, **settings)

    monkeypatch.setattr(task, "segment", stumble)
    scans = [str(folder / f"{name}.nii.gz") for name in ("good", "other")]
    assert run(["segment", *scans, "-o", str(tmp_path), "--json"]) == 2
    data = json.loads(capsys.readouterr().out)
    assert data["failed"] == [{"input": "good.nii.gz", "error": "unexpected error, RuntimeError: oh"}]
    assert data["results"][0]["input"] == "other.nii.gz"


def test_one_broken_scan_is_one_line(folder, tmp_path, capsys):
    assert run(["analyze", str(folder / "broken.nii.gz"), "-o", str(tmp_path / "out")]) == 2
    one_line(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_scans_of_one_name_are_refused_before_the_work(tmp_path, capsys):
    scans = [str(tmp_path / "a" / "ct.nii.gz"), str(tmp_path / "b" / "ct.nii.gz")]
    assert run(["analyze", *scans, "-o", str(tmp_path)]) == 2
    assert "would both be called 'ct'; rename one" in one_line(capsys.readouterr().err)


def test_an_unexpected_error_is_one_line_and_debug_shows_the_rest(folder, tmp_path, capsys, monkeypatch):
    def stumble(*_, **__):
        raise RuntimeError("one\ntwo")

    monkeypatch.setattr(task, "segment", stumble)
    arguments = ["analyze", str(folder / "good.nii.gz"), "-o", str(tmp_path)]
    assert run(arguments) == 2
    text = one_line(capsys.readouterr().err)
    assert "unexpected error, please report it: RuntimeError: one two (run again with --debug" in text
    assert run([*arguments, "--debug"]) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interruption_is_one_line(folder, tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(task, "segment", stop)
    assert run(["analyze", str(folder / "good.nii.gz"), "-o", str(tmp_path / "new")]) == 2
    assert "stopped; nothing half written was left" in one_line(capsys.readouterr().err)
    assert not (tmp_path / "new").exists()


def test_measure(folder, tmp_path, capsys):
    arguments = [
        "measure",
        str(folder / "good.nii.gz"),
        str(folder / "good_vert.nii.gz"),
        "-o",
        str(tmp_path),
    ]
    assert run(arguments) == 0
    assert "good.nii.gz: 2 vertebrae measured" in capsys.readouterr().out
    assert run([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["spine"]["vertebrae"][0]["heights_mm"]["middle"] > 15
    assert run([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_convert_labels(folder, tmp_path, capsys):
    source, target = str(folder / "good_vert.nii.gz"), tmp_path / "ts.nii.gz"
    arguments = ["convert-labels", source, str(target), "--from", "verse", "--to", "totalsegmentator_v2"]
    assert run(arguments) == 0
    assert read_mask(target).labels() == (30, 31)
    assert capsys.readouterr().out == f"{target}: totalsegmentator_v2\n"
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == ["ts.nii.gz"]


def test_convert_labels_refuses_loss_and_says_how_to_go_on(folder, tmp_path, capsys):
    source, target = str(folder / "good_vert.nii.gz"), tmp_path / "v.nii.gz"
    arguments = ["convert-labels", source, str(target), "--from", "totalspineseg"]
    assert run(arguments) == 2
    assert "no part of a spine in totalspineseg" in one_line(capsys.readouterr().err)
    assert not target.exists()
    assert run([*arguments, "--drop"]) == 0
    assert run(["convert-labels", source, str(target), "--from", "nonsense"]) == 2
    assert "no label scheme 'nonsense'; choose one of" in one_line(capsys.readouterr().err)


def test_evaluate_prints_every_metric(folder, capsys):
    mask = str(folder / "good_vert.nii.gz")
    assert run(["evaluate", mask, mask, "--resamples", "10"]) == 0
    out = capsys.readouterr().out
    assert "1 scan, 2 reference vertebrae" in out
    assert re.search(r"dice +1\.000 \(1\.000 to 1\.000\)", out)
    assert "a missed vertebra counts 100 mm in hausdorff95_mm" in out


def test_evaluate_names_the_mistakes(folder, phantom, tmp_path, capsys):
    converted = phantom.mask.array.copy()
    converted[converted == 20] = 19
    write_mask(type(phantom.mask)(converted, phantom.mask.geometry), tmp_path / "p.nii.gz")
    reference = str(folder / "good_vert.nii.gz")
    assert run(["evaluate", reference, str(tmp_path / "p.nii.gz"), "--resamples", "0"]) == 0
    out = capsys.readouterr().out
    assert "good: L1 called T12" in out
    assert re.search(r"recall +0\.500 ", out)
    assert run(["evaluate", reference, str(tmp_path / "p.nii.gz"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["metrics"]["id_rate"]["value"] == 0.5
    assert data["scans"][0]["vertebrae"][0]["found_as"] == "T12"


def test_evaluate_tells_of_missing_and_ignored_cases(folder, phantom, tmp_path, capsys):
    for side, names in (("truth", "ab"), ("guess", "ac")):
        (tmp_path / side).mkdir()
        for name in names:
            write_mask(phantom.mask, tmp_path / side / f"{name}_vert.nii.gz")
    assert run(["evaluate", str(tmp_path / "truth"), str(tmp_path / "guess")]) == 0
    out = capsys.readouterr().out
    assert "b: no prediction, every vertebra counts as missed" in out
    assert "without a reference, left out: c" in out


def test_info(capsys, monkeypatch):
    from spinelab.cli import info

    monkeypatch.setattr(info, "weights_digest", lambda: {"locate": "abc"})
    monkeypatch.setattr(info, "digest_of_reader", lambda _: {"fracture": "def"})
    assert run(["info"]) == 0
    out = capsys.readouterr().out
    assert f"spinelab     {spinelab.__version__}" in out
    assert "weights      locate sha256 abc" in out
    assert run(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights"] == {"locate": "abc", "fracture": "def"}


def test_missing_weights_are_told(capsys, monkeypatch):
    from spinelab.cli import info

    def missing():
        raise ModelError("no readable weights.json in weights: reinstall spinelab")

    monkeypatch.setattr(info, "weights_digest", missing)
    assert run(["info"]) == 2
    assert "reinstall spinelab" in one_line(capsys.readouterr().err)


def test_training_without_torch_names_the_extra(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith(("spinelab.train", "spinelab.nets"))]:
        monkeypatch.delitem(sys.modules, name)
    assert run(["train", "segment", "--data", "x"]) == 2
    text = one_line(capsys.readouterr().err)
    assert "training needs the package torch, which is not installed; pip install spinelab[train]" in text


@pytest.mark.train
def test_training_flags_reach_the_recipe(capsys, monkeypatch, tmp_path):
    recipe = pytest.importorskip("spinelab.train.segment")
    calls = []
    monkeypatch.setattr(recipe, "main_recipe", lambda *given: calls.append(given))
    arguments = ["train", "segment", "--data", str(tmp_path), "-o", str(tmp_path / "run"), "--batch", "3"]
    assert run(arguments) == 0
    assert calls == [(tmp_path, tmp_path / "run", recipe.TrainOptions(batch=3))]


@pytest.mark.train
def test_training_mistakes_are_one_line(capsys):
    pytest.importorskip("spinelab.train.segment")
    assert run(["train", "segment"]) == 2
    assert "Missing option '--data'" in one_line(capsys.readouterr().err)


def test_every_error_of_ours_is_printed_as_it_is(capsys, monkeypatch):
    from spinelab.cli import info

    def fail():
        raise SpinelabError("first\n  second")

    monkeypatch.setattr(info, "weights_digest", fail)
    assert run(["info"]) == 2
    assert capsys.readouterr().err == "spinelab: first second\n"
