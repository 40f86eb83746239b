"""Are the slices of a series one regular stack? If so its grid, if not what is wrong with it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinelab.errors import GeometryError
from spinelab.io.dicom import DicomSlice
from spinelab.volume import Geometry

#: Slices closer than this along the normal claim the same place, mm.
SAME_PLACE_MM = 0.01
_STEP_TOLERANCE_MM = 0.1
_STEP_TOLERANCE = 0.1
_DRIFT_TOLERANCE_MM = 0.5
_LISTED = 6


@dataclass(frozen=True)
class StackProblem:
    """Why slices make no regular stack: `doubled`, `missing` or `uneven`, and a sentence about it."""

    kind: str
    sentence: str


def depths(slices: Sequence[DicomSlice]) -> NDArray[np.float64]:
    """Returns the positions along the common normal in mm, one a slice; all must be placed."""
    positions = np.array([item.position for item in slices], dtype=np.float64).reshape(-1, 3)
    return positions @ slices[0].normal


def sort_slices(slices: Sequence[DicomSlice]) -> list[DicomSlice]:
    """Returns placed slices by position along their normal (never by instance number)."""
    order = np.argsort(depths(slices), kind="stable")
    return [slices[index] for index in order]


def find_problem(slices: Sequence[DicomSlice]) -> StackProblem | None:
    """Returns what keeps sorted, placed slices from being a regular stack, or None."""
    depth = depths(slices)
    steps = np.diff(depth)
    if len(steps) == 0:
        return None
    if steps.min() < SAME_PLACE_MM:
        places = depth[1:][steps < SAME_PLACE_MM]
        return StackProblem(
            "doubled", f"{len(places)} positions hold more than one image, at {_listed(places)} mm"
        )
    usual = float(np.median(steps))
    tolerance = max(_STEP_TOLERANCE_MM, _STEP_TOLERANCE * usual)
    odd = np.flatnonzero(np.abs(steps - usual) > tolerance)
    if len(odd) == 0:
        return _find_drift(slices, depth)
    multiples = np.rint(steps[odd] / usual)
    if (multiples >= 2).all() and (np.abs(steps[odd] - multiples * usual) <= multiples * tolerance).all():
        absent = int((multiples - 1).sum())
        gaps = ", ".join(f"{depth[n]:.1f} to {depth[n + 1]:.1f}" for n in odd[:_LISTED])
        return StackProblem(
            "missing",
            f"{absent} of {len(slices) + absent} slices are missing, between positions {gaps} mm "
            f"(usual distance {usual:.2f} mm)",
        )
    return StackProblem(
        "uneven",
        f"the distance between slices changes from {steps.min():.2f} to {steps.max():.2f} mm, "
        f"first at position {depth[odd[0]]:.1f} mm",
    )


def _find_drift(slices: Sequence[DicomSlice], depth: NDArray[np.float64]) -> StackProblem | None:
    """Returns a problem when evenly spaced slices do not lie on one straight line."""
    positions = np.array([item.position for item in slices], dtype=np.float64)
    share = (depth - depth[0]) / (depth[-1] - depth[0])
    line = positions[0] + share[:, None] * (positions[-1] - positions[0])
    drift = float(np.linalg.norm(positions - line, axis=1).max())
    if drift <= _DRIFT_TOLERANCE_MM:
        return None
    return StackProblem("uneven", f"the slices are shifted against one another by up to {drift:.1f} mm")


def _listed(values: NDArray[np.float64]) -> str:
    text = ", ".join(f"{value:.1f}" for value in values[:_LISTED])
    return text + (" ..." if len(values) > _LISTED else "")


def stack_geometry(slices: Sequence[DicomSlice]) -> Geometry:
    """Returns the grid of sorted slices that make a regular stack.

    The third axis runs from the first to the last position, so a tilted gantry gives a sheared affine. A
    single slice of MR is as thick as it says.

    Raises:
        GeometryError: A single slice, of another modality or of unknown thickness.
    """
    first, last = slices[0], slices[-1]
    assert first.orientation is not None
    assert first.spacing is not None
    assert first.position is not None
    assert last.position is not None
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[:3] * first.spacing[0]
    affine[:3, 1] = first.orientation[3:] * first.spacing[1]
    if len(slices) < 2:
        affine[:3, 2] = first.normal * _thickness_mm(first)
    else:
        affine[:3, 2] = (last.position - first.position) / (len(slices) - 1)
    affine[:3, 3] = first.position
    return Geometry((*first.size, len(slices)), affine)


def _thickness_mm(single: DicomSlice) -> float:
    """Returns the thickness a single slice of MR states."""
    if single.facts.get("Modality") == "MR":
        with suppress(ValueError, KeyError):
            thickness = float(single.facts["SliceThickness"])
            if thickness > 0:
                return thickness
        raise GeometryError(
            "found a single slice that states no valid SliceThickness, which is never guessed; export the "
            "original series from the scanner or archive"
        )
    raise GeometryError(
        "found a single DICOM slice, wanted a volume; give the folder that holds the whole series"
    )
