"""Training samples: what each network sees and what it should answer."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spinelab.anatomy import level as level_of
from spinelab.simulate.random_flow import RandomDeformity, draw_flow
from spinelab.tasks.frames import (
    OUTLINE_OFFSET_MM,
    OUTLINE_SHAPE,
    OUTLINE_SPACING_MM,
    column_frames,
    neighbour_map,
)
from spinelab.train import augment
from spinelab.train.cases import SACRUM
from spinelab.train.prepare import LOCATE_SPACING_MM, Prepared
from spinelab.train.weak_tissue import UNKNOWN, cut_around

LOCATE_SHAPE = (80, 80, 96)
AIR_HU = -1024.0
#: Share of the samples whose column is deformed.
SIMULATED = 0.75
#: Share of the outline samples of scans that are sliced anew, how thick, and from how many old slices on.
SLICED, SLICE_MM, THINNEST_STEP = 0.45, (2.0, 6.0), 1.2
#: Cases whose maps are kept in memory, some 50 MB each; those of others are drawn anew.
_KEPT = 48


def heat_sigma_mm(label: int) -> float:
    """Width of the heat at a body's centre: what is sure of it, smaller in the neck."""
    return 4.0 if label <= 7 else 5.0 if label <= 14 else 6.0


@dataclass(frozen=True)
class LocateSample:
    """One patch at about 3 mm.

    Attributes:
        hu: (1, i, j, k).
        heat: (i, j, k) 0..1 around body centres; `known` (i, j, k) weights it.
        tissue: (i, j, k) class or UNKNOWN.
        level: (i/2, j/2, k/2) class 0..25 or -1.
    """

    hu: Tensor
    heat: Tensor
    known: Tensor
    tissue: Tensor
    level: Tensor


class LocateSampler:
    """Draws locate samples from prepared cases (3 mm, LPS); `simulate` bends the columns."""

    def __init__(self, cases: list[Prepared], weights: list[float], *, simulate: bool = True) -> None:
        self.cases = cases
        self.simulate = simulate
        self.deformity = RandomDeformity()
        self.chances = np.asarray(weights) / np.sum(weights)
        self._maps = lru_cache(maxsize=_KEPT)(self._build)

    def _build(self, number: int) -> tuple[Tensor, Tensor]:
        return _locate_linear(self.cases[number]), _locate_nearest(self.cases[number])

    def draw(self, rng: np.random.Generator) -> LocateSample:
        """Draws one sample."""
        number = int(rng.choice(len(self.cases), p=self.chances))
        case = self.cases[number]
        size = np.asarray(case.image.shape)
        centers, flow = case.centers, None
        if self.simulate and len(centers) > 1 and rng.random() < SIMULATED:
            names = [level_of(int(label)).name for label in case.labels]
            flow, centers = draw_flow(names, centers * LOCATE_SPACING_MM, rng, self.deformity)
            centers = centers / LOCATE_SPACING_MM
        if rng.random() < 0.85:
            middle = centers[rng.integers(len(centers))] + rng.uniform(-1, 1, 3) * (22, 16, 14)
        else:
            middle = rng.uniform(0, 1, 3) * size
        warp = augment.draw_warp(rng, bend_deg=0, turn_deg=(9, 9, 9))
        points = augment.grid_mm(LOCATE_SHAPE, LOCATE_SPACING_MM, np.zeros(3))
        index = warp.source(points) + torch.from_numpy(middle).float() * LOCATE_SPACING_MM
        if flow is not None:
            index = augment.flow_back(index, flow)
        index = index / LOCATE_SPACING_MM
        inside = ((index > -0.5) & (index < torch.from_numpy(size - 0.5).float())).all(-1)
        maps = self._maps(number)
        linear = augment.sample(maps[0], index)
        nearest = augment.sample(maps[1], index, nearest=True)
        hu = augment.paint(nearest[2:3], rng) if case.painted else linear[:1]
        hu = augment.vary_hu(hu, rng, spacing_mm=LOCATE_SPACING_MM)
        seen = torch.zeros(LOCATE_SHAPE, dtype=torch.bool)
        seen[augment.cut_view(LOCATE_SHAPE, rng)] = True
        seen &= inside
        hu = torch.where(seen[None], hu.clamp(AIR_HU, 3071), AIR_HU)
        tissue = torch.where(seen, nearest[0], float(UNKNOWN)).long()
        level = torch.where(seen, nearest[1], 0.0)[::2, ::2, ::2].long() - 1
        known = torch.where(seen, linear[2], 0.0)
        return LocateSample(hu, linear[1], known, tissue, level)


