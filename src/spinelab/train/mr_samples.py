"""Samples for the landmark network: a piece of an MR scan, turned, bent and recoloured, with its targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spinelab.anatomy import level as level_of
from spinelab.nets.landmarks import OFFSET_UNIT_MM
from spinelab.simulate.random_flow import RandomDeformity, draw_flow
from spinelab.tasks.mr_volume import ACROSS, STEP_MM, level_out
from spinelab.train import augment
from spinelab.train.mr_cases import PreparedMr
from spinelab.train.paint import draw_tones

#: Voxels of a sample, of `STEP_MM` in plane and `ACROSS` times that across.
SHAPE = (8, 80, 112)
SIMULATED, INVERTED, SINGLE, NARROW, WRAPPED = 0.4, 0.25, 0.2, 0.1, 0.06
#: Share of the samples that come from scans whose landmarks a network drew, and from painted label maps.
GUESSED, PAINTED = 0.4, 0.2
_SIGMA_MM, _OFFSET_REACH_MM, _LEVEL_REACH_MM = 5.0, 9.0, 9.0
#: The place of S1 is known to some 5 mm: what is said within this reach counts little.
_VAGUE_MM, _VAGUE = 20.0, 0.3
#: How far from a body's centre a sample's centre may lie, left, back and up.
ASIDE_MM = (13, 45, 55)
_S1 = 26


@dataclass(frozen=True)
class MrSample:
    """One piece of a scan.

    Attributes:
        x: (2, i, j, k) intensities, and 1 where seen.
        heat: (i, j/2, k/2) 0..1 around body centres; `known` (same shape) weights it.
        offsets: (15, i, j/2, k/2) targets in `OFFSET_UNIT_MM`; NaN where there is none.
        level: (i, j/2, k/2) class 0..25, or -1.
    """

    x: Tensor
    heat: Tensor
    known: Tensor
    offsets: Tensor
    level: Tensor


class MrSampler:
    """Draws samples of scans with landmarks.

    Args:
        cases: Labelled cases.
        guessed: Cases with landmarks that a network drew.
        painted: Label maps to paint.
        simulate: Bend the columns of some of the samples.
    """

    def __init__(
        self,
        cases: Sequence[PreparedMr],
        *,
        guessed: Sequence[PreparedMr] = (),
        painted: Sequence[PreparedMr] = (),
        simulate: bool = True,
    ) -> None:
        shares = {GUESSED: guessed, PAINTED: painted}
        rest = 1 - sum(share for share, group in shares.items() if group)
        groups = [(rest, cases), *((share, group) for share, group in shares.items() if group)]
        self.cases = [case for _, group in groups for case in group]
        self.chances = np.concatenate([np.full(len(group), share / len(group)) for share, group in groups])
        self.simulate = simulate
        self.deformity = RandomDeformity()
        self.volumes = [torch.from_numpy(np.stack([case.array, case.seen])) for case in self.cases]

    def draw(self, rng: np.random.Generator) -> MrSample:
        """Draws one sample."""
        number = int(rng.choice(len(self.cases), p=self.chances))
        case = self.cases[number]
        grid = make_grid()
        source = self._source(case, grid, rng)
        view, only = draw_view(case, source, rng)
        x = look(self.volumes[number], source, view, rng, painted=case.kind == "painted")
        points = _find_in_sample(case.points_mm, source, grid)
        if only is not None:  # all there is lies in this slice
            points[..., 0] += float(grid[only, 0, 0, 0]) - points[..., 0]
        cells = (grid[:, ::2, ::2] + grid[:, 1::2, 1::2]) / 2
        told = _cell_seen(x[1] > 0.5)
        labels = case.labels if case.named else np.zeros_like(case.labels)
        heat, known = _draw_heat(cells, points[:, 0], labels)
        offsets, level = _draw_targets(cells, points, labels)
        offsets = torch.where(told > 0, offsets, float("nan"))
        return MrSample(x, heat, known * told, offsets, torch.where(told > 0, level, -1))

    def _source(self, case: PreparedMr, grid: Tensor, rng: np.random.Generator) -> Tensor:
        """For every voxel of the sample the point of the scan it comes from, mm."""
        centers, flow = case.points_mm[:, 0], None
        if self.simulate and rng.random() < SIMULATED:
            names = [level_of(int(label)).name for label in case.labels]
            flow, centers = draw_flow(names, centers, rng, self.deformity)
        middle = centers[rng.integers(len(centers))] + rng.uniform(-1, 1, 3) * ASIDE_MM
        source = draw_place(grid, middle, rng)
        return source if flow is None else augment.flow_back(source, flow)


def draw_place(grid: Tensor, middle_mm: NDArray[np.float64], rng: np.random.Generator) -> Tensor:
    """Draws where in a scan a sample about `middle_mm` lies: for each voxel of `grid` a point, mm."""
    warp = augment.draw_warp(rng, bend_deg=0, turn_deg=(9, 5, 5))
    return warp.source(grid) + torch.from_numpy(middle_mm).float()


def look(
    volume: Tensor, source: Tensor, view: Tensor, rng: np.random.Generator, *, painted: bool = False
) -> Tensor:
    """Reads a sample (2, i, j, k) of a scan (image or paint classes, and seen) in a contrast of its own."""
    index = source / STEP_MM
    x = augment.sample(volume, index, nearest=painted)
    seen = (x[1] > 0.5) & view
    image = _paint(x[0], seen, rng) if painted else x[0]
    return torch.stack([torch.where(seen, vary_contrast(image, rng), 0.0), seen.float()])


def _paint(classes: Tensor, seen: Tensor, rng: np.random.Generator) -> Tensor:
    """Paints classes in the colours of no contrast in particular and evens them out as a scan is."""
    image = augment.paint(classes[None], rng, draw_tones(rng))[0]
    values = torch.where(seen, image, 0.0).numpy()
    return torch.from_numpy(level_out(values, seen.numpy(), (STEP_MM * ACROSS, STEP_MM, STEP_MM)))


def make_grid() -> Tensor:
    """(i, j, k, 3) voxels of a sample, mm from its centre."""
    steps = (STEP_MM * ACROSS, STEP_MM, STEP_MM)
    axes = [(torch.arange(n) - (n - 1) / 2) * step for n, step in zip(SHAPE, steps, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def _find_in_sample(points_mm: NDArray[np.float64], source: Tensor, grid: Tensor) -> Tensor:
    """Returns where in the sample (mm) points of the scan (n, m, 3) have come to.

    The map is inverted linearly from the nearest of every fourth voxel, and once more from where that leads.
    """
    flat = torch.from_numpy(points_mm).float().reshape(-1, 3)
    known = torch.isfinite(flat).all(-1)
    wanted = flat[known]
    step = 4
    few = source[:, ::step, ::step]
    nearest = torch.cdist(wanted, few.reshape(-1, 3)).argmin(1).numpy()
    place = torch.from_numpy(np.stack(np.unravel_index(nearest, few.shape[:3]), -1) * (1, step, step))
    steps = torch.tensor([STEP_MM * ACROSS, STEP_MM, STEP_MM])
    last = torch.tensor(SHAPE) - 2
    here = wanted
    for _ in range(2):
        i, j, k = place.clamp(min=0).minimum(last).T
        base = source[i, j, k]
        ahead = torch.stack([source[i + 1, j, k], source[i, j + 1, k], source[i, j, k + 1]], -1)
        jacobian = (ahead - base[..., None]) / steps
        here = grid[i, j, k] + torch.linalg.solve(jacobian, wanted - base)
        place = ((here - grid[0, 0, 0]) / steps).round().long()
    found = torch.full_like(flat, float("nan"))
    found[known] = here
    return found.reshape(points_mm.shape)


def _draw_heat(cells: Tensor, centers: Tensor, labels: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Heat around centres, and how far it is known; labels are 0 where names are not."""
    heat = torch.zeros(cells.shape[:3])
    known = torch.ones(cells.shape[:3])
    for center, label in zip(centers, labels, strict=True):
        square = ((cells - center) ** 2).sum(-1)
        heat = torch.maximum(heat, torch.exp(-square / (2 * _SIGMA_MM**2)))
        if label == _S1:
            known = torch.where(square < _VAGUE_MM**2, _VAGUE, known)
    ends = [(centers[0], centers[0] - centers[1])] if labels[0] != 1 else []
    ends += [(centers[-1], centers[-1] - centers[-2])] if labels[-1] != _S1 else []
    for center, step in ends:  # beyond an end there may be bodies that nobody marked
        relative = cells - (center + 0.55 * step)
        away = relative @ (step / step.norm())
        across = (relative.square().sum(-1) - away**2).clamp(min=0).sqrt()
        known = torch.where((away > 0) & (across < 40 + 0.5 * away), 0.0, known)
    return heat, known


