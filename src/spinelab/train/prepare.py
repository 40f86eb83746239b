"""Turns a case into arrays a training step can sample from, once, and keeps them.

Everything ends on an LPS-aligned grid (index axes i to the left, j to the back, k to the head), so that
the samplers only deal with a spacing.
"""

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.anatomy import BY_LABEL, VERTEBRA_LABELS
from spinelab.errors import InputError
from spinelab.io import read, read_mask, verse
from spinelab.labels import convert_mask
from spinelab.train.cases import SACRUM, Case, read_flat_centers
from spinelab.train.paint import paint_classes
from spinelab.train.weak_tissue import BACKGROUND, RIB, SACRAL, UNKNOWN, VERTEBRA, mark_tissue
from spinelab.volume import Geometry, Image, Mask

LOCATE_SPACING_MM = 3.0
#: Finer scans are brought to this: the outline network works at 1.25 mm.
FINEST_MM = 0.7
_RIBS = range(92, 116)
#: The large arrays: hundreds of cases would not fit into memory.
_MAPPED = ("image", "vertebrae", "tissue")


@dataclass(frozen=True)
class Prepared:
    """A case at one resolution, LPS axes.

    Attributes:
        name: The case.
        image: (i, j, k) int16 HU, or uint8 paint classes when `painted`.
        painted: The image must be painted before use.
        vertebrae: (i, j, k) uint8 VerSe numbers; empty array when there is no mask.
        tissue: (i, j, k) uint8 BACKGROUND, VERTEBRA, SACRAL, RIB or UNKNOWN.
        spacing_mm: (3,) voxel edges.
        centers: (n, 3) body centres in voxel indices, head down.
        labels: (n,) VerSe numbers of the centres.
        named: Whether the labels may teach naming.
    """

    name: str
    image: NDArray[np.int16] | NDArray[np.uint8]
    painted: bool
    vertebrae: NDArray[np.uint8]
    tissue: NDArray[np.uint8]
    spacing_mm: NDArray[np.float64]
    centers: NDArray[np.float64]
    labels: NDArray[np.int64]
    named: bool


def prepare(case: Case, cache: Path, *, spacing_mm: float | None) -> Prepared:
    """Returns the case at `spacing_mm` (None: as scanned), from the cache where it lies there.

    Raises:
        InputError: The mask is empty or holds numbers that are not VerSe's (and what reading raises).
    """
    target = cache / f"{case.name}_{spacing_mm or 'native'}.npz"
    if not target.exists():
        keep_prepared(_prepare(case, spacing_mm), target)
    return open_prepared(target)


def keep_prepared(prepared: Prepared, path: Path) -> None:
    """Writes a prepared case, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}_{os.getpid()}.part.npz")
    np.savez(partial, **vars(prepared))
    partial.replace(path)


def open_prepared(path: Path) -> Prepared:
    """Opens a kept case; its large arrays stay on disk until they are read."""
    with np.load(path) as data:
        values = {key: data[key] for key in data.files if key not in _MAPPED}
    values |= _map_arrays(path, _MAPPED)
    return Prepared(
        **{
            **values,
            "name": str(values["name"]),
            "painted": bool(values["painted"]),
            "named": bool(values["named"]),
        }
    )


def _map_arrays(path: Path, keys: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Maps arrays of an uncompressed npz file into memory, so that only what is sampled is read."""
    whole = np.memmap(path, np.uint8, mode="c")
    arrays = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for key in keys:
            start = archive.getinfo(f"{key}.npy").header_offset
            lengths = np.frombuffer(whole[start + 26 : start + 30].tobytes(), "<u2")
            file.seek(start + 30 + int(lengths.sum()))
            assert np.lib.format.read_magic(file) == (1, 0), "what NumPy writes for plain arrays"
            shape, fortran, kind = np.lib.format.read_array_header_1_0(file)
            order: Literal["C", "F"] = "F" if fortran else "C"
            arrays[key] = np.ndarray(shape, kind, buffer=whole.data, offset=file.tell(), order=order)
    return arrays