def _locate_linear(case: Prepared) -> Tensor:
    """(3, i, j, k): HU, heat, weight of the heat."""
    shape = case.image.shape
    heat = np.zeros(shape, np.float32)
    known = np.ones(shape, np.float32)
    for center, label in zip(case.centers, case.labels, strict=True):
        sigma = heat_sigma_mm(int(label))
        box, distance = cut_around(center, 5 * sigma, shape, LOCATE_SPACING_MM)
        heat[box] = np.maximum(heat[box], np.exp(-(distance**2) / (2 * sigma**2)))
    for center, direction in _open_ends(case):
        steps = [np.arange(n, dtype=np.float32) - c for n, c in zip(shape, center, strict=True)]
        x, y, z = np.meshgrid(*steps, indexing="ij", sparse=True)
        away = (x * direction[0] + y * direction[1] + z * direction[2]) * LOCATE_SPACING_MM
        across = np.sqrt(np.maximum((x**2 + y**2 + z**2) * LOCATE_SPACING_MM**2 - away**2, 0))
        known[(away > 0) & (across < 40 + 0.5 * away)] = 0
    image = np.zeros(shape, np.float32) if case.painted else case.image.astype(np.float32)
    return torch.from_numpy(np.stack([image, np.where(known > 0, heat, 0), known]).astype(np.float32))


