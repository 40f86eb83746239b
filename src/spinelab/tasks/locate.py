"""First look at the whole scan: where bodies may be, what level each looks like, ribs and sacrum near it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.models import LOCATE_INPUT, Network
from spinelab.tasks.level_evidence import Candidate
from spinelab.volume import Geometry, Image

Floats = NDArray[np.float32]

AIR_HU = -1024.0
#: Voxels along the column seen in one pass, and how many at each inner end are not kept.
_WINDOW, _MARGIN = 160, 24
_SPINAL, _SACRAL, _RIB = 1, 2, 3
#: Where a rib (one side) and the sacrum are looked for, and how much of it must be in view to miss them.
_BESIDE_MM3, _BELOW_MM3, _ENOUGH = 33.0 * 52 * 24, 50.0 * 50 * 28, 0.6


@dataclass(frozen=True, eq=False)
class Overview:
    """What the locate network says of a scan, on a grid of about 3 mm with LPS axes.

    Attributes:
        geometry: The grid.
        heat: (i, j, k) float32, 0..1 around body centres.
        tissue: (4, i, j, k) float16 probabilities of background, vertebra, sacrum, rib.
        levels: (26, i/2, j/2, k/2) float16 probabilities of VerSe 1..25 and the sacrum.
        seen: (i, j, k) bool, inside the scan's field of view.
    """

    geometry: Geometry
    heat: Floats
    tissue: NDArray[np.float16]
    levels: NDArray[np.float16]
    seen: NDArray[np.bool_]


def look_over(image: Image, network: Network) -> Overview:
    """Runs the locate network over a CT of any size, axes and obliquity."""
    spacing = float(LOCATE_INPUT["spacing_mm"])
    small = upright(image, spacing)
    seen = small.array > -3e4
    hu = np.where(seen, np.clip(small.array, AIR_HU, 3071), AIR_HU).astype(np.float32)
    multiple = int(LOCATE_INPUT["multiple"])
    padding = [(0, -n % multiple) for n in hu.shape]
    hu = np.pad(hu, padding, constant_values=AIR_HU)
    heat = np.zeros(hu.shape, np.float32)
    tissue = np.zeros((4, *hu.shape), np.float16)
    levels = np.zeros((26, *(n // 2 for n in hu.shape)), np.float16)
    for start, stop, low, high in _windows(hu.shape[2]):
        result = network(hu=np.ascontiguousarray(hu[None, None, :, :, start:stop]))
        inner = slice(low - start, high - start)
        heat[:, :, low:high] = result[0][0, 0, :, :, inner]
        tissue[:, :, :, low:high] = result[1][0, :, :, :, inner]
        cells = slice(inner.start // 2, inner.stop // 2)
        levels[..., low // 2 : high // 2] = result[2][0, ..., cells]
    box = tuple(slice(0, n) for n in small.array.shape)
    return Overview(small.geometry, heat[box] * seen, tissue[(slice(None), *box)], levels, seen)


def upright(image: Image, spacing_mm: float) -> Image:
    """Returns the scan on cubic voxels with the patient's own LPS axes; -32768 outside its field of view."""
    small = image.reoriented("LPS").shrunk(spacing_mm)
    matrix = small.geometry.affine[:3, :3]
    if np.abs(matrix - np.diag(np.diag(matrix))).max() < 0.02 * spacing_mm:
        return small
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in small.array.shape])).reshape(3, -1).T
    world = small.geometry.index_to_world(corners)
    low, high = world.min(axis=0), world.max(axis=0)
    shape = np.ceil((high - low) / spacing_mm).astype(int) + 1
    grid = Geometry.from_spacing(shape.tolist(), [spacing_mm] * 3, low.tolist())
    inside = Image(np.ones(small.array.shape, np.float32), small.geometry).resampled(grid, outside=0.0)
    turned = small.resampled(grid, outside=AIR_HU)
    return Image(np.where(inside.array > 0.99, turned.array, -32768.0), grid, image.modality)


