"""Pre-training on scans without labels: features that tell places apart whatever the contrast.

After Chaitanya, Erdil, Karani and Konukoglu 2020 (NeurIPS; "Contrastive learning of global and local features
for medical image segmentation with limited annotations"). Each sample is looked at in two contrasts.
*Local*: a cell must be likest to the same cell in the other contrast among far cells of the same sample.
*Global*: a sample must be likest to its other contrast, and to samples from about the same height of other
scans, among all of the batch.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spinelab.nets.contrast import ContrastNet
from spinelab.nets.landmarks import LandmarkNet
from spinelab.tasks.mr_volume import ACROSS, STEP_MM
from spinelab.train.fitting import FitOptions, Run, fit
from spinelab.train.mr_cases import PreparedMr
from spinelab.train.mr_samples import draw_place, draw_view, look, make_grid

#: Samples a step; each is seen twice.
BATCH = 4
#: Cells compared in each sample, and how near one to another no difference is asked for.
_CELLS, _SAME_MM = 192, 14.0
_TEMPERATURE = 0.1
#: Samples whose heights in their scans differ by less than this share of the scan are of one place.
_SAME_HEIGHT = 0.08
_CELL_MM = (STEP_MM * ACROSS, 2 * STEP_MM, 2 * STEP_MM)


def pretrain(cases: Sequence[PreparedMr], steps: int, out: Path, options: FitOptions) -> LandmarkNet:
    """Trains a landmark network on scans whatever is marked in them; writes ``contrast.pt`` and its curve."""
    volumes = [torch.from_numpy(np.stack([case.array, case.seen])) for case in cases]

    def batch(rng: np.random.Generator) -> list[Tensor]:
        drawn = []
        for number in rng.integers(len(cases), size=BATCH):
            drawn.append(draw_pair(cases[number], volumes[number], rng))
        return [torch.stack(part) for part in zip(*drawn, strict=True)]

    torch.manual_seed(options.seed)
    run = Run("contrast", ContrastNet(LandmarkNet()), steps, out, options)
    fit(run, batch, contrast_loss)
    trained = run.average.module
    assert isinstance(trained, ContrastNet)
    return trained.net


def draw_pair(case: PreparedMr, volume: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draws a sample in two contrasts, (2, i, j, k) each, and its height in the scan (0 feet, 1 head)."""
    low, high = (np.array(edge) * STEP_MM for edge in ((0, 0, 0), case.array.shape))
    share = rng.uniform((0.35, 0.2, 0.1), (0.65, 0.8, 0.9))
    source = draw_place(make_grid(), low + share * (high - low), rng)
    view, _ = draw_view(case, source, rng)
    first, second = (look(volume, source, view, rng) for _ in range(2))
    return first, second, torch.tensor(share[2])


def contrast_loss(net: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    """Local and global loss of (n, 2, i, j, k) samples in two contrasts and their heights (n,)."""
    first, second, height = batch
    count = len(first)
    whole, local = net(torch.cat([first, second]))
    seen = functional.max_pool3d(first[:, 1:] * second[:, 1:], (1, 2, 2))[:, 0] > 0
    parts = [_tell_cells_apart(*pair) for pair in zip(local[:count], local[count:], seen, strict=True)]
    return {"local": torch.stack(parts).mean(), "global": 0.3 * _tell_samples_apart(whole, height)}


def _tell_cells_apart(first: Tensor, second: Tensor, seen: Tensor) -> Tensor:
    """InfoNCE over cells seen of vectors (c, i, j, k) in two contrasts."""
    places = torch.nonzero(seen)
    places = places[torch.randperm(len(places), device=seen.device)[:_CELLS]]
    if len(places) < 2:
        return 0.0 * first.sum()
    i, j, k = places.T
    likeness = first[:, i, j, k].T @ second[:, i, j, k] / _TEMPERATURE
    where = places * torch.tensor(_CELL_MM, device=seen.device)
    near = (torch.cdist(where, where) < _SAME_MM) & ~torch.eye(
        len(where), dtype=torch.bool, device=seen.device
    )
    return functional.cross_entropy(
        likeness.masked_fill(near, -1e4), torch.arange(len(where), device=seen.device)
    )


def _tell_samples_apart(whole: Tensor, height: Tensor) -> Tensor:
    """Contrast over (2n, c) vectors of samples: those of one height in their scans belong together."""
    itself = torch.eye(len(whole), dtype=torch.bool, device=whole.device)
    height = height.repeat(2)
    same = ((height[:, None] - height).abs() < _SAME_HEIGHT) & ~itself
    chance = (whole @ whole.T / _TEMPERATURE).masked_fill(itself, -1e4).log_softmax(1)
    return -((chance * same).sum(1) / same.sum(1).clamp(min=1)).mean()