def _prepare(case: Case, spacing_mm: float | None) -> Prepared:
    image = read(case.image).reoriented("LPS") if case.image else None
    organs = read_mask(case.organs).reoriented("LPS") if case.organs else None
    vertebrae = _read_vertebrae(case, organs)
    grid = next(v for v in (image, vertebrae) if v is not None).geometry
    points = _centers(case, vertebrae, image)
    if spacing_mm is not None:
        image = image.shrunk(spacing_mm) if image else None
        grid = grid.resampled([spacing_mm] * 3)
    elif min(grid.spacing_mm) < FINEST_MM:
        grid = grid.resampled([max(s, FINEST_MM) for s in grid.spacing_mm])
        image = image.resampled(grid) if image else None
    if vertebrae is not None and not vertebrae.geometry.same_grid(grid, 0.5):
        vertebrae = vertebrae.resampled(grid)
    if organs is not None and not organs.geometry.same_grid(grid, 0.5):
        organs = organs.resampled(grid)
    labels = np.array(sorted(points, key=lambda label: -points[label][2]), dtype=np.int64)
    if image is not None:
        values: NDArray[Any]
        values = np.clip(np.round(image.array), -1024, 3071).astype(np.int16)
    else:
        assert vertebrae is not None
        values = paint_classes(vertebrae, None if organs is None else organs.array)
    centers = np.asarray(
        grid.world_to_index(np.array([points[int(label)] for label in labels]).reshape(-1, 3)), np.float64
    )
    tissue = _tissue(grid, vertebrae, organs)
    if vertebrae is None and spacing_mm is not None and case.named:
        tissue = mark_tissue(values, spacing_mm, centers, labels)
    masks = vertebrae.array.astype(np.uint8) if vertebrae is not None else np.zeros((0, 0, 0), np.uint8)
    return Prepared(
        name=case.name,
        image=np.ascontiguousarray(values),
        painted=image is None,
        vertebrae=np.ascontiguousarray(masks),
        tissue=tissue,
        spacing_mm=np.array(grid.spacing_mm),
        centers=centers,
        labels=labels,
        named=case.named,
    )


def _read_vertebrae(case: Case, organs: Mask | None) -> Mask | None:
    if case.vertebrae is not None:
        mask = read_mask(case.vertebrae).reoriented("LPS")
    elif organs is not None:
        mask = convert_mask(organs, "totalsegmentator_v2", "verse", drop=True)
    else:
        return None
    labels = mask.labels()
    if not set(labels) & set(VERTEBRA_LABELS):
        raise InputError(
            f"the mask of {case.name} holds no vertebra (labels {list(labels)}); leave the case out"
        )
    if strange := sorted(set(labels) - set(BY_LABEL)):
        raise InputError(
            f"the mask of {case.name} holds labels {strange}; wanted VerSe numbers 1 to 28 "
            "(see convert-labels)"
        )
    return mask


def _centers(case: Case, vertebrae: Mask | None, image: Image | None) -> dict[int, tuple[float, ...]]:
    """Body centres in LPS mm, from the centroid file if there is one, else from the mask."""
    if case.centers is not None:
        if case.centers.parent.name == "centroids":
            return dict(read_flat_centers(case.centers))
        volume = image or vertebrae
        assert volume is not None
        original = read(case.image).geometry if case.image else volume.geometry
        return dict(verse.read_centroids(case.centers, original))
    assert vertebrae is not None
    return body_centers(vertebrae)


def body_centers(mask: Mask) -> dict[int, tuple[float, ...]]:
    """Finds the body centre of every complete vertebra of a VerSe mask, label -> LPS mm.

    The body is where the mask is thickest: the mean of the voxels whose distance to the mask's surface is
    at least 0.6 of the largest. A label that the first or last slice cuts through is left out.
    The mask must be on LPS axes.
    The sacrum's is that of its upper third (S1).
    """
    found: dict[int, tuple[float, ...]] = {}
    boxes = ndimage.find_objects(mask.array)
    for label in mask.labels():
        box = boxes[label - 1]
        inside = np.pad(mask.array[box] == label, 1)
        if label > 28 or label == 27 or _cut(inside, box, mask.geometry, label):
            continue
        if label == SACRUM:
            inside[:, :, : inside.shape[2] * 2 // 3] = False
        depth = ndimage.distance_transform_edt(inside, sampling=mask.spacing_mm)
        index = np.argwhere(depth >= 0.6 * depth.max()).mean(axis=0) - 1
        start = [s.start for s in box]
        point = mask.geometry.index_to_world(index + start)
        found[label] = (float(point[0]), float(point[1]), float(point[2]))
    return found


def _cut(inside: NDArray[np.bool_], box: tuple[slice, ...], grid: Geometry, label: int) -> bool:
    """Whether the first or last slice goes through a good part of the (padded) label."""
    areas = inside.sum(axis=(0, 1))[1:-1]
    limit = 0.3 * areas.max()
    top = box[2].stop == grid.shape[2] and areas[-1] > limit
    bottom = box[2].start == 0 and areas[0] > limit
    return bool(top) if label == SACRUM else bool(top or bottom)


def _tissue(grid: Geometry, vertebrae: Mask | None, organs: Mask | None) -> NDArray[np.uint8]:
    tissue = np.full(grid.shape, UNKNOWN, np.uint8)
    if vertebrae is None:
        return tissue
    present = vertebrae.array > 0
    if organs is None:
        heights = np.flatnonzero(present.any(axis=(0, 1)))
        tissue[:, :, heights[0] : heights[-1] + 1] = BACKGROUND
    else:
        tissue[:] = BACKGROUND
        tissue[np.isin(organs.array, np.array(_RIBS, np.uint8))] = RIB
    tissue[present] = VERTEBRA
    tissue[vertebrae.array == SACRUM] = SACRAL
    return tissue
