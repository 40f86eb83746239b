"""Batches for the fracture network: kept crops moved, mirrored, made noisier, their outlines dropped."""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spinelab.models import scale_hu
from spinelab.simulate.collapse import Shape
from spinelab.tasks.fracture_crop import CROP_SHAPE, tell_facts
from spinelab.train.fracture_cache import Kept, to_hu
from spinelab.train.fracture_draws import KEPT_SHAPE

#: How many samples show no outlines at all, and how many only the vertebra's own.
NO_OUTLINE, OWN_ALONE = 0.2, 0.1
#: How many samples are cut by the field of view above or below.
CUT_SHARE = 0.15
#: Turn in degrees, shift in mm (standard deviations), and scale of the sample's plane.
TURN_DEG, SHIFT_MM, SCALE, STRETCH = 4.0, (1.5, 1.5), (0.85, 1.18), 0.05


class FractureSampler:
    """Draws batches from kept samples; each source and patient gets its share, collapsed bodies half of all.

    Args:
        kept: Samples.
        shares: Source -> how often it is drawn against the others; those not named count 1.
    """

    def __init__(self, kept: Kept, shares: dict[str, float] | None = None) -> None:
        self.kept = kept
        cases = [(row["case"], row["source"]) for row in kept.rows]
        counts = {case: cases.count(case) for case in set(cases)}
        weight = np.array([(shares or {}).get(case[1], 1.0) / counts[case] ** 0.5 for case in cases])
        collapsed = np.array([row["most_percent"][0] > 0 for row in kept.rows])
        for part in (collapsed, ~collapsed):
            weight[part] /= max(weight[part].sum(), 1e-9)
        self.chances = weight / weight.sum()
        self.targets = [torch.from_numpy(part) for part in tell_targets(kept.rows)]
        self.facts = torch.from_numpy(np.array([tell_facts(r["level"], r["slice_mm"]) for r in kept.rows]))

    def draw(self, rng: np.random.Generator, count: int) -> list[Tensor]:
        """Draws `count` samples.

        Returns:
            picture (n, 15, j, k), facts (n, 2), lost (n, 4) low and (n, 4) high per cent, NaN where unknown,
            probability (n,), shape (n,), -1 where there is none.
        """
        chosen = rng.choice(len(self.kept), size=count, p=self.chances)
        grey = torch.from_numpy(self.kept.grey[chosen].astype(np.float32))
        outline = torch.from_numpy(self.kept.outline[chosen].astype(np.float32))
        stack = torch.cat([to_hu(grey), outline, (grey > 0).float()], dim=1)
        stack = move(stack, rng)
        hu, outline, seen = stack.chunk(3, dim=1)
        hu, seen = vary_hu(hu, rng), cut_view((seen > 0.5).float(), rng)
        outline = drop_outlines(outline, rng) * seen
        picture = compose(hu, outline, seen)
        if rng.random() < 0.5:  # left and right change places
            picture = torch.cat([part.flip(1) for part in picture.chunk(3, dim=1)], dim=1)
        facts = self.facts[chosen] + torch.from_numpy(rng.normal(0, (0.03, 0.02), (count, 2)))
        return [picture, facts.float(), *(part[chosen] for part in self.targets)]


def compose(hu: Tensor, outline: Tensor, seen: Tensor) -> Tensor:
    """Returns the picture (n, 15, j, k) of HU, outlines and what is in view, each (n, 5, j, k)."""
    return torch.cat([torch.where(seen > 0, scale_hu(hu), -1.0), outline, seen], dim=1)


def tell_targets(rows: Sequence[dict[str, Any]]) -> tuple[NDArray[Any], ...]:
    """Returns low and high (n, 4) per cent lost, (n,) probability and (n,) shape of samples."""
    lost = np.array([[np.nan if v is None else v for v in row["lost_percent"]] for row in rows])
    most = np.array([row["most_percent"] for row in rows])
    low, high = (np.concatenate([lost, most[:, [side]]], axis=1).astype(np.float32) for side in (0, 1))
    shapes = [get_args(Shape).index(row["shape"]) if row["shape"] else -1 for row in rows]
    return low, high, np.array([row["probability"] for row in rows], np.float32), np.array(shapes, np.int64)


