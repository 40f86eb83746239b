"""Pictures that follow the column: curved planar reformation along the line of body centres.

Each picture row is one height z. In the sagittal picture the row is read where the column is at that
height, so every body is cut through its middle even in scoliosis; in the coronal picture the rows go
forward and back with kyphosis and lordosis. Only the picture's own points are sampled, never the volume.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.spine import Spine, Vertebra
from spinelab.volume import Geometry, Image, Mask

Plane = Literal["sagittal", "coronal"]
Float = NDArray[np.floating[Any]]

_MIN_STEP_MM = 4.0
_MAX_ROTATION_RAD = np.deg2rad(60.0)
_MARGIN_ABOVE_MM, _MARGIN_BELOW_MM = 32.0, 42.0
_AROUND_MM: dict[Plane, tuple[float, float]] = {"sagittal": (52.0, 68.0), "coronal": (64.0, 64.0)}
#: So much is shown beside the column even where the field of view ends, to leave room for the names.
_ROOM_MM: dict[Plane, tuple[float, float]] = {"sagittal": (38.0, 20.0), "coronal": (30.0, 46.0)}
#: Around the centre of a single body: ahead, behind, below, above.
_BODY_MM = (-34.0, 40.0, -34.0, 34.0)
_SLAB_OFFSETS_MM = (-1.0, 0.0, 1.0)
_SMOOTH_OUTLINE_MM = 0.7


@dataclass(frozen=True, eq=False)
class ColumnLine:
    """The smooth line through the body centres, as a function of height.

    Attributes:
        points_mm: (n, 3) LPS mm, heights (z) strictly ascending; at least one point.
        rotations_rad: (n,) axial rotation of the bodies; positive turns the back towards the patient's left.
    """

    points_mm: Float
    rotations_rad: Float

    def at(self, heights_mm: Float) -> Float:
        """Returns the (m, 3) LPS points of the line at the heights (m,), straight on beyond its ends."""
        knots, values = self.points_mm[:, 2], self.points_mm[:, :2]
        if len(knots) == 1:
            side = np.repeat(values, len(heights_mm), axis=0)
        elif len(knots) == 2:
            slope = (values[1] - values[0]) / (knots[1] - knots[0])
            side = values[0] + (heights_mm - knots[0])[:, None] * slope
        else:
            side = _spline(knots, values, heights_mm)
        return np.column_stack([side, heights_mm])

    def rotation(self, heights_mm: Float) -> Float:
        """Returns the axial rotation (m,) in radians at the heights (m,), constant beyond the ends."""
        return np.interp(heights_mm, self.points_mm[:, 2], self.rotations_rad)


@dataclass(frozen=True, eq=False)
class Outline:
    """Where one label is in a picture.

    Attributes:
        label: VerSe number.
        across_mm: (w,) world y (sagittal) or x (coronal) of the columns, ascending.
        heights_mm: (h,) world z of the rows, descending.
        inside: (h, w) between 0 and 1; the outline is where it crosses 0.5.
    """

    label: int
    across_mm: Float
    heights_mm: Float
    inside: Float


@dataclass(frozen=True, eq=False)
class View:
    """One picture along the column.

    Sagittal: columns run from the front (left of the picture) to the back. Coronal: from the patient's
    right (left of the picture) to the left. Rows run from the head down.

    Attributes:
        plane: "sagittal" or "coronal".
        across_mm: (w,) world y (sagittal) or x (coronal) of the columns, LPS mm, ascending.
        heights_mm: (h,) world z of the rows, LPS mm, descending.
        pixels: (h, w) intensities as in the image; NaN outside the field of view.
        outlines: One for each label the picture cuts.
    """

    plane: Plane
    across_mm: Float
    heights_mm: Float
    pixels: Float
    outlines: tuple[Outline, ...]

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height in mm."""
        step = _step(self.heights_mm)
        return len(self.across_mm) * step, len(self.heights_mm) * step


def follow_column(spine: Spine, geometry: Geometry) -> ColumnLine:
    """Returns the line through the body centres; without any, the upright through the middle of the grid.

    Centres less than 4 mm higher than the one below are left out, so that the line never turns back.
    """
    kept: list[Vertebra] = []
    for vertebra in sorted(spine.vertebrae, key=lambda v: v.center_mm[2]):
        if not kept or vertebra.center_mm[2] - kept[-1].center_mm[2] >= _MIN_STEP_MM:
            kept.append(vertebra)
    if not kept:
        middle = geometry.index_to_world((np.asarray(geometry.shape) - 1) / 2)
        return ColumnLine(np.array([middle], dtype=np.float64), np.zeros(1))
    points = np.array([v.center_mm for v in kept], dtype=np.float64)
    return ColumnLine(points, _rotations(kept))