def _open_ends(case: Prepared) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Points and directions beyond which bodies may be that nobody marked."""
    if len(case.centers) < 2:
        return []
    ends = []
    top = case.centers[0] - case.centers[1]
    if case.labels[0] > 1:
        ends.append((case.centers[0] + 0.55 * top, top / np.linalg.norm(top)))
    bottom = case.centers[-1] - case.centers[-2]
    if case.labels[-1] != SACRUM:
        ends.append((case.centers[-1] + 0.55 * bottom, bottom / np.linalg.norm(bottom)))
    return ends


def _locate_nearest(case: Prepared) -> Tensor:
    """(3, i, j, k): tissue, level + 1 within 10 mm of a centre (0 elsewhere), paint class."""
    shape = case.image.shape
    level = np.zeros(shape, np.float32)
    if case.named:
        nearest = np.full(shape, 10.0)
        for center, label in zip(case.centers, case.labels, strict=True):
            box, distance = cut_around(center, 10.0, shape, LOCATE_SPACING_MM)
            level[box][distance < nearest[box]] = float(label)
            nearest[box] = np.minimum(nearest[box], distance)
    paint = case.image.astype(np.float32) if case.painted else np.zeros(shape, np.float32)
    return torch.from_numpy(np.stack([case.tissue.astype(np.float32), level, paint]))


@dataclass(frozen=True)
class OutlineSample:
    """One vertebra in its own frame: hu (1, i, j, k), spots (1, i, j, k), mask (1, i, j, k) 0..1."""

    hu: Tensor
    spots: Tensor
    mask: Tensor


class OutlineSampler:
    """Draws single vertebrae from prepared cases with masks, as scanned.

    The body of S1 is drawn too, with or without a mask, as nothing to outline: where the column goes on and
    the network outlines nothing, the sacrum has begun. `simulate` bends columns; collapsed
    vertebrae come as cases of their own (`spinelab.train.collapsed`).
    """

    def __init__(self, cases: list[Prepared], weights: list[float], *, simulate: bool = True) -> None:
        self.cases = cases
        self.simulate = simulate
        self.vertebrae = []
        for number, case in enumerate(cases):
            present = {SACRUM, *np.unique(case.vertebrae[::2, ::2, ::2]).tolist()}
            self.vertebrae += [
                (number, k) for k, label in enumerate(case.labels.tolist()) if label in present
            ]
        per_case = np.bincount([n for n, _ in self.vertebrae], minlength=len(cases))
        chances = np.array([weights[n] / per_case[n] ** 0.5 for n, _ in self.vertebrae])
        self.chances = chances / chances.sum()
        self.frames = [column_frames(case.centers * case.spacing_mm) for case in cases]

    def draw(self, rng: np.random.Generator) -> OutlineSample:
        """Draws one sample."""
        number, place = self.vertebrae[int(rng.choice(len(self.vertebrae), p=self.chances))]
        case = self.cases[number]
        centers = case.centers * case.spacing_mm
        frame = augment.rotation(rng, (7, 7, 12)) @ self.frames[number][place]
        center = centers[place] + _wobble(case, place, rng) @ self.frames[number][place]
        warp = augment.draw_warp(rng, bend_deg=9 if self.simulate else 0, turn_deg=(0, 0, 0))
        points = augment.grid_mm(OUTLINE_SHAPE, OUTLINE_SPACING_MM, np.asarray(OUTLINE_OFFSET_MM))
        local = warp.source(points)
        source = local @ torch.from_numpy(frame).float() + torch.from_numpy(center).float()
        index = source / torch.from_numpy(case.spacing_mm).float()
        hu, mask = self._read(case, index, int(case.labels[place]), rng)
        others = np.delete(centers, place, axis=0)
        others = others[np.linalg.norm(others - center, axis=1) < 80]
        jitter = np.clip(rng.normal(0, 3, others.shape), -7, 7)
        spots = neighbour_map((others - center + jitter) @ frame.T, local.numpy())
        hu = augment.vary_hu(hu, rng, spacing_mm=OUTLINE_SPACING_MM, thicken_share=0.2)
        seen = torch.zeros(OUTLINE_SHAPE, dtype=torch.bool)
        seen[augment.cut_view(OUTLINE_SHAPE, rng)] = True
        hu = torch.where(seen[None], hu.clamp(AIR_HU, 3071), AIR_HU)
        return OutlineSample(hu, torch.from_numpy(spots)[None].float(), torch.where(seen[None], mask, 0.0))

    def _read(
        self, case: Prepared, index: Tensor, label: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Samples HU and the label's indicator from the part of the scan the sample covers."""
        shape = np.asarray(case.image.shape)
        parts = [index[..., axis] for axis in range(3)]
        low = np.clip(np.array([int(part.min()) for part in parts]) - 1, 0, shape - 2)
        high = np.clip(np.array([int(part.max()) for part in parts]) + 2, low + 2, shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        relative = index - torch.from_numpy(low).float()
        outside = ((index < -0.5) | (index > torch.from_numpy(shape - 0.5).float())).any(-1)
        image = torch.from_numpy(case.image[box].astype(np.float32))[None]
        indicator = torch.zeros(image.shape)
        if label != SACRUM:
            indicator = torch.from_numpy((case.vertebrae[box] == label).astype(np.float32))[None]
        mask = augment.sample(indicator, relative)
        if case.painted:
            hu = augment.paint(augment.sample(image, relative, nearest=True), rng)
        elif rng.random() < SLICED:
            thick, relative = _slice(image, relative, rng.uniform(*SLICE_MM) / case.spacing_mm[2], rng)
            hu = augment.sample(thick, relative)
        else:
            hu = augment.sample(image, relative)
        return torch.where(outside[None], AIR_HU, hu), mask


def _slice(image: Tensor, index: Tensor, step: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Slices (1, i, j, k) anew where `step` of its slices make a thicker one; returns indices in it too."""
    if step < THINNEST_STEP or image.shape[3] < 2 * step + 2:
        return image, index
    thick, places = augment.slice_thick(image[0].numpy(), step, float(rng.random()))
    along = (index[..., 2:] - places[0]) / step
    return torch.from_numpy(thick)[None], torch.cat([index[..., :2], along.clamp(0, len(places) - 1)], dim=-1)


def _wobble(case: Prepared, place: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws how far the detector misses a centre, local mm: most along the column, never half a step."""
    centers = case.centers * case.spacing_mm
    gaps = np.linalg.norm(np.delete(centers, place, axis=0) - centers[place], axis=1)
    reach = min(9.0, 0.38 * float(gaps.min(initial=25.0)))
    drawn = rng.normal(0, (2.5, 2.5, 4.5))
    return np.asarray(np.clip(drawn, (-6, -6, -reach), (6, 6, reach)), np.float64)
