"""The body of each vertebra, apart from its arch, in its own frame.

The body is what lies ahead of the canal in the midline of the mask. Its axes start from the tangent of the
column and the mirror symmetry of the vertebra and are refined by planes fitted to both endplates.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spinelab.measurement.frames import build_axes, frame_of, turn_to_symmetry
from spinelab.measurement.sampling import (
    STEP_MM,
    Array,
    Cutout,
    LocalGrid,
    Samples,
    find_deepest_point,
    lies_outside,
    sample,
)
from spinelab.measurement.surfaces import (
    STEPS_FROM_MM,
    Bools,
    Plane,
    evaluate_plane,
    find_surfaces,
    fit_plane,
    smooth_steps,
    to_world_plane,
)
from spinelab.spine import Frame

#: Half extents of the grid a body is looked for in: left-right, front-back, head-foot.
BODY_REACH_MM = (38.0, 36.0, 30.0)
#: Smallest and largest width, depth and height of a body; what is outside is not taken for one.
WIDTH_MM, DEPTH_MM, HEIGHT_MM = (9.0, 80.0), (8.0, 60.0), (4.0, 50.0)
#: A body is at most this much wider than deep; cervical transverse processes reach beyond.
WIDEST = 1.9
#: Shares of the body's height at which its walls are read: away from the lips of the rims, and next to them.
WAIST, UPPER_WALL, LOWER_WALL = (0.3, 0.4, 0.5, 0.6, 0.7), (0.74, 0.8, 0.86), (0.14, 0.2, 0.26)
#: Semi-axes of the ellipse an endplate plane is fitted over, as shares of width and depth: well inside the
#: rim, and nearer to it where slices are thick and a tilt shows in few steps only.
FINE_INNER, COARSE_INNER = (0.34, 0.38), (0.43, 0.45)


@dataclass(frozen=True, eq=False)
class Body:
    """A vertebral body found in a mask.

    Local coordinates start at the body's centre: x to the left, y to the back, z to the head, in mm.

    Attributes:
        grid: Local grid of the columns; its z is empty of meaning here.
        top_mm, bottom_mm: (x, y) height of the superior and inferior surface; NaN where there is none.
        top_cut, bottom_cut: (x, y) whether that surface lies beyond the scan.
        front_mm, back_mm: (x,) anterior and posterior wall; NaN beside the body.
        half_width_mm: Half of its width.
        corners_mm: (2, 3) posterior-superior and posterior-inferior corner in the midline, LPS mm; NaN where
            that endplate is not in view.
        superior, inferior: Endplate planes; None where less than half of one is in view.
    """

    grid: LocalGrid
    top_mm: Array
    bottom_mm: Array
    top_cut: Bools
    bottom_cut: Bools
    front_mm: Array
    back_mm: Array
    half_width_mm: float
    corners_mm: Array
    superior: Plane | None
    inferior: Plane | None

    @property
    def center_mm(self) -> Array:
        """(3,) its centre, LPS mm."""
        return self.grid.origin_mm

    @property
    def frame(self) -> Frame:
        """Its axes."""
        return frame_of(self.grid.axes)

    @property
    def depth_mm(self) -> float:
        """Depth in the midline."""
        middle = np.abs(self.grid.x_mm) <= 3
        return float(np.nanmedian(self.back_mm[middle]) - np.nanmedian(self.front_mm[middle]))


def find_body(cutout: Cutout, center_mm: Array, axes: Array) -> Body | None:
    """Finds the body of a vertebra and its axes; None where the mask shows no body or neither endplate.

    Where there is none about the centre given, the deepest point of the mask and the patient's axes
    are tried.

    Args:
        cutout: The vertebra's label.
        center_mm: (3,) about where the body is, LPS mm.
        axes: (3, 3) rows left, posterior, superior to begin with, as from `column_axes`.
    """
    found = _refine(cutout, center_mm, axes)
    if found is not None:
        return found
    return _refine(cutout, find_deepest_point(cutout), build_axes(np.array([0.0, 0.0, 1.0])))


def _refine(cutout: Cutout, center_mm: Array, axes: Array) -> Body | None:
    """Finds the body near a point and turns its axes until they fit its endplates."""
    axes, center = turn_to_symmetry(cutout, center_mm, axes)
    body: Body | None = None
    for _ in range(5):
        grid = _lay_grid(center, axes)
        body = _find_in(cutout, grid)
        if body is None:
            return None
        normals = [plane.normal for plane in (body.superior, body.inferior) if plane is not None]
        if not normals:
            return None
        refined = build_axes(np.sum(normals, axis=0), axes[1])
        turned = float(refined[2] @ axes[2]) < np.cos(np.radians(1.0))
        moved = float(np.linalg.norm(body.center_mm - center)) > 4.0
        axes, center = refined, body.center_mm
        if not turned and not moved:
            break
    return replace(body, grid=replace(body.grid, axes=axes)) if body is not None else None


def _lay_grid(center: Array, axes: Array) -> LocalGrid:
    lines = [np.arange(-reach, reach + STEP_MM / 2, STEP_MM) for reach in BODY_REACH_MM]
    return LocalGrid(center, axes, lines[0], lines[1], lines[2])


def _run(profile: Array, line: Array, near: float, shortest: float) -> tuple[float, float] | None:
    """Returns the ends of the stretch of `profile` >= 0.5 nearest to `near`, at least `shortest` long."""
    runs = [(a, b) for a, b in _runs(profile, line) if b - a >= shortest]
    if not runs:
        return None
    return min(runs, key=lambda run: max(run[0] - near, near - run[1], 0.0))


def _runs(profile: Array, line: Array) -> list[tuple[float, float]]:
    """Returns all stretches of a profile >= 0.5, their ends interpolated."""
    padded = np.concatenate([[0.0], profile, [0.0]])
    step = line[1] - line[0]
    places = np.concatenate([[line[0] - step], line, [line[-1] + step]])
    inside = padded >= 0.5
    rises = np.flatnonzero(~inside[:-1] & inside[1:])
    falls = np.flatnonzero(inside[:-1] & ~inside[1:])

    def cross(index: Any) -> Array:
        share = (0.5 - padded[index]) / (padded[index + 1] - padded[index])
        return np.asarray(places[index] + share * step)

    return [(float(a), float(b)) for a, b in zip(cross(rises), cross(falls), strict=True)]


@dataclass(frozen=True, slots=True)
class _Block:
    """Rough box of a body in local mm: ends along x, y, z."""

    x: tuple[float, float]
    y: tuple[float, float]
    z: tuple[float, float]


def _near(line: Array, value: float, margin: float) -> slice:
    found = np.flatnonzero(np.abs(line - value) <= margin)
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 1)


def _find_block(values: Samples, grid: LocalGrid) -> _Block | None:
    """Finds the body's rough box: in the midline, what lies ahead of the canal."""
    y_middle, z_middle = 0.0, 0.0
    y_run = z_run = None
    for _ in range(2):
        part = values[_near(grid.x_mm, 0, 6), _near(grid.y_mm, y_middle, 5)]
        z_run = _run(part.mean(axis=(0, 1)).astype(float), grid.z_mm, z_middle, HEIGHT_MM[0])
        if z_run is None:
            return None
        z_middle = sum(z_run) / 2
        part = values[_near(grid.x_mm, 0, 4)][:, :, _near(grid.z_mm, z_middle, 5)]
        runs = _runs(part.mean(axis=(0, 2)).astype(float), grid.y_mm)
        y_run = next((run for run in runs if run[1] - run[0] >= DEPTH_MM[0]), None)
        if y_run is None:
            return None
        y_middle = sum(y_run) / 2
    assert y_run is not None
    assert z_run is not None
    part = values[:, _near(grid.y_mm, y_middle, 3)][:, :, _near(grid.z_mm, z_middle, 3)]
    x_run = _run(part.mean(axis=(1, 2)).astype(float), grid.x_mm, 0.0, WIDTH_MM[0])
    if x_run is None or y_run[1] - y_run[0] > DEPTH_MM[1]:
        return None
    half = WIDEST * (y_run[1] - y_run[0]) / 2
    x_run = (max(x_run[0], -half), min(x_run[1], half))
    return _Block(x_run, y_run, z_run) if x_run[1] - x_run[0] >= WIDTH_MM[0] else None


