"""Random variety for training samples: geometry, contrast, noise, resolution, field of view.

Geometry is drawn backwards: for every point of the sample the point of the scan it comes from, so that
image, labels and heat maps are sampled once through the same map. Points are mm in LPS order.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from spinelab.simulate.polyrigid import PolyrigidFlow
from spinelab.train.paint import draw_palette

#: Points between two for which a motion is computed.
FLOW_STEP = 3


@dataclass(frozen=True)
class Warp:
    """A swept frame: the sample's vertical axis becomes a curve through the scan.

    Attributes:
        rotation: (3, 3) rotation of the whole sample.
        scale: (3,) magnification; above 1 the sample looks larger than the scan.
        tilt: (3, 2, 2) for coronal tilt, sagittal tilt and axial rotation: amplitude in radians and phase of
            two sine waves along the axis.
        period_mm: Longest wave length; the second wave has half of it.
        mirror: Whether left and right change places.
    """

    rotation: NDArray[np.float64]
    scale: NDArray[np.float64]
    tilt: NDArray[np.float64]
    period_mm: float
    mirror: bool

    def source(self, points_mm: Tensor) -> Tensor:
        """Maps sample points (i, j, k, 3), mm from its centre, to mm from the scan's centre point.

        The k axis of `points_mm` must be vertical: x and y grow with i and j, z with k.
        """
        z = points_mm[0, 0, :, 2]
        waves = torch.zeros(3, len(z))
        for row in range(3):
            for wave in range(2):
                amplitude, phase = self.tilt[row, wave]
                waves[row] += amplitude * torch.sin(2 * np.pi * (wave + 1) * z / self.period_mm + phase)
        frames = _rotations(waves)
        step = torch.diff(z, prepend=z[:1])
        path = torch.cumsum(frames[:, :, 2] * step[:, None], dim=0)
        path = path - path[len(z) // 2] + z[len(z) // 2] * frames[len(z) // 2, :, 2]
        flat = points_mm[:, :, :, :2]
        swept = torch.einsum("kab,ijkb->ijka", frames[:, :, :2], flat) + path
        turned = swept @ torch.from_numpy(self.rotation.T).float()
        turned = turned / torch.from_numpy(self.scale).float()
        if self.mirror:
            turned = turned * torch.tensor([-1.0, 1.0, 1.0])
        return turned


def _rotations(angles: Tensor) -> Tensor:
    """(3, n) coronal, sagittal and axial angles to (n, 3, 3) rotation matrices."""
    a, b, c = angles
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    coronal = torch.stack([a.cos(), zero, a.sin(), zero, one, zero, -a.sin(), zero, a.cos()], -1)
    sagittal = torch.stack([one, zero, zero, zero, b.cos(), -b.sin(), zero, b.sin(), b.cos()], -1)
    axial = torch.stack([c.cos(), -c.sin(), zero, c.sin(), c.cos(), zero, zero, zero, one], -1)
    return coronal.reshape(-1, 3, 3) @ sagittal.reshape(-1, 3, 3) @ axial.reshape(-1, 3, 3)


def rotation(rng: np.random.Generator, degrees: tuple[float, float, float]) -> NDArray[np.float64]:
    """Draws a rotation with normal angles of these standard deviations about x, y and z."""
    angles = np.radians(rng.normal(0, degrees)).astype(np.float32)
    matrix = _rotations(torch.from_numpy(angles[[1, 0, 2], None]))[0]
    return np.asarray(matrix.numpy(), np.float64)


def draw_warp(rng: np.random.Generator, *, bend_deg: float, turn_deg: tuple[float, float, float]) -> Warp:
    """Draws a warp; `bend_deg` is the sd of the tilt waves in half of the draws (a quarter in the rest)."""
    strength = np.radians(bend_deg) * rng.choice([0.25, 1.0])
    tilt = np.zeros((3, 2, 2))
    tilt[:, 0, 0] = rng.normal(0, strength, 3)
    tilt[:, 1, 0] = rng.normal(0, strength / 3, 3)
    tilt[:, :, 1] = rng.uniform(0, 2 * np.pi, (3, 2))
    scale = rng.uniform(0.82, 1.25) * rng.uniform(0.94, 1.06, 3)
    return Warp(rotation(rng, turn_deg), scale, tilt, rng.uniform(250, 500), bool(rng.random() < 0.5))


def grid_mm(shape: tuple[int, int, int], spacing_mm: float, offset_mm: NDArray[np.float64]) -> Tensor:
    """Returns (i, j, k, 3) points of a sample, mm from its centre, moved by `offset_mm`."""
    axes = [
        (torch.arange(n) - (n - 1) / 2) * spacing_mm + float(o) for n, o in zip(shape, offset_mm, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def flow_back(points_mm: Tensor, flow: PolyrigidFlow) -> Tensor:
    """Returns for points (i, j, k, 3), LPS mm, after a motion where they come from.

    The motion is computed at every `FLOW_STEP`-th point, a few mm apart, and is linear between.
    """
    picked = [
        torch.linspace(0, n - 1, max(2, round(n / FLOW_STEP) + 1)).round().long() for n in points_mm.shape[:3]
    ]
    coarse = points_mm[picked[0]][:, picked[1]][:, :, picked[2]]
    shift = torch.from_numpy(flow.backward(coarse.numpy()).astype(np.float32)) - coarse
    whole = functional.interpolate(
        shift.permute(3, 0, 1, 2)[None], size=points_mm.shape[:3], mode="trilinear", align_corners=True
    )
    return points_mm + whole[0].permute(1, 2, 3, 0)


def sample(volume: Tensor, index: Tensor, *, nearest: bool = False) -> Tensor:
    """Samples (c, i, j, k) at voxel indices (a, b, c, 3); beyond the border comes 0."""
    sizes = torch.tensor(volume.shape[1:], dtype=torch.float32)
    unit = (2 * index / (sizes - 1).clamp(min=1) - 1).flip(-1)
    mode = "nearest" if nearest else "bilinear"
    out = functional.grid_sample(volume[None], unit[None], mode=mode, align_corners=True)
    return out[0]


def blur(x: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """Smooths (1, i, j, k) along each axis by [w, 1 - 2w, w]."""
    for axis, weight in enumerate(weights):
        if weight <= 0:
            continue
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = 3
        kernel = torch.tensor([weight, 1 - 2 * weight, weight]).reshape(shape)
        padding = [0, 0, 0]
        padding[axis] = 1
        x = functional.conv3d(x[None], kernel, padding=padding)[0]
    return x


def paint(classes: Tensor, rng: np.random.Generator, palette: NDArray[np.float32] | None = None) -> Tensor:
    """Paints (1, i, j, k) paint classes, textured and slightly blurred; in HU if no palette is given."""
    rows = torch.from_numpy(draw_palette(rng) if palette is None else palette)[classes.long()]
    coarse = torch.randn(1, 1, *[max(1, n // 4) for n in classes.shape[1:]])
    texture = functional.interpolate(coarse, size=classes.shape[1:], mode="trilinear")[0]
    hu = rows[..., 0] + rows[..., 1] * (0.7 * torch.randn(classes.shape) + texture)
    weight = float(rng.uniform(0.03, 0.2))
    return blur(hu, (weight, weight, weight))


def thicken(x: Tensor, thickness_mm: float, spacing_mm: float) -> Tensor:
    """Smooths (1, i, j, k) along k as slices of this thickness would, k having this spacing."""
    weight = (thickness_mm / spacing_mm) ** 2 / 24
    while weight > 0.01:
        x = blur(x, (0.0, 0.0, min(weight, 0.33)))
        weight -= 0.33
    return x


def slice_thick(
    volume: NDArray[Any], step: float, phase: float
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Slices a volume (i, j, k) along k, slices as thick as they are apart.

    Args:
        volume: Grey values.
        step: How many of its slices one new slice is thick; at least 1.
        phase: 0 to 1, where the first one lies.

    Returns:
        The new volume, and which places along the old k axis its slices lie at.
    """
    places = np.arange((step - 1) / 2 + phase * step, volume.shape[2] - 1, step)
    sigma = 0.29 * float(np.sqrt(step**2 - 1))
    smooth = ndimage.gaussian_filter1d(volume.astype(np.float32), sigma, axis=2, mode="nearest")
    low = np.clip(np.floor(places).astype(int), 0, volume.shape[2] - 2)
    share = (places - low).astype(np.float32)
    return smooth[:, :, low] * (1 - share) + smooth[:, :, low + 1] * share, places


