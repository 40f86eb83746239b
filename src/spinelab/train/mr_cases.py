"""Labelled and unlabelled MR scans of a folder, their landmarks, and label maps that are painted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from spinelab.anatomy import VERTEBRA_LABELS, level
from spinelab.errors import InputError, SpinelabError
from spinelab.io import check_mr, read, read_mask, verse
from spinelab.measurement import find_column
from spinelab.measurement.corners import find_corners
from spinelab.measurement.named_mask import spine_of_mask
from spinelab.tasks.mr_volume import STEP_MM, normalise_scan
from spinelab.train.cases import Case
from spinelab.train.prepare import prepare
from spinelab.volume import Geometry, Image, Mask

Floats = NDArray[np.float64]
V = TypeVar("V", Image, Mask)

_BODIES, _CENTERS, _OTHER = "_bodies.nii.gz", "_ctd.json", ("_discs.nii.gz", "_vert.nii.gz")
#: A single slice stands for a slab of so many voxels, so that turns and bends find something beside it.
_SLAB = 16
#: What is kept of a painted label map about its column, left to right and front to back.
_PAINTED_ABOUT_MM = (60.0, 110.0)
#: Where S1 lies against the lower endplate of L5: along its normal, and how much farther back that leans.
_S1_MM, _S1_LEAN_DEG = 23.0, 14.0


@dataclass(frozen=True)
class MrCase:
    """One person's scan.

    Attributes:
        name: Set and number, e.g. "lumbar_t2_02".
        image: The scan.
        bodies: VerSe numbers of its bodies, where there is a mask.
        centers: VerSe centroid file, where there is one; beside a mask it adds what the mask does not show.
    """

    name: str
    image: Path
    bodies: Path | None = None
    centers: Path | None = None

    @property
    def labelled(self) -> bool:
        """Whether anything is marked in it."""
        return self.bodies is not None or self.centers is not None


@dataclass(frozen=True, eq=False)
class Landmarks:
    """What is marked in a scan.

    Attributes:
        labels: (n,) VerSe numbers, head down; 26 is S1.
        points_mm: (n, 5, 3) centre and four corners, LPS mm, in the order of
            `spinelab.measurement.corners.CORNERS`; NaN where unknown.
        named: Whether the labels may teach naming; else they only say which bodies follow one another.
    """

    labels: NDArray[np.int64]
    points_mm: Floats
    named: bool = True


@dataclass(frozen=True, eq=False)
class PreparedMr:
    """A case as the samplers want it.

    Attributes:
        name: The case.
        array: (i, j, k) float32 as in `MrVolume`; of a slice, `_SLAB` copies; paint classes of a label map.
        seen: (i, j, k) float32, 1 inside the field of view.
        labels: As in `Landmarks`; empty when unlabelled.
        points_mm: As in `Landmarks`, but in mm from the first voxel along the array's own axes.
        kind: A volume or stack, a single slice, or a label map to be painted.
        named: As in `Landmarks`.
    """

    name: str
    array: NDArray[np.float32]
    seen: NDArray[np.float32]
    labels: NDArray[np.int64]
    points_mm: Floats
    kind: Literal["volume", "slice", "painted"] = "volume"
    named: bool = True


def find_mr_cases(folder: Path) -> list[MrCase]:
    """Lists the scans of a folder: NAME_CONTRAST.nii.gz, labelled by NAME_bodies.nii.gz or NAME_ctd.json.

    Raises:
        InputError: There is no scan, or one person has two.
    """
    cases: dict[str, MrCase] = {}
    for path in sorted(folder.glob("*.nii.gz")):
        name = path.name.removesuffix(".nii.gz").rpartition("_")[0]
        if path.name.endswith((_BODIES, *_OTHER)) or not name:
            continue
        if name in cases:
            raise InputError(f"{folder} holds two scans called {name}; keep one contrast a folder")
        bodies, centers = path.with_name(name + _BODIES), path.with_name(name + _CENTERS)
        cases[name] = MrCase(
            name, path, bodies if bodies.exists() else None, centers if centers.exists() else None
        )
    if not cases:
        raise InputError(
            f"no scan in {folder}; wanted NAME_CONTRAST.nii.gz, labelled by NAME_bodies.nii.gz or "
            "NAME_ctd.json"
        )
    return list(cases.values())


def find_unlabelled(folder: Path) -> list[MrCase]:
    """Lists every scan of a folder under its whole name, whatever is marked in it.

    Raises:
        InputError: There is none.
    """
    paths = [p for p in sorted(folder.glob("*.nii.gz")) if not p.name.endswith((_BODIES, *_OTHER))]
    if not paths:
        raise InputError(f"no scan in {folder}; wanted MR as *.nii.gz")
    return [MrCase(path.name.removesuffix(".nii.gz"), path) for path in paths]


def find_landmarks(mask: Mask) -> Landmarks:
    """Finds centre and corners of every body of a mask; S1, unmarked, is put where L5 leads to it.

    Raises:
        InputError: The mask shows fewer than two bodies with both endplates.
        LabelError: It holds numbers that are no vertebrae.
    """
    column = find_column(mask, spine_of_mask(mask))
    labels, points = [], []
    for vertebra in column.vertebrae:
        body = column.bodies.get(vertebra.level)
        if body is None:
            continue
        corners = find_corners(mask, vertebra.label, body)
        if corners is not None:
            labels.append(vertebra.label)
            points.append(np.vstack([body.center_mm, corners]))
    if len(labels) < 2:
        raise InputError(
            f"the mask shows {len(labels)} whole bodies, wanted at least 2; give VerSe numbers of bodies"
        )
    if labels[-1] == level("L5").label:
        labels.append(level("S").label)
        points.append(_first_sacral(points[-1]))
    return Landmarks(np.array(labels), np.array(points))


def _first_sacral(last: Floats) -> Floats:
    """Returns (5, 3) for S1: its centre, about 5 mm exact, and no corners."""
    front, back = last[3], last[4]
    along = (back - front) / np.linalg.norm(back - front)
    down = (last[3] + last[4] - last[1] - last[2]) / 2
    down = down - (down @ along) * along
    lean = np.radians(_S1_LEAN_DEG)
    step = np.cos(lean) * down / np.linalg.norm(down) + np.sin(lean) * along
    points = np.full((5, 3), np.nan)
    points[0] = (front + back) / 2 + _S1_MM * step
    return points


def prepare_mr(cases: Sequence[MrCase]) -> list[PreparedMr]:
    """Reads cases; landmarks where something is marked (and what reading raises)."""
    return [_prepare(case) for case in cases]


def prepare_readable(cases: Sequence[MrCase]) -> tuple[list[PreparedMr], dict[str, str]]:
    """Reads what can be read of unlabelled cases; returns it, and name -> why another was left out."""
    prepared, refused = [], {}
    for case in cases:
        try:
            prepared.append(_prepare(case))
        except SpinelabError as error:
            refused[case.name] = str(error)
    return prepared, refused


def _prepare(case: MrCase) -> PreparedMr:
    scan = check_mr(read(case.image)).image
    single = scan.geometry.shape[scan.geometry.axes_by_world[0]] == 1
    volume = normalise_scan(_spread(scan) if single else scan)
    labels: NDArray[np.int64] = np.zeros(0, np.int64)
    points: Floats = np.zeros((0, 5, 3))
    if case.labelled:
        found = read_landmarks(case, scan.geometry)
        labels = found.labels
        points = np.asarray(volume.geometry.world_to_index(found.points_mm) * STEP_MM, np.float64)
    seen = volume.seen.astype(np.float32)
    return PreparedMr(case.name, volume.array, seen, labels, points, "slice" if single else "volume")


def _spread(volume: V) -> V:
    """Turns a single slice into a slab of copies, `STEP_MM` apart, about its own place."""
    across = volume.geometry.axes_by_world[0]
    affine = np.array(volume.geometry.affine)
    step = STEP_MM * affine[:3, across] / np.linalg.norm(affine[:3, across])
    affine[:3, across] = step
    affine[:3, 3] -= (_SLAB - 1) / 2 * step
    array = np.repeat(volume.array, _SLAB, axis=across)
    return replace(volume, array=array, geometry=Geometry(array.shape, affine))


def read_landmarks(case: MrCase, grid: Geometry) -> Landmarks:
    """Landmarks from the mask, and from the centroid file those the mask does not show.

    Raises:
        InputError: Fewer than two vertebrae are marked.
    """
    found = Landmarks(np.zeros(0, np.int64), np.zeros((0, 5, 3)))
    if case.bodies is not None:
        mask = read_mask(case.bodies)
        single = mask.geometry.shape[mask.geometry.axes_by_world[0]] == 1
        found = find_landmarks(_spread(mask) if single else mask)
    if case.centers is not None:
        marked = verse.read_centroids(case.centers, grid)
        more = {k: p for k, p in marked.items() if k in VERTEBRA_LABELS and k not in found.labels}
        points = np.full((len(more), 5, 3), np.nan)
        points[:, 0] = np.array(list(more.values())).reshape(-1, 3)
        labels = np.concatenate([found.labels, np.array(list(more), np.int64)])
        points = np.concatenate([found.points_mm, points])
        order = np.argsort(-points[:, 0, 2], kind="stable")
        found = Landmarks(labels[order], points[order])
    if len(found.labels) < 2:
        raise InputError(f"{case.name} has {len(found.labels)} vertebrae marked, wanted at least 2")
    return found


def prepare_painted(cases: Sequence[Case], cache: Path) -> list[PreparedMr]:
    """Turns label maps into paint classes at `STEP_MM` about their column; maps of one body are left out."""
    prepared = []
    for case in cases:
        if case.vertebrae is None or case.image is not None:
            continue
        whole = prepare(case, cache, spacing_mm=STEP_MM)
        mask = read_mask(case.vertebrae).reoriented("LPS")
        grid = mask.geometry.resampled([STEP_MM] * 3)
        try:
            found = find_landmarks(mask)
        except InputError:
            continue
        points = np.asarray(grid.world_to_index(found.points_mm), np.float64)
        about = np.array([*_PAINTED_ABOUT_MM, 1e6]) / STEP_MM
        low, high = points[:, 0].min(0) - about, points[:, 0].max(0) + about
        low, high = (np.clip(np.rint(edge), 0, whole.image.shape).astype(int) for edge in (low, high))
        classes = whole.image[tuple(map(slice, low, high))].astype(np.float32)
        moved = (points - low) * STEP_MM
        prepared.append(PreparedMr(case.name, classes, np.ones_like(classes), found.labels, moved, "painted"))
    return prepared
