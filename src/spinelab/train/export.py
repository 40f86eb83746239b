"""Checkpoints become ONNX files with their preprocessing inside, and a model card."""

import hashlib
import json
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from spinelab.models import LANDMARKS_INPUT, LOCATE_INPUT, OUTLINE_INPUT, WINDOW_HU, scale_hu
from spinelab.nets.fracture import FractureNet
from spinelab.nets.landmarks import OFFSET_UNIT_MM, LandmarkNet
from spinelab.nets.unet import LocateNet, OutlineNet, count_parameters
from spinelab.train.curves import read_curves

_SAMPLE_SIDES = {"locate": (96, 96, 96), "outline": (64, 64, 64)}


class _LocateFromHu(nn.Module):
    """HU in, probabilities out: the window and the final activations belong to the file."""

    def __init__(self, net: LocateNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, hu: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        voxels, levels = self.net(scale_hu(hu))
        return torch.sigmoid(voxels[:, :1]), torch.softmax(voxels[:, 1:], 1), torch.softmax(levels, 1)


class _OutlineFromHu(nn.Module):
    def __init__(self, net: OutlineNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, hu: Tensor, spots: Tensor) -> Tensor:
        return torch.sigmoid(self.net(torch.cat([scale_hu(hu), spots], dim=1)))


def load_average(name: str, folder: Path) -> tuple[nn.Module, int]:
    """Rebuilds the averaged network of a checkpoint; returns it in evaluation mode, and its steps."""
    state = torch.load(folder / f"{name}.pt", map_location="cpu", weights_only=True)
    kinds: dict[str, type[nn.Module]] = {
        "locate": LocateNet,
        "outline": OutlineNet,
        "landmarks": LandmarkNet,
        "fracture": FractureNet,
    }
    net = kinds[name]()
    weights = {k[len("module.") :]: v for k, v in state["average"].items() if k.startswith("module.")}
    net.load_state_dict(weights)
    return net.eval(), int(state["step"])


def export_onnx(folder: Path) -> None:
    """Writes ``locate.onnx`` and ``outline.onnx`` beside the checkpoints, and ``weights.json``."""
    entries = {}
    for name, expected in (("locate", LOCATE_INPUT), ("outline", OUTLINE_INPUT)):
        if not (folder / f"{name}.pt").exists():
            continue
        net, steps = load_average(name, folder)
        path = folder / f"{name}.onnx"
        _export(name, net, path)
        bind_facts(path, {**expected, "window_hu": list(WINDOW_HU), "steps": steps})
        entries[name] = _record(path, net, steps)
    _write_record(folder, entries)


def _record(path: Path, net: nn.Module, steps: int) -> dict[str, Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"file": path.name, "sha256": digest, "parameters": count_parameters(net), "steps": steps}


def record_weights(name: str, path: Path, net: nn.Module, steps: int) -> None:
    """Writes ``weights.json`` beside the file of the one network of a folder."""
    _write_record(path.parent, {name: _record(path, net, steps)})


def _write_record(folder: Path, entries: dict[str, dict[str, Any]]) -> None:
    (folder / "weights.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def _export(name: str, net: nn.Module, path: Path) -> None:
    shape = (1, 1, *_SAMPLE_SIDES[name])
    dynamic = {0: "n", 2: "i", 3: "j", 4: "k"}
    if name == "locate":
        assert isinstance(net, LocateNet)
        wrapped: nn.Module = _LocateFromHu(net)
        inputs: tuple[Tensor, ...] = (torch.zeros(shape),)
        names, outputs = ["hu"], ["heat", "tissue", "levels"]
    else:
        assert isinstance(net, OutlineNet)
        wrapped = _OutlineFromHu(net)
        inputs = (torch.zeros(shape), torch.zeros(shape))
        names, outputs = ["hu", "spots"], ["mask"]
    torch.onnx.export(
        wrapped.eval(),
        inputs,
        str(path),
        input_names=names,
        output_names=outputs,
        dynamic_axes=dict.fromkeys([*names, *outputs], dynamic),
        opset_version=17,
        dynamo=False,
    )


def bind_facts(path: Path, facts: dict[str, Any]) -> None:
    """Stores the weights as float16 and the preprocessing as metadata inside the file."""
    model = onnx.load(str(path))
    halves = []
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1:
            values = onnx.numpy_helper.to_array(tensor).astype("float16")
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, name + "_half"))
            halves.append(onnx.helper.make_node("Cast", [name + "_half"], [name], to=onnx.TensorProto.FLOAT))
    for node in reversed(halves):
        model.graph.node.insert(0, node)
    onnx.helper.set_model_props(model, {"spinelab": json.dumps(facts, sort_keys=True)})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def write_card(folder: Path, cases: list[str], options: Any) -> None:
    """Writes ``MODEL_CARD.md``: what was trained on what, for how long, with what losses."""
    from spinelab.train.segment import options_as_json

    lines = [
        "# Model card: spinelab segmentation networks",
        "",
        "Two networks for CT: *locate* (body centres, tissue and level evidence at 3 mm) and *outline* (one",
        "vertebra in its own frame at 1.25 mm). Research software, not a medical device.",
        "",
        f"Trained on {len(cases)} cases: {', '.join(sorted(cases))}.",
        "",
        f"Options: `{json.dumps(options_as_json(options), sort_keys=True)}`",
        "",
    ]
    for name in ("locate", "outline"):
        curve = folder / f"{name}.csv"
        if curve.exists():
            points = {loss: values[-1] for loss, values in read_curves(curve).items()}
            step = max(step for step, _ in points.values())
            losses = ", ".join(f"{loss} {value:.4g}" for loss, (_, value) in points.items())
            lines.append(f"- {name}: {step} steps, last training losses {losses}")
    (folder / "MODEL_CARD.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


class LandmarkAnswers(nn.Module):
    """The landmark network as its file answers: heat, offsets and spread in mm, probabilities of levels."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, scan: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Takes ``scan`` (n, 2, i, j, k) as `LandmarkNet` does."""
        heat, offsets, spread, levels = self.net(scan)
        return (
            torch.sigmoid(heat),
            offsets * OFFSET_UNIT_MM,
            torch.exp(spread) * OFFSET_UNIT_MM,
            torch.softmax(levels, 1),
        )


def export_landmarks(folder: Path, sources: dict[str, list[str]], options: Any) -> None:
    """Writes ``landmarks.onnx``, ``weights.json`` and ``MODEL_CARD.md`` beside the checkpoint.

    The file takes what `spinelab.tasks.mr_volume` makes of a scan and answers in mm and probabilities.
    `sources` names what was trained on, by the way it was used.
    """
    from spinelab.train.segment import options_as_json

    net, steps = load_average("landmarks", folder)
    path = folder / "landmarks.onnx"
    answers = ["heat", "offsets_mm", "spread_mm", "levels"]
    torch.onnx.export(
        LandmarkAnswers(net).eval(),
        (torch.zeros(1, 2, 8, 32, 32),),
        str(path),
        input_names=["scan"],
        output_names=answers,
        dynamic_axes={key: {0: "n", 2: "i", 3: "j", 4: "k"} for key in ("scan", *answers)},
        opset_version=17,
        dynamo=False,
    )
    bind_facts(path, {**LANDMARKS_INPUT, "steps": steps})
    record_weights("landmarks", path, net, steps)
    points = {loss: values[-1][1] for loss, values in read_curves(folder / "landmarks.csv").items()}
    lines = [
        "# Model card: spinelab landmark network",
        "",
        "One network for sagittal MR of the lower back: body centres, four corners of each body in its",
        "mid-sagittal plane, and what level a body looks like. Research software, not a medical device.",
        "",
        *[f"{use} ({len(names)}): {', '.join(sorted(names)) or 'none'}.\n" for use, names in sources.items()],
        "Names above T11 are no more than counted on from below.",
        "",
        f"Options: `{json.dumps(options_as_json(options), sort_keys=True)}`",
        "",
        f"{steps} steps, last training losses {', '.join(f'{k} {v:.3g}' for k, v in points.items())}.",
    ]
    (folder / "MODEL_CARD.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
