"""Labelled and unlabelled MR scans of a folder, and their landmarks from masks of bodies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinelab.anatomy import level
from spinelab.errors import InputError
from spinelab.io import read, read_mask
from spinelab.measurement import find_column
from spinelab.measurement.corners import find_corners
from spinelab.measurement.named_mask import spine_of_mask
from spinelab.tasks.mr_volume import STEP_MM, normalise_scan
from spinelab.volume import Mask

Floats = NDArray[np.float64]

_BODIES = "_bodies.nii.gz"
#: Where S1 lies against the lower endplate of L5: along its normal, and how much farther back that leans.
_S1_MM, _S1_LEAN_DEG = 23.0, 14.0


@dataclass(frozen=True)
class MrCase:
    """One person's scan.

    Attributes:
        name: Set and number, e.g. "lumbar_t2_02".
        image: The scan.
        bodies: VerSe numbers of its bodies; None for an unlabelled scan.
    """

    name: str
    image: Path
    bodies: Path | None


@dataclass(frozen=True, eq=False)
class Landmarks:
    """What is marked in a scan.

    Attributes:
        labels: (n,) VerSe numbers, head down; 26 is S1.
        points_mm: (n, 5, 3) centre and four corners, LPS mm, in the order of
            `spinelab.measurement.corners.CORNERS`; NaN where unknown.
    """

    labels: NDArray[np.int64]
    points_mm: Floats


@dataclass(frozen=True, eq=False)
class PreparedMr:
    """A case as the samplers want it.

    Attributes:
        name: The case.
        array: (i, j, k) float32 as in `MrVolume`.
        seen: (i, j, k) float32, 1 inside the field of view.
        labels: As in `Landmarks`; empty when unlabelled.
        points_mm: As in `Landmarks`, but in mm from the first voxel along the array's own axes.
    """

    name: str
    array: NDArray[np.float32]
    seen: NDArray[np.float32]
    labels: NDArray[np.int64]
    points_mm: Floats


def find_mr_cases(folder: Path) -> list[MrCase]:
    """Lists the scans of a folder: NAME_CONTRAST.nii.gz, with NAME_bodies.nii.gz beside it where labelled.

    Raises:
        InputError: There is no scan, or one person has two.
    """
    cases: dict[str, MrCase] = {}
    for path in sorted(folder.glob("*.nii.gz")):
        name = path.name.removesuffix(".nii.gz").rpartition("_")[0]
        if path.name.endswith((_BODIES, "_discs.nii.gz")) or not name:
            continue
        if name in cases:
            raise InputError(f"{folder} holds two scans called {name}; keep one contrast a folder")
        bodies = path.with_name(name + _BODIES)
        cases[name] = MrCase(name, path, bodies if bodies.exists() else None)
    if not cases:
        raise InputError(f"no scan in {folder}; wanted NAME_CONTRAST.nii.gz, labelled by NAME_bodies.nii.gz")
    return list(cases.values())


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
    """Reads cases; landmarks where there is a mask (and what reading raises)."""
    prepared = []
    for case in cases:
        volume = normalise_scan(read(case.image))
        labels: NDArray[np.int64] = np.zeros(0, np.int64)
        points: Floats = np.zeros((0, 5, 3))
        if case.bodies is not None:
            found = find_landmarks(read_mask(case.bodies))
            labels = found.labels
            points = np.asarray(volume.geometry.world_to_index(found.points_mm) * STEP_MM, np.float64)
        prepared.append(PreparedMr(case.name, volume.array, volume.seen.astype(np.float32), labels, points))
    return prepared