def view_column(
    image: Image, mask: Mask | None, spine: Spine, *, height_px: int, width_px: int
) -> tuple[View, ...]:
    """Samples the sagittal and the coronal picture along the column.

    Args:
        image: The scan, any axis order, oblique or not.
        mask: VerSe labels; its grid may differ from the image's. None where nothing is outlined.
        spine: Gives the line to follow; without vertebrae the pictures are plain planes through the middle.
        height_px: Most rows a picture may have.
        width_px: Most columns both pictures may have together.

    Returns:
        The sagittal and the coronal view, with the same rows and the same mm a pixel; of a single sagittal
        slice the sagittal view alone.
    """
    line = follow_column(spine, image.geometry)
    lower, upper = _bounds(image.geometry)
    bottom, top = lower[2], upper[2]
    planes: tuple[Plane, ...] = ("sagittal", "coronal") if has_depth(image) else ("sagittal",)
    if spine.vertebrae:
        bottom = max(bottom, line.points_mm[0, 2] - _MARGIN_BELOW_MM)
        top = min(top, line.points_mm[-1, 2] + _MARGIN_ABOVE_MM)
        top = max(top, bottom + 10.0)
    limits = {plane: _limits(line, plane, (lower, upper), bool(spine.vertebrae)) for plane in planes}
    width = sum(stop - start for start, stop in limits.values())
    step = max((top - bottom) / height_px, width / width_px, 0.2)
    heights = top - step * (np.arange(max(2, int((top - bottom) / step))) + 0.5)
    views = []
    for plane in planes:
        start, stop = limits[plane]
        across = start + step * (np.arange(max(2, int((stop - start) / step))) + 0.5)
        views.append(_sample(image, mask, _points(line, plane, across, heights), (plane, across, heights)))
    return tuple(views)


def has_depth(image: Image) -> bool:
    """Tells whether there is more than one sagittal slice, so that a coronal picture shows something."""
    return image.geometry.shape[image.geometry.axes_by_world[0]] > 1


def _spline(knots: Float, values: Float, heights_mm: Float) -> Float:
    """Natural cubic spline between the knots, straight beyond them with a slope of at most 45 degrees."""
    from scipy.interpolate import CubicSpline

    spline = CubicSpline(knots, values, bc_type="natural")
    inner = np.clip(heights_mm, knots[0], knots[-1])
    slopes = np.clip(spline(knots[[0, -1]], 1), -1.0, 1.0)
    beyond = heights_mm - inner
    slope = np.where((beyond < 0)[:, None], slopes[0], slopes[1])
    return np.asarray(spline(inner) + beyond[:, None] * slope)


def _rotations(vertebrae: Sequence[Vertebra]) -> Float:
    """Axial rotation of each body from its frame (0 where unknown), smoothed over its neighbours."""
    raw = [
        0.0 if v.frame is None else np.arctan2(v.frame.posterior[0], v.frame.posterior[1]) for v in vertebrae
    ]
    clipped = np.clip(np.array(raw), -_MAX_ROTATION_RAD, _MAX_ROTATION_RAD)
    return np.asarray(ndimage.convolve1d(clipped, [0.25, 0.5, 0.25], mode="nearest"))


def _bounds(geometry: Geometry) -> tuple[Float, Float]:
    """Lower and upper corner (3,) of the box around the grid's outer faces, LPS mm."""
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in geometry.shape])).reshape(3, -1).T
    world = geometry.index_to_world(corners)
    return world.min(axis=0), world.max(axis=0)


def view_vertebra(image: Image, mask: Mask, vertebra: Vertebra, *, step_mm: float = 0.25) -> View:
    """Samples the mid-sagittal plane of one vertebra in its own frame: straight however it is tilted.

    Args:
        image: The scan, any axis order, oblique or not.
        mask: VerSe labels; its grid may differ from the image's.
        vertebra: With a frame.
        step_mm: Size of a pixel.

    Returns:
        A sagittal view whose `across_mm` and `heights_mm` are local: mm to the back and to the head of the
        body's centre.
    """
    assert vertebra.frame is not None
    axes = vertebra.frame.matrix()
    across = np.arange(_BODY_MM[0], _BODY_MM[1], step_mm)
    heights = np.arange(_BODY_MM[3], _BODY_MM[2], -step_mm)
    plane = across[None, :, None] * axes[1] + heights[:, None, None] * axes[2]
    points = np.array(vertebra.center_mm) + plane
    normal = np.broadcast_to(axes[0], (len(heights), 1, 3))
    return _sample(image, mask, (points, normal), ("sagittal", across, heights))