def _windows(size: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields (start, stop, low, high): what a pass sees and what of it is kept; even, each place once."""
    start, low = 0, 0
    while True:
        stop = min(start + _WINDOW, size)
        high = stop - _MARGIN if stop < size else size
        yield start, stop, low, high
        if stop == size:
            return
        start = min(start + _WINDOW - 2 * _MARGIN, size - _WINDOW)
        low = high


def find_candidates(overview: Overview, *, threshold: float = 0.12, most: int = 80) -> list[Candidate]:
    """Returns the peaks of the heat map as candidates, best first.

    Args:
        overview: The network's maps.
        threshold: Least height of a peak.
        most: Only so many are returned.
    """
    heat = overview.heat
    peaks = (heat == ndimage.maximum_filter(heat, size=3)) & (heat >= threshold)
    tops, _ = ndimage.label(peaks, np.ones((3, 3, 3)))  # where the network is quite sure a top may be flat
    places = np.argwhere(peaks)
    _, firsts = np.unique(tops[peaks], return_index=True)
    places = places[firsts]
    order = np.argsort(-heat[tuple(places.T)], kind="stable")[:most]
    centers = [overview.geometry.index_to_world(_refine(heat, places[number])) for number in order]
    return [
        candidate_at(overview, center, score=float(np.clip(heat[tuple(places[number])], 0, 1)))
        for center, number in zip(centers, order, strict=True)
    ]


def candidate_at(overview: Overview, center_mm: Any, *, score: float) -> Candidate:
    """Returns what the maps say of a body at a place (3,), LPS mm: its level, rib and sacrum near it."""
    x, y, z = (float(value) for value in center_mm)
    index = np.asarray(overview.geometry.world_to_index((x, y, z)), np.float64)
    rib, sacrum = _anchors(overview, index)
    return Candidate((x, y, z), score, _level_vector(overview, index), rib=rib, sacrum=sacrum)


def _refine(heat: Floats, place: NDArray[np.intp]) -> NDArray[np.float64]:
    """Moves a peak to the centre of mass of the 5x5x5 voxels around it."""
    low = np.maximum(place - 2, 0)
    high = np.minimum(place + 3, heat.shape)
    around = heat[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float64) ** 2
    return np.asarray(low + np.array(ndimage.center_of_mass(around)))


def _level_vector(overview: Overview, index: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean level probabilities of the cells around a point, weighted by nearness."""
    cell = (index - 0.5) / 2
    low = np.maximum(np.floor(cell).astype(int) - 1, 0)
    high = np.minimum(low + 4, overview.levels.shape[1:])
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    axes = [np.arange(a, b) - c for a, b, c in zip(low, high, cell, strict=True)]
    distance = sum(np.square(a) for a in np.meshgrid(*axes, indexing="ij"))
    weight = np.exp(-distance / 2)
    part = overview.levels[(slice(None), *box)].astype(np.float64)
    return np.asarray((part * weight).sum((1, 2, 3)) / weight.sum())


def _anchors(overview: Overview, index: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Returns how surely a rib is attached beside this body, and the sacrum lies just below it.

    None where too little of the place to look at is in the field of view to say that there is none.
    """
    spacing = overview.geometry.spacing_mm[0]
    reach = np.array([54, 45, 48]) / spacing
    low = np.maximum(np.floor(index - reach).astype(int), 0)
    high = np.minimum(np.ceil(index + reach).astype(int) + 1, overview.heat.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    axes = [(np.arange(a, b) - c) * spacing for a, b, c in zip(low, high, index, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    tissue = overview.tissue[(slice(None), *box)].astype(np.float32)
    volume = np.where(overview.seen[box], spacing**3, 0)
    beside = (np.abs(x) > 15) & (np.abs(x) < 48) & (y > -12) & (y < 40) & (z > -10) & (z < 14)
    sides = [beside & (x * side > 0) for side in (-1, 1)]
    rib = float(np.clip(max((tissue[_RIB] * volume)[side].sum() for side in sides) / 1500, 0.02, 0.98))
    rib_in_view = any(volume[side].sum() >= _ENOUGH * _BESIDE_MM3 for side in sides)
    below = (np.abs(x) < 25) & (np.abs(y) < 25) & (z < -16) & (z > -44)
    mass = float((tissue[_SACRAL] * volume)[below].sum())
    spinal = float((tissue[_SPINAL] * volume)[below].sum())
    sacrum = float(np.clip(mass / (mass + spinal + 2000), 0.02, 0.98))
    sacrum_in_view = volume[below].sum() >= _ENOUGH * _BELOW_MM3
    return (
        rib if rib_in_view or rib > 0.5 else None,
        sacrum if sacrum_in_view or sacrum > 0.5 else None,
    )
