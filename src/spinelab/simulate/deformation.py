"""A scan and its mask, deformed: the way through the simulator."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinelab.anatomy import level
from spinelab.errors import GeometryError, InputError
from spinelab.measurement.sampling import find_boxes
from spinelab.simulate.changes import Change, Finding, combine, find_site
from spinelab.simulate.collapse import Collapse
from spinelab.simulate.column import SourceColumn, find_source_column
from spinelab.simulate.deformity import Deformity, reach_tilts
from spinelab.simulate.field import Field, Index, compute_field
from spinelab.simulate.polyrigid import PolyrigidFlow, SampledShape, sample_shape
from spinelab.simulate.posture import MOST_BEND_DEG, largest_bend_deg, pose_column
from spinelab.simulate.rigid import Array, RigidMotion
from spinelab.simulate.threads import map_in_threads
from spinelab.simulate.truth import describe_truth, follow_changes
from spinelab.volume import Geometry, Image, Mask

AIR_HU = -1024.0
#: Room left around vertebrae on a grown grid.
GROWN_MM = 6.0
#: Shorter edges say little about rigidity.
_LEAST_EDGE_MM = 8.0
#: Where a change that deforms nothing may alter intensities, local mm.
_BODY_REACH = ((-40.0, 40.0), (-35.0, 35.0), (-25.0, 25.0))


@dataclass(frozen=True, eq=False)
class Deformation:
    """A computed deformation of one scan.

    Attributes:
        column: Before.
        motions: Level -> rigid motion of that vertebra.
        changes: Level -> what became of that vertebra's own shape.
        flow: The motion of all space.
        field: The same, with the changes, on a grid: what volumes and points are moved by.
        target: Grid of the deformed volumes.
    """

    column: SourceColumn
    motions: Mapping[str, RigidMotion]
    changes: Mapping[str, Change]
    flow: PolyrigidFlow
    field: Field
    target: Geometry

    def to_target(self, points_mm: Array) -> Array:
        """Returns where points (n, 3) of the scan end up, LPS mm."""
        return self.field.target_of(points_mm, self.flow.forward(self._apply(points_mm)))

    def to_source(self, points_mm: Array) -> Array:
        """Returns where in the scan points (n, 3) of the deformed one come from, LPS mm."""
        return self.field.source_of(points_mm)

    def _apply(self, points_mm: Array) -> Array:
        for name, change in self.changes.items():
            points_mm = _locally(self.column, name, points_mm, change, forward=True)
        return points_mm


@dataclass(frozen=True, eq=False)
class Deformed:
    """What comes out.

    Attributes:
        image: On the grid of the scan, or one that holds it.
        mask: VerSe numbers, likewise.
        truth: Everything that is known exactly, as JSON values (docs/simulation.md).
        deformation: The map itself.
    """

    image: Image
    mask: Mask
    truth: dict[str, Any]
    deformation: Deformation


def deform(
    image: Image,
    mask: Mask,
    deformity: Deformity,
    *,
    column: SourceColumn | None = None,
    grow: bool = False,
) -> Deformed:
    """Deforms a scan and its mask together.

    Every vertebra moves rigidly but for what `deformity.findings` do to it, and everything else follows
    smoothly (`spinelab.simulate.polyrigid`).

    Args:
        image: (i, j, k) CT or MR.
        mask: (i, j, k) VerSe numbers on the same grid, whole vertebrae or bodies alone.
        deformity: What to do.
        column: Of the mask, if it was found before.
        grow: Make the grid larger where vertebrae would leave it, voxels staying where they are. What was
            never scanned is air in a CT and the least intensity in an MR.

    Raises:
        GeometryError: Image and mask are not on one grid.
        InputError: Fewer than two vertebrae, levels that are not there, or angles that would fold the tissue.
    """
    if not image.geometry.same_grid(mask.geometry, 0.1):
        raise GeometryError(
            f"image of shape {image.array.shape} and mask of shape {mask.array.shape} are not on the same "
            "grid; give the mask that was drawn on this scan"
        )
    column = find_source_column(mask) if column is None else column
    deformation = plan(image, mask, column, deformity, grow=grow)
    target = deformation.target
    outside = AIR_HU if image.modality == "CT" else float(image.array.min())
    warped = deformation.field.warp(image, target, outside=outside)
    moved = deformation.field.warp_mask(mask, target, *_bound_labels(deformation))
    truth = describe_truth(column, deformation.motions, deformation.changes, target)
    truth["checks"] = _check(deformation)
    truth["deformity"] = deformity.to_dict()
    return Deformed(_shade(warped, deformation), moved, truth, deformation)


def settle(image: Image, column: SourceColumn, findings: Sequence[Finding]) -> SourceColumn:
    """Returns the column as findings alone leave it: what a curve beside them is to be drawn for.

    Args:
        image: The scan.
        column: Of its mask.
        findings: Collapses, narrowed discs and the like.

    Raises:
        GeometryError: What a finding needs is not in view.
        InputError: Findings at levels that are not there, or larger than possible.
    """
    return follow_changes(column, _fit_changes(image, column, findings))[1]


def plan(
    image: Image, mask: Mask, column: SourceColumn, deformity: Deformity, *, grow: bool = False
) -> Deformation:
    """Computes the deformation without moving a volume; see `deform`."""
    changes = _fit_changes(image, column, deformity.findings)
    tilts, shift = reach_tilts(column, deformity)
    followed, changed = follow_changes(column, changes)
    tilts = tilts + changed.tilts_deg() - column.tilts_deg()
    posed = pose_column(changed, tilts, shift)
    bend = largest_bend_deg(posed)
    if bend > MOST_BEND_DEG:
        raise InputError(
            f"neighbouring vertebrae would turn by {bend:.0f} degrees against each other and fold tissue; "
            f"at most {MOST_BEND_DEG:.0f} degrees: multiply the angles by {MOST_BEND_DEG / bend:.2f} or less"
        )
    motions = [pose.after(follow) for pose, follow in zip(posed, followed, strict=True)]
    boxes = find_boxes(mask)

    def shape_of(name: str) -> SampledShape:
        change, number = changes.get(name), level(name).label
        undo = None if change is None else _undo_of(column, name, change)
        return sample_shape(mask, number, boxes[number], undo)

    flow = PolyrigidFlow(map_in_threads(shape_of, column.levels), motions)

    def undo_all(points: Array) -> Array:
        for name, change in changes.items():
            points = _locally(column, name, points, change)
        return points

    target = _grow(image.geometry, flow) if grow else image.geometry
    field = compute_field(flow, target, undo_all if changes else None)
    named = dict(zip(column.levels, motions, strict=True))
    return Deformation(column, named, changes, flow, field, target)


def _grow(geometry: Geometry, flow: PolyrigidFlow) -> Geometry:
    """Returns the grid, larger where needed for every piece to lie in it with a margin."""
    start, stop = np.zeros(3, int), np.array(geometry.shape)
    for before, after in _bound_pieces(geometry, flow):
        margin = GROWN_MM / np.array(geometry.spacing_mm)
        # A piece that the scan cuts is not given more room on the side it is cut at.
        low, high = np.clip(before[0], 0, margin), np.clip(geometry.shape - before[1], 1, margin)
        start = np.minimum(start, np.floor(after[0] - low).astype(int))
        stop = np.maximum(stop, np.ceil(after[1] + high).astype(int))
    return geometry.cropped(start.tolist(), stop.tolist())


def _bound_pieces(geometry: Geometry, flow: PolyrigidFlow) -> Iterator[tuple[Array, Array]]:
    """Yields for each piece its (2, 3) lowest and highest voxel indices before and after the motion."""
    for shape, motion in zip(flow.shapes, flow.motions, strict=True):
        assert isinstance(shape, SampledShape)
        inside = shape.origin_mm + shape.step_mm * np.argwhere(shape.distance_mm <= 0)
        indices = [geometry.world_to_index(points) for points in (inside, motion.apply(inside))]
        before, after = (np.array([index.min(axis=0), index.max(axis=0)]) for index in indices)
        yield before, after


def _bound_labels(deformation: Deformation) -> tuple[Index, Index]:
    """Returns the part of the target grid, start and stop, that labels may come to lie in."""
    shape = np.array(deformation.target.shape)
    bounds = np.array([b for pair in _bound_pieces(deformation.target, deformation.flow) for b in pair])
    low, high = np.floor(bounds[:, 0].min(axis=0)) - 8, np.ceil(bounds[:, 1].max(axis=0)) + 9
    start = np.clip(low, 0, shape - 1).astype(np.intp)
    return start, np.clip(high, start + 1, shape).astype(np.intp)


def _fit_changes(image: Image, column: SourceColumn, findings: Sequence[Finding]) -> dict[str, Change]:
    """Fits the findings to the vertebrae they are wanted at, a collapse after all else."""
    ordered = sorted(findings, key=lambda finding: finding.level)
    fitted: dict[str, Change] = {}
    for name, wanted in groupby(ordered, key=lambda finding: finding.level):
        column.index(name)
        site = find_site(column.found, name, image=image)
        last = sorted(wanted, key=lambda finding: isinstance(finding, Collapse))
        fitted[name] = combine([finding.fit(site) for finding in last])
    return fitted


def _undo_of(column: SourceColumn, name: str, change: Change) -> Callable[[Array], Array]:
    return lambda points: _locally(column, name, points, change)


def _locally(
    column: SourceColumn, name: str, points_mm: Array, change: Change, *, forward: bool = False
) -> Array:
    """Undoes (or makes) the change of one vertebra at LPS points (n, 3)."""
    if change.reach_mm is None:
        return points_mm
    place = column.index(name)
    center, axes = column.centers_mm[place], column.axes[place]
    local = (points_mm - center) @ axes.T
    low, high = np.array(change.reach_mm).T
    inside = ((local >= low) & (local <= high)).all(axis=1)
    moved = np.array(points_mm)
    part = change.apply(local[inside]) if forward else change.undo(local[inside])
    moved[inside] = center + part @ axes
    return moved


def _shade(image: Image, deformation: Deformation) -> Image:
    """Changes intensities where a finding does: denser bone in a collapsed body, sclerosis."""
    array: NDArray[Any] | None = None
    for name, change in deformation.changes.items():
        if not change.shades:
            continue
        array = image.array.copy() if array is None else array
        column = deformation.column
        place = column.index(name)
        reach = change.reach_mm or _BODY_REACH
        corners = np.array(np.meshgrid(*reach, indexing="ij")).reshape(3, -1).T
        world = deformation.motions[name].apply(column.centers_mm[place] + corners @ column.axes[place])
        index = image.geometry.world_to_index(world)
        low = np.clip(np.floor(index.min(axis=0)) - 8, 0, image.array.shape).astype(int)
        high = np.clip(np.ceil(index.max(axis=0)) + 9, 0, image.array.shape).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        voxels = np.argwhere(np.ones(array[box].shape, bool))
        source = deformation.to_source(np.asarray(image.geometry.index_to_world(voxels + low)))
        local = (source - column.centers_mm[place]) @ column.axes[place].T
        limits = np.array(reach)
        inside = ((local >= limits[:, 0]) & (local <= limits[:, 1])).all(axis=1)
        values = array[box].reshape(-1).astype(np.float64)
        values[inside] = change.shade(values[inside], local[inside], modality=image.modality)
        array[box] = values.reshape(array[box].shape).astype(array.dtype)
    return image if array is None else replace(image, array=array)


def _check(deformation: Deformation) -> dict[str, float]:
    """Measures on the field itself how well it keeps its promises, at points inside the vertebral bodies."""
    column, field = deformation.column, deformation.field
    lattice = np.stack(np.meshgrid(*[np.linspace(-0.9, 0.9, 7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    edges = np.random.default_rng(0).permutation(len(lattice))
    worst, moved = [0.0], [0.0]
    for place, name in enumerate(column.levels):
        if name not in column.found.bodies or name in deformation.changes:
            continue
        height = np.linalg.norm(column.upper_mm[place] - column.lower_mm[place]) / 2
        local = lattice * np.array([*column.half_mm[place], height])
        before = column.centers_mm[place] + local @ column.axes[place]
        after = deformation.motions[name].apply(before)
        inside = deformation.flow.shapes[place].distance(before.T.astype(np.float32)) == 0
        inside &= field.geometry.contains(after)
        back = field.source_of(after)
        moved += np.linalg.norm(back - before, axis=1)[inside].tolist()
        long = np.linalg.norm(before - before[edges], axis=1) > _LEAST_EDGE_MM
        pairs = inside & inside[edges] & long
        lengths = np.linalg.norm((before - before[edges])[pairs], axis=1)
        worst += np.abs(np.linalg.norm((back - back[edges])[pairs], axis=1) / lengths - 1).tolist()
    return {
        "least_jacobian": round(float(field.jacobian.min()), 4),
        "edges_in_bodies_within_1_percent": round(float(np.mean(np.array(worst) < 0.01)), 4),
        "edge_change_percent_in_bodies_95": round(100 * float(np.percentile(worst, 95)), 3),
        "deviation_mm_in_bodies_95": round(float(np.percentile(moved, 95)), 3),
        "deviation_mm_in_bodies_largest": round(max(moved), 3),
    }