def move(stack: Tensor, rng: np.random.Generator) -> Tensor:
    """Turns, scales and shifts (n, c, j, k) crops in their plane and cuts them to `CROP_SHAPE`."""
    count, (j, k) = len(stack), CROP_SHAPE
    turn = np.radians(rng.normal(0, TURN_DEG, count))
    size = rng.uniform(*SCALE, count)[:, None] * np.exp(rng.normal(0, STRETCH, (count, 2)))
    shift = rng.normal(0, SHIFT_MM, (count, 2))
    cos, sin = np.cos(turn), np.sin(turn)
    # Pixels of the result to pixels of what is kept, both from their middle, (j, k).
    matrix = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2) / size[:, None, :]
    half_out, half_in = np.array([j, k]) / 2, np.array(KEPT_SHAPE) / 2
    unit = matrix * half_out[None, None, :] / half_in[None, :, None]
    whole = np.concatenate([unit, (shift / half_in)[..., None]], axis=-1)
    flipped = whole[:, ::-1][:, :, [1, 0, 2]]  # torch wants the last axis first
    grid = functional.affine_grid(
        torch.from_numpy(flipped.copy()).float(), [count, stack.shape[1], j, k], align_corners=False
    )
    return functional.grid_sample(stack, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def vary_hu(hu: Tensor, rng: np.random.Generator) -> Tensor:
    """Changes contrast, density of bone, sharpness and noise of (n, c, j, k) HU, each sample its own."""
    count = len(hu)

    def each(values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values).float().reshape(count, 1, 1, 1)

    hu = hu * each(rng.uniform(0.9, 1.1, count)) + each(rng.normal(0, 20, count))
    hu = hu + (hu - 130).clamp(min=0) * each(rng.uniform(-0.45, 0.5, count))
    if rng.random() < 0.5:  # a kernel that is sharper, or smoother
        soft = functional.avg_pool2d(hu, 3, stride=1, padding=1, count_include_pad=False)
        hu = hu + (hu - soft) * each(rng.uniform(-0.8, 1.0, count))
    noise = torch.randn(hu.shape)
    if rng.random() < 0.5:
        noise = 2 * functional.avg_pool2d(noise, 3, stride=1, padding=1)
    return hu + noise * each(np.abs(rng.normal(0, 30, count)))


def cut_view(seen: Tensor, rng: np.random.Generator) -> Tensor:
    """Takes what lies beyond a neighbour from some of (n, c, j, k) views, above or below."""
    seen = seen.clone()
    rows = seen.shape[-1]
    for place in np.flatnonzero(rng.random(len(seen)) < CUT_SHARE):
        edge = int(rng.integers(0, rows // 3))
        if rng.random() < 0.5:
            seen[place, :, :, :edge] = 0
        else:
            seen[place, :, :, rows - edge :] = 0
    return seen


def drop_outlines(outline: Tensor, rng: np.random.Generator) -> Tensor:
    """Leaves out the outlines of some samples, so that the network reads the scan too."""
    fate = rng.random(len(outline))
    none = torch.from_numpy(fate < NO_OUTLINE).reshape(-1, 1, 1, 1)
    alone = torch.from_numpy(fate > 1 - OWN_ALONE).reshape(-1, 1, 1, 1)
    outline = torch.where(alone, outline.clamp(min=0), outline)
    return torch.where(none, 0.0, outline)


def show_plain(kept: Kept) -> tuple[Tensor, Tensor]:
    """Returns the pictures (n, 15, j, k) and facts (n, 2) of samples as the reader sees them."""
    edge = [(a - b) // 2 for a, b in zip(KEPT_SHAPE, CROP_SHAPE, strict=True)]
    part = (..., slice(edge[0], edge[0] + CROP_SHAPE[0]), slice(edge[1], edge[1] + CROP_SHAPE[1]))
    grey = torch.from_numpy(kept.grey[part].astype(np.float32))
    outline = torch.from_numpy(kept.outline[part].astype(np.float32))
    facts = np.array([tell_facts(row["level"], row["slice_mm"]) for row in kept.rows], np.float32)
    return compose(to_hu(grey), outline, (grey > 0).float()), torch.from_numpy(facts.reshape(-1, 2))
