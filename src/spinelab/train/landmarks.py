"""The landmark recipe: bodies and corners in sagittal MR from a few labelled persons."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spinelab.errors import InputError
from spinelab.nets.landmarks import POINTS, LandmarkNet
from spinelab.train.fitting import Run, fit
from spinelab.train.mr_cases import MrCase, PreparedMr, find_mr_cases, prepare_mr
from spinelab.train.mr_samples import MrSampler


@dataclass(frozen=True)
class LandmarkOptions:
    """How to train.

    Attributes:
        steps: Steps in all.
        batch: Samples a step.
        rate: Peak learning rate.
        seed: Seed of every draw.
        device: "cpu" or "cuda".
        threads: CPU threads, 0 for torch's own choice.
        split: JSON file whose "labelled" names the training cases by set; none: all with masks.
        start: Folder of an earlier run whose weights to start from.
        save_every: Steps between checkpoints.
        simulate: Bend the columns of some of the samples.
    """

    steps: int = 3000
    batch: int = 2
    rate: float = 3e-3
    seed: int = 1
    device: str = "cpu"
    threads: int = 0
    split: Path | None = None
    start: Path | None = None
    save_every: int = 100
    simulate: bool = True


def landmark_recipe(labelled: Path, out: Path, options: LandmarkOptions) -> None:
    """Trains the landmark network on the labelled scans of a folder and writes everything to `out`.

    Raises:
        InputError: No case has a mask of its bodies, or the split names cases that are not there.
    """
    from spinelab.train.export import export_landmarks

    torch.set_flush_denormal(True)
    if options.threads:
        torch.set_num_threads(options.threads)
    cases = choose_labelled(labelled, options.split)
    train_landmarks(prepare_mr(cases), out, options)
    export_landmarks(out, [case.name for case in cases], options)


def choose_labelled(folder: Path, split: Path | None) -> list[MrCase]:
    """Lists the labelled cases of a folder: those a split names, or all."""
    cases = [case for case in find_mr_cases(folder) if case.bodies is not None]
    if not cases:
        raise InputError(f"no scan in {folder} has a mask NAME_bodies.nii.gz beside it; label at least one")
    if split is None:
        return cases
    by_set = json.loads(split.read_text(encoding="utf-8"))["labelled"]
    wanted = {name for names in by_set.values() for name in names}
    missing = sorted(wanted - {case.name for case in cases})
    if missing:
        raise InputError(f"the split names cases that are not labelled in {folder}: {', '.join(missing)}")
    return [case for case in cases if case.name in wanted]


def train_landmarks(cases: list[PreparedMr], out: Path, options: LandmarkOptions) -> None:
    """Trains the network; writes ``landmarks.pt`` and ``landmarks.csv``."""
    sampler = MrSampler(cases, simulate=options.simulate)

    def batch(rng: np.random.Generator) -> list[Tensor]:
        drawn = [list(vars(sampler.draw(rng)).values()) for _ in range(options.batch)]
        return [torch.stack(part) for part in zip(*drawn, strict=True)]

    torch.manual_seed(options.seed)
    fit(Run("landmarks", LandmarkNet(), options.steps, out, options), batch, landmark_loss)


def landmark_loss(net: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    """Losses of the landmark network on a batch of `MrSample` fields."""
    x, heat, known, offsets, level = batch
    logits, told, spread, levels = net(x)
    weight = known * (1 + 60 * heat)
    parts = functional.binary_cross_entropy_with_logits(logits[:, 0], heat, reduction="none")
    losses = {"heat": 10 * (parts * weight).sum() / weight.sum().clamp(min=1)}
    target = offsets.reshape(len(offsets), POINTS, 3, *offsets.shape[2:])
    marked = torch.isfinite(target).all(2)
    if bool(marked.any()):
        error = (told.reshape(target.shape) - target.nan_to_num()).abs().mean(2)[marked]
        losses["offset"] = 4 * error.mean()
        log_scale = spread[marked]
        losses["spread"] = 0.2 * (error.detach() * torch.exp(-log_scale) + log_scale).mean()
    chosen = level >= 0
    if bool(chosen.any()):
        logits = levels.permute(0, 2, 3, 4, 1)[chosen]
        losses["level"] = functional.cross_entropy(logits, level[chosen], label_smoothing=0.03)
    return losses
