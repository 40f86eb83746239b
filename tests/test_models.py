"""Weights are checked before they are used. The networks here are made by hand from ONNX nodes."""

import hashlib
import json

import numpy as np
import pytest

from spinelab import models
from spinelab.errors import ModelError
from spinelab.models import LOCATE_INPUT, OUTLINE_INPUT, WINDOW_HU, scale_hu

onnx = pytest.importorskip("onnx", reason="makes its networks with onnx (extra: train)")
pytestmark = pytest.mark.train
FACTS = {"locate": LOCATE_INPUT, "outline": OUTLINE_INPUT}


@pytest.fixture(autouse=True)
def _forget():
    models.load.cache_clear()


def doubling(facts):
    """An ONNX file that doubles its input `hu`."""
    shape = ["n", 1, "i", "j", "k"]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["hu", "hu"], ["heat"])],
        "doubling",
        [value("hu", onnx.TensorProto.FLOAT, shape)],
        [value("heat", onnx.TensorProto.FLOAT, shape)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    if facts is not None:
        onnx.helper.set_model_props(model, {"spinelab": json.dumps(facts)})
    return model.SerializeToString()


def store(folder, name="locate", *, facts="right", digest=None):
    right = {**FACTS[name], "window_hu": list(WINDOW_HU), "steps": 7}
    data = doubling(right if facts == "right" else facts)
    (folder / f"{name}.onnx").write_bytes(data)
    entry = {"file": f"{name}.onnx", "sha256": digest or hashlib.sha256(data).hexdigest()}
    (folder / "weights.json").write_text(json.dumps({name: entry}), encoding="utf-8")
    return entry


@pytest.mark.parametrize("name", ["locate", "outline"])
def test_right_weights_load_and_answer(tmp_path, name):
    entry = store(tmp_path, name)
    net = models.load(name, folder=tmp_path, threads=1)
    assert (net.name, net.sha256) == (name, entry["sha256"])
    x = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 2, 2)
    assert np.array_equal(net(hu=x)[0], 2 * x)
    assert models.weights_digest(tmp_path) == {name: entry["sha256"]}


def test_a_network_is_loaded_once(tmp_path):
    store(tmp_path)
    assert models.load("locate", folder=tmp_path) is models.load("locate", folder=tmp_path)


def test_a_damaged_file_is_refused(tmp_path):
    store(tmp_path, digest="f" * 64)
    with pytest.raises(ModelError, match=r"locate.onnx is damaged: sha256 \w{12}\.\.\., wanted ffffffffffff"):
        models.load("locate", folder=tmp_path)


def test_a_missing_file_is_refused(tmp_path):
    store(tmp_path)
    (tmp_path / "locate.onnx").unlink()
    with pytest.raises(ModelError, match=r"weights file locate.onnx is missing in .*; reinstall spinelab"):
        models.load("locate", folder=tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"spacing_mm": 2.0}, r"spacing_mm 2.0, wanted 3.0"),
        ({"axes": "RAS"}, r"axes 'RAS', wanted 'LPS'"),
        ({"window_hu": [-1000, 1000]}, r"window_hu \[-1000, 1000\], wanted \[-400.0, 1200.0\]"),
        ({"name": "outline"}, r"name 'outline', wanted 'locate'"),
        ({"multiple": 32}, r"multiple 32, wanted 16"),
    ],
)
def test_weights_for_other_preprocessing_are_refused(tmp_path, change, told):
    store(tmp_path, facts={**LOCATE_INPUT, "window_hu": list(WINDOW_HU), **change})
    with pytest.raises(ModelError, match=rf"locate.onnx was made for other preprocessing \({told}\)"):
        models.load("locate", folder=tmp_path)


def test_a_file_that_does_not_say_what_it_was_made_for_is_refused(tmp_path):
    store(tmp_path, facts=None)
    with pytest.raises(
        ModelError, match=r"other preprocessing \(name None, wanted 'locate'; spacing_mm None"
    ):
        models.load("locate", folder=tmp_path)


def test_an_unknown_network_is_refused_with_the_known_ones(tmp_path):
    store(tmp_path)
    with pytest.raises(ModelError, match="unknown network 'localise'; wanted one of locate, outline"):
        models.load("localise", folder=tmp_path)


def test_a_network_the_folder_lacks_is_refused(tmp_path):
    store(tmp_path)
    with pytest.raises(ModelError, match=r"no network 'outline' in .*/weights.json; reinstall spinelab, or"):
        models.load("outline", folder=tmp_path)


@pytest.mark.parametrize("text", ["", "{", "not json"])
def test_an_unreadable_record_is_refused(tmp_path, text):
    (tmp_path / "weights.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"no readable weights.json in"):
        models.load("locate", folder=tmp_path)


def test_a_folder_without_a_record_is_refused_by_its_name(tmp_path):
    with pytest.raises(ModelError, match=r"no readable weights.json in mine; reinstall spinelab, or name"):
        models.weights_digest(tmp_path / "mine")


@pytest.mark.parametrize("text", ["[]", '{"locate": "locate.onnx"}', '{"locate": {"file": "locate.onnx"}}'])
def test_a_record_without_file_and_hash_is_refused(tmp_path, text):
    (tmp_path / "weights.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"does not give a file and sha256 a network"):
        models.load("locate", folder=tmp_path)


@pytest.mark.parametrize("device", ["cuda", "tpu"])
def test_a_device_that_is_not_there_is_refused(tmp_path, monkeypatch, device):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    store(tmp_path)
    with pytest.raises(ModelError, match=f"device '{device}' is not available; use 'cpu', or install"):
        models.load("locate", folder=tmp_path, device=device)


def test_the_window_maps_to_one_either_side_of_zero():
    assert scale_hu(np.array([-3024.0, -400, 400, 1200, 3071])).tolist() == [-1, -1, 0, 1, 1]