def _draw_targets(cells: Tensor, points: Tensor, labels: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    gaps = ((cells[..., None, :] - points[:, 0]) ** 2).sum(-1)
    least, nearest = gaps.min(-1)
    offsets = (points[nearest] - cells[..., None, :]) / OFFSET_UNIT_MM
    offsets = torch.where((least < _OFFSET_REACH_MM**2)[..., None, None], offsets, float("nan"))
    classes = torch.from_numpy(np.where(labels <= _S1, labels - 1, -1))
    level = torch.where(least < _LEVEL_REACH_MM**2, classes[nearest], -1)
    return offsets.flatten(3).permute(3, 0, 1, 2), level


def _cell_seen(seen: Tensor) -> Tensor:
    return functional.max_pool3d(seen[None].float(), (1, 2, 2))[0]


def draw_view(case: PreparedMr, source: Tensor, rng: np.random.Generator) -> tuple[Tensor, int | None]:
    """Draws the part of a sample in view: all, a few slices, or only the one returned, near the midline."""
    seen = torch.zeros(SHAPE, dtype=torch.bool)
    _, rows, columns = augment.cut_view((32, *SHAPE[1:]), rng)
    low, high, only, drawn = 0, SHAPE[0], None, rng.random()
    if drawn < SINGLE or case.kind == "slice":
        midline = case.points_mm[:, 0, 0].mean() if len(case.labels) else case.array.shape[0] * STEP_MM / 2
        gaps = (source[:, SHAPE[1] // 2, SHAPE[2] // 2, 0] - float(midline)).abs()
        only = low = int(np.clip(int(gaps.argmin()) + rng.integers(-2, 3), 0, SHAPE[0] - 1))
        high = low + 1
    elif drawn < SINGLE + NARROW:
        low = int(rng.integers(0, 4))
        high = low + int(rng.integers(2, 5))
    seen[low:high, rows, columns] = True
    return seen, only


def vary_contrast(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Changes a normalised image (i, j, k): any rising or falling contrast, coil, sharpness, noise, wrap."""
    image = _remap(image, rng)
    size = image.shape
    field = torch.from_numpy(rng.normal(0, 1, (1, 2, 2, 4, 5))).float()
    field = functional.interpolate(field, size=size, mode="trilinear")[0]
    image = image * torch.exp(float(rng.uniform(0, 0.3)) * field[0]) + float(rng.uniform(0, 0.4)) * field[1]
    if rng.random() < 0.25:
        weight = float(rng.uniform(0.05, 0.25))
        image = augment.blur(image[None], (0.0, weight, weight))[0]
    noise = torch.from_numpy(rng.standard_normal(size, np.float32))
    image = image + float(abs(rng.normal(0, 0.2))) * noise
    if rng.random() < WRAPPED:
        axis, shift = int(rng.integers(1, 3)), int(rng.integers(20, 60))
        image = image + float(rng.uniform(0.2, 0.6)) * torch.roll(image, shift, axis)
    return image.clamp(-3.5, 3.5)


def _remap(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Applies a random monotone curve, rising or falling, and brings the spread back to one."""
    knots = np.linspace(-3, 3, 9)
    heights = np.concatenate([[0], np.cumsum(rng.exponential(1, 8) + 0.15)])
    drawn = np.interp(image.numpy(), knots, heights).astype(np.float32)
    share = float(rng.uniform(0, 1))
    mixed = share * (drawn - drawn.mean()) / max(float(drawn.std()), 0.1) + (1 - share) * image.numpy()
    sign = -1.0 if rng.random() < INVERTED else 1.0
    return torch.from_numpy(sign * mixed.astype(np.float32))