@dataclass(frozen=True, eq=False)
class _Ends:
    """Both ends of a body on one local grid: surfaces, what of them is cut, fitted coefficients."""

    top: Array
    bottom: Array
    top_cut: Bools
    bottom_cut: Bools
    upper: Array | None
    lower: Array | None
    block: _Block

    def at(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Returns the heights of the lower and upper plane at local x and y."""
        return (
            evaluate_plane(self.lower, x, y, self.block.z[0]),
            evaluate_plane(self.upper, x, y, self.block.z[1]),
        )


def _find_ends(cutout: Cutout, values: Samples, grid: LocalGrid, block: _Block) -> _Ends:
    loose = cutout.step_along(grid.axes[2])
    footprint = _inner_footprint(block, grid, FINE_INNER if loose <= STEPS_FROM_MM else COARSE_INNER)
    y = (grid.y_mm - sum(block.y) / 2) / (block.y[1] - block.y[0])
    between_walls = np.broadcast_to(np.abs(y) <= 0.48, footprint.shape)
    surfaces, cuts, planes = [], [], []
    for surface in find_surfaces(values, grid, sum(block.z) / 2):
        points = np.stack(np.broadcast_arrays(grid.x_mm[:, None], grid.y_mm, surface), axis=-1)
        cut = lies_outside(cutout.scan, grid.to_world(np.nan_to_num(points))) & np.isfinite(surface)
        plane = fit_plane(grid, np.where(cut, np.nan, surface), footprint, loose)
        flat = evaluate_plane(plane, grid.x_mm[:, None], grid.y_mm, float(np.mean(block.z)))
        surfaces.append(flat + smooth_steps(surface - flat, between_walls & ~cut, loose))
        cuts.append(cut)
        planes.append(plane)
    return _Ends(surfaces[0], surfaces[1], cuts[0], cuts[1], planes[0], planes[1], block)


def _find_in(cutout: Cutout, grid: LocalGrid) -> Body | None:
    """Finds the body on one local grid; the answer's grid starts at its centre."""
    values = sample(cutout, grid)
    block = _find_block(values, grid)
    if block is None:
        return None
    ends = _find_ends(cutout, values, grid, block)
    x, y = sum(block.x) / 2, sum(block.y) / 2
    low, high = (float(h) for h in ends.at(np.array(x), np.array(y)))
    if not HEIGHT_MM[0] <= high - low <= HEIGHT_MM[1]:
        return None
    center = np.array([x, y, (low + high) / 2])
    front, back = _find_walls(values, grid, ends, WAIST)
    corners = np.full((2, 3), np.nan)
    for row, plane in enumerate((ends.upper, ends.lower)):
        if plane is not None:
            shares = UPPER_WALL if row == 0 else LOWER_WALL
            corners[row] = _find_corner(_find_walls(values, grid, ends, shares)[1], grid, x, plane)
    lines = (grid.x_mm - x, grid.y_mm - y, grid.z_mm - center[2])
    return Body(
        LocalGrid(grid.to_world(center), grid.axes, *lines),
        ends.top - center[2],
        ends.bottom - center[2],
        ends.top_cut,
        ends.bottom_cut,
        front - y,
        back - y,
        (block.x[1] - block.x[0]) / 2,
        corners,
        None if ends.upper is None else to_world_plane(ends.upper, grid, x, y),
        None if ends.lower is None else to_world_plane(ends.lower, grid, x, y),
    )


def _inner_footprint(block: _Block, grid: LocalGrid, inner: tuple[float, float]) -> Bools:
    """Returns (x, y) the columns inside the rim, where no osteophyte or uncus misleads."""
    x = (grid.x_mm - sum(block.x) / 2) / (block.x[1] - block.x[0])
    y = (grid.y_mm - sum(block.y) / 2) / (block.y[1] - block.y[0])
    return np.asarray((x[:, None] / inner[0]) ** 2 + (y[None, :] / inner[1]) ** 2 <= 1)


def _find_corner(back: Array, grid: LocalGrid, x_mm: float, plane: Array) -> Array:
    """Returns (3,) LPS mm where a posterior wall (x,) meets an endplate plane in the midline; or NaN."""
    walls = back[np.abs(grid.x_mm - x_mm) <= 4]
    if not np.isfinite(walls).any():
        return np.full(3, np.nan)
    y = float(np.nanmedian(walls))
    return grid.to_world(np.array([x_mm, y, float(plane @ [1, x_mm, y])]))


def _find_walls(
    values: Samples, grid: LocalGrid, ends: _Ends, shares: tuple[float, ...]
) -> tuple[Array, Array]:
    """Returns (x,) the anterior and posterior wall at `shares` of the height between the endplate planes."""
    low, high = ends.at(grid.x_mm[:, None], grid.y_mm[None, :])
    step = grid.z_mm[1] - grid.z_mm[0]
    layers = []
    for share in shares:
        place = np.round((low + share * (high - low) - grid.z_mm[0]) / step).astype(int)
        place = np.clip(place, 0, len(grid.z_mm) - 1)
        layers.append(np.take_along_axis(values, place[..., None], axis=2)[..., 0])
    cover = np.mean(layers, axis=0).astype(float)
    block = ends.block
    middle = sum(block.y) / 2
    front, back = np.full(len(grid.x_mm), np.nan), np.full(len(grid.x_mm), np.nan)
    for column in np.flatnonzero((grid.x_mm >= block.x[0]) & (grid.x_mm <= block.x[1])):
        run = _run(cover[column], grid.y_mm, middle, 1.0)
        if run is not None and run[0] < middle < run[1]:
            front[column], back[column] = run[0], min(run[1], block.y[1] + 1)
    return front, back
