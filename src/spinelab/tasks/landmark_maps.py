"""What the landmark network says of an MR scan, and the bodies that can be read from it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.models import LANDMARKS_INPUT
from spinelab.tasks.level_evidence import Candidate
from spinelab.tasks.mr_volume import ACROSS, MrVolume
from spinelab.volume import Geometry

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
#: A loaded network: takes ``scan`` (1, 2, i, j, k), answers heat, offsets in mm, spread in mm and levels.
Answering = Callable[..., list[Floats32]]

#: Least heat of a body, and the cells about its peak that have a say.
_THRESHOLD, _REACH = 0.15, 3
#: A say counts less the farther its own centre is from what the others say; two bodies are farther apart.
_AGREE_MM, _APART_MM = 4.0, 9.0
#: A normal deviate's standard deviation against its mean size.
_SD_OF_MEAN = 1.2533


@dataclass(frozen=True, eq=False)
class LandmarkMaps:
    """The network's answer on cells of about 4 mm with LPS axes.

    Attributes:
        geometry: The grid of the cells.
        heat: (i, j, k) 0..1 around body centres.
        offsets_mm: (5, 3, i, j, k) from the cell to the centre and the four corners, LPS mm.
        spread_mm: (5, i, j, k) how far these are off on average.
        levels: (26, i, j, k) probabilities of VerSe 1..25 and the sacrum.
        single: Whether the scan is one slice.
    """

    geometry: Geometry
    heat: Floats32
    offsets_mm: Floats32
    spread_mm: Floats32
    levels: Floats32
    single: bool


@dataclass(frozen=True, eq=False)
class FoundBody:
    """A body as read from the maps.

    Attributes:
        candidate: Centre, heat and level vector for the decision over the column.
        points_mm: (5, 3) centre and four corners, LPS mm.
        sd_mm: (5,) how far each may be off along each axis.
    """

    candidate: Candidate
    points_mm: Floats
    sd_mm: Floats


def map_landmarks(volume: MrVolume, network: Answering) -> LandmarkMaps:
    """Runs the network over a whole scan."""
    single = volume.array.shape[0] <= ACROSS
    scan = np.stack([volume.array[::ACROSS], volume.seen[::ACROSS].astype(np.float32)])
    multiple = LANDMARKS_INPUT["multiple"]
    padding = [(0, -n % m) for n, m in zip(scan.shape[1:], multiple, strict=True)]
    if single:
        padding[0] = (padding[0][1] // 2, padding[0][1] - padding[0][1] // 2)
    padded = np.pad(scan, [(0, 0), *padding])
    heat, offsets, spread, levels = network(scan=np.ascontiguousarray(padded[None], np.float32))
    low = padding[0][0]
    size = (scan.shape[1], -(-scan.shape[2] // 2), -(-scan.shape[3] // 2))
    box = (Ellipsis, slice(low, low + size[0]), slice(size[1]), slice(size[2]))
    affine = np.array(volume.geometry.affine)
    first = (0.0 if not single else (volume.array.shape[0] - 1) / 2, 0.5, 0.5)
    affine[:3, 3] = volume.geometry.index_to_world(first)
    affine[:3, :3] = affine[:3, :3] * (ACROSS, 2, 2)
    told = offsets[0][box]
    return LandmarkMaps(
        Geometry(size, affine),
        heat[0, 0][box],
        told.reshape(-1, 3, *size),
        spread[0][box],
        levels[0][box],
        single,
    )


def read_bodies(maps: LandmarkMaps, *, most: int = 60) -> list[FoundBody]:
    """Returns the bodies at the peaks of the heat, best first: each is what the cells about it agree on.

    Args:
        maps: The network's answer.
        most: Only so many are returned.
    """
    peaks = (maps.heat == ndimage.maximum_filter(maps.heat, size=3)) & (maps.heat >= _THRESHOLD)
    places = np.argwhere(peaks)
    order = np.argsort(-maps.heat[tuple(places.T)], kind="stable")[:most]
    found: list[FoundBody] = []
    for place in places[order]:
        body = _read_body(maps, place)
        centers = [other.points_mm[0] for other in found]
        if all(np.linalg.norm(body.points_mm[0] - center) > _APART_MM for center in centers):
            found.append(body)
    return found


def _read_body(maps: LandmarkMaps, place: NDArray[np.intp]) -> FoundBody:
    low = np.maximum(place - _REACH, 0)
    high = np.minimum(place + _REACH + 1, maps.heat.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    cells = np.stack(
        np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), -1
    )
    offsets = np.moveaxis(maps.offsets_mm[(slice(None), slice(None), *box)], (0, 1), (-2, -1))
    votes = maps.geometry.index_to_world(cells)[..., None, :] + offsets
    votes = votes.reshape(-1, *votes.shape[-2:])
    if maps.single:
        votes[..., 0] = maps.geometry.index_to_world((0, 0, 0))[0]
    heat = maps.heat[box].reshape(-1).astype(np.float64)
    peak = np.ravel_multi_index(tuple(place - low), maps.heat[box].shape)
    center = votes[peak, 0]
    weight = heat
    for _ in range(3):
        gap = ((votes[:, 0] - center) ** 2).sum(-1)
        weight = heat**2 * np.exp(-gap / (2 * _AGREE_MM**2))
        weight = weight / weight.sum()
        center = weight @ votes[:, 0]
    points = np.tensordot(weight, votes, axes=1)
    scatter = np.tensordot(weight, (votes - points) ** 2, axes=1).mean(axis=1)
    told = maps.spread_mm[(slice(None), *box)].reshape(len(points), -1) @ weight * _SD_OF_MEAN
    vector = maps.levels[(slice(None), *box)].reshape(len(maps.levels), -1) @ weight
    x, y, z = (float(value) for value in points[0])
    candidate = Candidate((x, y, z), float(np.clip(heat[peak], 0, 1)), vector.astype(np.float64))
    return FoundBody(candidate, points, np.sqrt(scatter + told**2))
