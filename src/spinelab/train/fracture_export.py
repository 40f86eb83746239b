"""The fracture network as an ONNX file with its preprocessing and calibration inside, and its model card."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spinelab.models import FRACTURE_INPUT, WINDOW_HU
from spinelab.nets.fracture import LOSS_UNIT_PERCENT, SLICES, FractureNet
from spinelab.tasks.fracture_crop import CROP_SHAPE
from spinelab.tasks.fracture_network import Combination
from spinelab.train.curves import read_curves
from spinelab.train.export import bind_facts, load_average, record_weights
from spinelab.train.fracture_batches import compose
from spinelab.train.segment import options_as_json


class _FractureFromHu(nn.Module):
    """HU and outlines in, per cent and probabilities out."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, hu: Tensor, outline: Tensor, in_view: Tensor, facts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        lost, spread, grave, shape = self.net(compose(hu, outline, in_view), facts)
        return (
            lost * LOSS_UNIT_PERCENT,
            torch.exp(spread) * LOSS_UNIT_PERCENT,
            torch.sigmoid(grave),
            torch.softmax(shape, 1),
        )


def export_fracture(
    folder: Path, combination: Combination, cases: dict[str, tuple[str, ...]], options: Any
) -> None:
    """Writes ``fracture.onnx``, ``weights.json`` and ``MODEL_CARD.md`` beside the checkpoint.

    Args:
        folder: Of the checkpoint ``fracture.pt``.
        combination: How geometry and the network are weighed; it travels inside the file.
        cases: What they were used as -> names of the training cases.
        options: Of the recipe.
    """
    net, steps = load_average("fracture", folder)
    assert isinstance(net, FractureNet)
    path = folder / "fracture.onnx"
    picture = torch.zeros(1, SLICES, *CROP_SHAPE)
    names, answers = ["hu", "outline", "in_view", "facts"], ["lost", "spread", "probability", "shapes"]
    torch.onnx.export(
        _FractureFromHu(net).eval(),
        (picture, picture, picture, torch.zeros(1, 2)),
        str(path),
        input_names=names,
        output_names=answers,
        dynamic_axes={key: {0: "n"} for key in (*names, *answers)},
        opset_version=17,
        dynamo=False,
    )
    facts = {**FRACTURE_INPUT, "window_hu": list(WINDOW_HU), "steps": steps}
    bind_facts(path, {**facts, "combination": asdict(combination)})
    record_weights("fracture", path, net, steps)
    _write_card(folder, combination, cases, options)


def _write_card(
    folder: Path, combination: Combination, cases: dict[str, tuple[str, ...]], options: Any
) -> None:
    points = {loss: values[-1] for loss, values in read_curves(folder / "fracture.csv").items()}
    step = max(step for step, _ in points.values())
    lines = [
        "# Model card: spinelab fracture network",
        "",
        "One network for CT: how much height a vertebral body has lost, from five sagittal slices in its own",
        "frame. Trained on simulated collapse of real bodies; it has seen hardly any true fracture. Research",
        "software, not a medical device.",
        "",
        *(
            f"- {use}: {len(names)} cases ({', '.join(sorted(names)) or 'none'})"
            for use, names in cases.items()
        ),
        "",
        f"Options: `{json.dumps(options_as_json(options), sort_keys=True)}`",
        "",
        f"Weighed with geometry as fitted on patients left out: `{json.dumps(asdict(combination))}`",
        "",
        f"{step} steps, last training losses {', '.join(f'{k} {v:.3g}' for k, (_, v) in points.items())}.",
    ]
    (folder / "MODEL_CARD.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