def vary_hu(hu: Tensor, rng: np.random.Generator, *, spacing_mm: float, thicken_share: float = 0.4) -> Tensor:
    """Changes contrast, bone density, sharpness, slice thickness and noise of (1, i, j, k) HU."""
    hu = hu * float(rng.uniform(0.9, 1.1)) + float(rng.normal(0, 20))
    bone = (hu - 130).clamp(min=0)
    hu = hu + bone * float(rng.uniform(-0.45, 0.5))
    if rng.random() < 0.3:
        hu = hu + (hu - blur(hu, (0.25, 0.25, 0.25))) * float(rng.uniform(0.3, 1.5))
    if rng.random() < thicken_share:
        hu = thicken(hu, float(rng.uniform(1, 6)), spacing_mm)
    if rng.random() < 0.2:
        weight = float(rng.uniform(0.03, 0.15))
        hu = blur(hu, (weight, weight, weight))
    noise = float(abs(rng.normal(0, 12 + 15 / spacing_mm)))
    hu = hu + noise * blur(torch.randn(hu.shape), (0.1, 0.1, 0.0))
    if rng.random() < 0.04:
        hu = _add_rods(hu, rng)
    return hu


def _add_rods(hu: Tensor, rng: np.random.Generator) -> Tensor:
    """Puts a few metal rods near the middle, like pedicle screws and implants."""
    axes = [torch.arange(n) - n / 2 for n in hu.shape[1:]]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    for _ in range(rng.integers(1, 5)):
        direction = rng.normal(0, 1, 3)
        direction /= np.linalg.norm(direction)
        start = torch.from_numpy(rng.normal(0, 12, 3)).float()
        axis = torch.from_numpy(direction).float()
        relative = points - start
        along = relative @ axis
        across = (relative - along[..., None] * axis).norm(dim=-1)
        hu = torch.where((across < 1.3) & (along.abs() < rng.uniform(5, 20)), 3000.0, hu)
    return hu


def cut_view(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, ...]:
    """Draws the part of a sample that is in the field of view (all of it in most draws)."""
    slices = []
    for axis, size in enumerate(shape):
        low, high = 0, size
        if rng.random() < (0.2 if axis == 2 else 0.08):
            low = int(rng.integers(0, size // 2 - 4))
        if rng.random() < (0.2 if axis == 2 else 0.08):
            high = int(rng.integers(size // 2 + 4, size + 1))
        slices.append(slice(low, high))
    return tuple(slices)
