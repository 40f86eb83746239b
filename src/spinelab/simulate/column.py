"""The column a simulation starts from: frames, discs and endplates of the vertebrae in view."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spinelab.anatomy import level
from spinelab.errors import InputError
from spinelab.measurement import Column, find_column
from spinelab.measurement.curvature import Endplates
from spinelab.measurement.frames import build_axes, column_axes
from spinelab.measurement.named_mask import spine_of_mask
from spinelab.simulate.rigid import Array, RigidMotion
from spinelab.volume import Mask

SACRUM = "S"
#: Where a body's endplates lie, as a share of the way to the next centre, when they are not in view.
HALF_BODY = 0.4
#: Half width and half depth of a body as shares of the distance to the next centre.
BODY_SHARES = np.array([0.62, 0.47])


@dataclass(frozen=True, eq=False)
class Chain:
    """A column as a chain of rigid pieces.

    Attributes:
        levels: From the head down, "S" last where the sacrum is in view.
        centers_mm: (n, 3) body centres, LPS mm.
        axes: (n, 3, 3) rows left, posterior, superior in LPS.
        upper_mm, lower_mm: (n, 3) middle of the superior and the inferior endplate, LPS mm.
        half_mm: (n, 2) half width and half depth of the bodies, mm.
    """

    levels: tuple[str, ...]
    centers_mm: Array
    axes: Array
    upper_mm: Array
    lower_mm: Array
    half_mm: Array

    def index(self, name: str) -> int:
        """Returns the place of a level.

        Raises:
            InputError: It is not there.
        """
        if name not in self.levels:
            raise InputError(f"{name} is not in the mask; it holds {', '.join(self.levels)}")
        return self.levels.index(name)

    def tilts_deg(self) -> Array:
        """Returns (n, 3) coronal lean to the left, sagittal lean to the back, axial turn, in degrees."""
        return np.array([tilts_of_axes(axes) for axes in self.axes])

    def move_chain(self, motions: Sequence[RigidMotion]) -> dict[str, Array]:
        """Returns the arrays of the chain after a rigid motion of each piece."""

        def move(points: Array) -> Array:
            return np.array([m.apply(p) for m, p in zip(motions, points, strict=True)])

        return {
            "centers_mm": move(self.centers_mm),
            "axes": np.array([m.turn(a) for m, a in zip(motions, self.axes, strict=True)]),
            "upper_mm": move(self.upper_mm),
            "lower_mm": move(self.lower_mm),
        }


def chain_centers(levels: Sequence[str], centers_mm: Array) -> Chain:
    """Returns a chain of which only body centres are known; the rest follows from their distances.

    Args:
        levels: From the head down.
        centers_mm: (n, 3) body centres, LPS mm; at least two.
    """
    gaps = np.diff(centers_mm, axis=0)
    above = np.concatenate([gaps[:1], gaps])
    below = np.concatenate([gaps, gaps[-1:]])
    size = np.minimum(np.linalg.norm(above, axis=1), np.linalg.norm(below, axis=1))
    return Chain(
        tuple(levels),
        np.asarray(centers_mm, np.float64),
        np.array(column_axes(centers_mm)),
        centers_mm - HALF_BODY * above,
        centers_mm + HALF_BODY * below,
        size[:, None] * BODY_SHARES,
    )


@dataclass(frozen=True, eq=False)
class SourceColumn(Chain):
    """The chain of a mask's vertebrae.

    Attributes:
        known: (n,) whether axes and endplates are the vertebra's own; else they lean on its neighbours.
        found: The bodies themselves.
        endplates: What angles are measured from.
    """

    known: NDArray[np.bool_]
    found: Column
    endplates: tuple[Endplates, ...]

    def moved(self, motions: Sequence[RigidMotion]) -> "SourceColumn":
        """Returns the column after a rigid motion of each vertebra (`found` stays that of the scan)."""
        by_level = dict(zip(self.levels, motions, strict=True))
        plates = tuple(_move_endplates(e, by_level[e.level]) for e in self.endplates)
        return replace(self, **self.move_chain(motions), endplates=plates)  # type: ignore[arg-type]


def _move_endplates(plates: Endplates, motion: RigidMotion) -> Endplates:
    return replace(
        plates,
        center_mm=motion.apply(plates.center_mm),
        superior=None if plates.superior is None else motion.turn(plates.superior),
        inferior=None if plates.inferior is None else motion.turn(plates.inferior),
    )


def tilts_of_axes(axes: Array) -> tuple[float, float, float]:
    """Returns coronal lean to the left, sagittal lean to the back and axial turn of (3, 3) axes, degrees.

    Leans are those of the superior axis projected on the coronal and the sagittal plane, as on a radiograph;
    the turn is about that axis, positive where the front moves to the left.
    """
    _, posterior, superior = axes
    level_left, level_back, _ = _level_axes(superior)
    turn = np.arctan2(-(posterior @ level_left), posterior @ level_back)
    x, y, z = superior
    return (float(np.degrees(np.arctan2(x, z))), float(np.degrees(np.arctan2(y, z))), float(np.degrees(turn)))


def axes_of_tilts(coronal_deg: float, sagittal_deg: float, axial_deg: float) -> Array:
    """Returns the (3, 3) axes with these leans and this turn (see `tilts_of_axes`)."""
    z = np.copysign(1.0, np.cos(np.radians(sagittal_deg)))  # beyond 90 degrees it looks down
    x, y = z * np.tan(np.radians([coronal_deg, sagittal_deg]))
    superior = np.array([x, y, z]) / np.sqrt(x * x + y * y + 1)
    left, back, _ = _level_axes(superior)
    turn = np.radians(axial_deg)
    posterior = np.cos(turn) * back - np.sin(turn) * left
    return np.stack([np.cross(posterior, superior), posterior, superior])


def _level_axes(superior: Array) -> Array:
    """Returns the axes with this superior direction that are not turned against the patient."""
    left = np.cross([0.0, 1.0, 0.0], superior)
    left = left / np.linalg.norm(left)
    return np.stack([left, np.cross(superior, left), superior])


def find_source_column(mask: Mask) -> SourceColumn:
    """Finds frames and endplates of every vertebra of a mask.

    Args:
        mask: (i, j, k) VerSe numbers, whole vertebrae or bodies alone.

    Raises:
        InputError: Fewer than two vertebrae with a body, or names that do not run down the column.
        LabelError: Labels that are no VerSe numbers.
    """
    spine = spine_of_mask(mask)
    if not spine.vertebrae:
        raise InputError("the mask holds no vertebra; give one with VerSe numbers (see convert-labels)")
    found = find_column(mask, spine)
    if len(found.bodies) < 2:
        raise InputError(
            f"the mask shows {len(found.bodies)} vertebral bodies with endplates "
            f"(labels: {', '.join(spine.levels)}); "
            "a curve needs at least two"
        )
    names = [vertebra.level for vertebra in found.vertebrae]
    centers = [np.array(vertebra.center_mm) for vertebra in found.vertebrae]
    sacral = _sacral_center(mask, found)
    if sacral is not None:
        names.append(SACRUM)
        centers.append(sacral)
    _check_order(names, np.array(centers))
    return _build(names, np.array(centers), found)


def _sacral_center(mask: Mask, found: Column) -> Array | None:
    if found.sacrum is not None:
        return np.asarray(found.sacrum.plane.point)
    inside = np.argwhere(mask.array == level(SACRUM).label)
    return np.asarray(mask.geometry.index_to_world(inside.mean(axis=0))) if len(inside) else None


def _check_order(names: Sequence[str], centers: Array) -> None:
    """Refuses columns whose names do not run from the head down."""
    for i in range(len(names) - 1):
        step = centers[i + 1] - centers[i]
        if step[2] > 0.5 * np.linalg.norm(step):
            raise InputError(
                f"{names[i + 1]} lies above {names[i]}: names must run from the head down; "
                "check the labels, or the scan's orientation"
            )


def _build(names: Sequence[str], centers: Array, found: Column) -> SourceColumn:
    count = len(names)
    known = np.array([name in found.bodies for name in names])
    axes = np.array(column_axes(centers))
    half = np.tile([20.0, 15.0], (count, 1))
    gaps = np.diff(centers, axis=0)
    upper, lower = centers.copy(), centers.copy()
    for i, name in enumerate(names):
        upper[i] = centers[i] - HALF_BODY * gaps[max(i - 1, 0)]
        lower[i] = centers[i] + HALF_BODY * gaps[min(i, count - 2)]
        body = found.bodies.get(name)
        if body is None:
            continue
        axes[i] = body.grid.axes
        half[i] = body.half_width_mm, body.depth_mm / 2
        upper[i] = upper[i] if body.superior is None else body.superior.point
        lower[i] = lower[i] if body.inferior is None else body.inferior.point
    if names[-1] == SACRUM and found.sacrum is not None:
        known[-1], axes[-1], upper[-1] = True, found.sacrum.axes, found.sacrum.plane.point
    places = np.flatnonzero(known)
    for i in np.flatnonzero(~known).tolist():  # cut ones turn as the nearest whole one does
        nearest = int(places[np.argmin(np.abs(places - i))])
        axes[i] = build_axes(axes[nearest][2], axes[nearest][1])
    plates = tuple(found.endplates())
    return SourceColumn(tuple(names), centers, axes, upper, lower, half, known, found, plates)