def _limits(line: ColumnLine, plane: Plane, bounds: tuple[Float, Float], found: bool) -> tuple[float, float]:
    """First and last mm across a picture: around the column, within the field of view."""
    axis = 1 if plane == "sagittal" else 0
    low, high = float(bounds[0][axis]), float(bounds[1][axis])
    if not found:
        return low, high
    first, last = float(line.points_mm[:, axis].min()), float(line.points_mm[:, axis].max())
    (before, after), (least_before, least_after) = _AROUND_MM[plane], _ROOM_MM[plane]
    start = min(max(low, first - before), first - least_before)
    return start, max(min(high, last + after), last + least_after)


def _points(line: ColumnLine, plane: Plane, across_mm: Float, heights_mm: Float) -> tuple[Float, Float]:
    """World points (h, w, 3) of a picture and the unit normals (h, 1, 3) of its rows."""
    base = line.at(heights_mm)
    turn = line.rotation(heights_mm)
    zero = np.zeros_like(turn)
    posterior = np.column_stack([np.sin(turn), np.cos(turn), zero])
    left = np.column_stack([np.cos(turn), -np.sin(turn), zero])
    along, normal, axis = (posterior, left, 1) if plane == "sagittal" else (left, posterior, 0)
    offset = across_mm[None, :] - base[:, axis, None]
    return base[:, None, :] + offset[..., None] * along[:, None, :], normal[:, None, :]


def _sample(
    image: Image, mask: Mask | None, where: tuple[Float, Float], grid: tuple[Plane, Float, Float]
) -> View:
    """Samples image (mean of a thin slab, linear) and mask on a picture's points."""
    points, normal = where
    total = np.zeros(points.shape[:2])
    for offset in _SLAB_OFFSETS_MM:
        index = image.geometry.world_to_index(points + offset * normal)
        total += ndimage.map_coordinates(
            image.array, np.moveaxis(index, -1, 0), output=np.float64, order=1, mode="nearest"
        )
    plane, across, heights = grid
    index = image.geometry.world_to_index(points)
    inside = (index >= -0.5) & (index <= np.asarray(image.array.shape) - 0.5)
    if mask is None and plane == "sagittal":  # beyond a few slices the outermost one is shown
        inside[..., image.geometry.axes_by_world[0]] = True
    pixels = np.where(inside.all(axis=-1), total / len(_SLAB_OFFSETS_MM), np.nan)
    if mask is None:
        return View(plane, across, heights, pixels, ())
    outlines = _outlines(mask, mask.geometry.world_to_index(points), across, heights)
    return View(plane, across, heights, pixels, outlines)


def _outlines(mask: Mask, index: Float, across_mm: Float, heights_mm: Float) -> tuple[Outline, ...]:
    """Finds the labels at a picture's points (h, w, 3) and samples each linearly where it is."""
    nearest = ndimage.map_coordinates(mask.array, np.moveaxis(index, -1, 0), order=0, mode="constant", cval=0)
    step = _step(heights_mm)
    pad = int(np.ceil(3.0 / step))
    found = []
    for label, window in enumerate(ndimage.find_objects(nearest.astype(np.int32)), start=1):
        if window is None:
            continue
        rows, columns = (slice(max(0, part.start - pad), part.stop + pad) for part in window)
        inside = _sample_label(mask, label, index[rows, columns])
        inside = ndimage.gaussian_filter(inside, _SMOOTH_OUTLINE_MM / step)
        found.append(Outline(label, across_mm[columns], heights_mm[rows], inside))
    return tuple(found)


def _sample_label(mask: Mask, label: int, index: Float) -> Float:
    """Returns how much (0 to 1) of one label is at the fractional indices (h, w, 3)."""
    flat = index.reshape(-1, 3)
    start = np.maximum(0, np.floor(flat.min(axis=0)).astype(int) - 1)
    stop = np.minimum(mask.array.shape, np.ceil(flat.max(axis=0)).astype(int) + 2)
    part: NDArray[Any] = mask.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] == label
    coordinates = np.moveaxis(index - start, -1, 0)
    return np.asarray(
        ndimage.map_coordinates(
            part.astype(np.float32), coordinates, output=np.float64, order=1, mode="nearest"
        )
    )


def _step(heights_mm: Float) -> float:
    """Millimetres a pixel."""
    return float(heights_mm[0] - heights_mm[1])
