"""What the reading page shows of one vertebra: a straightened sagittal picture, outlines, six points.

The picture lies in the vertebra's own frame: columns run from the front (left of the picture) to the back,
rows from the head down, and each row is read where the column is at that height, so that the neighbours
are cut through their middles too, in scoliosis as well.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.measurement import find_column
from spinelab.measurement.bodies import Body
from spinelab.measurement.frames import column_axes
from spinelab.measurement.heights import ANTERIOR_BAND, MIDDLE_BAND, POSTERIOR_BAND, SLAB_MM
from spinelab.report.pictures import BONE_WINDOW_HU
from spinelab.server.opinions import LocalPoint
from spinelab.spine import Spine
from spinelab.volume import Geometry, Image, Mask

Float = NDArray[np.float64]
#: The part of the vertebra's own frame a picture shows, mm from the body's centre.
FRONT_MM, BACK_MM, TOP_MM, BOTTOM_MM = -36.0, 54.0, 37.5, -37.5
#: Millimetres a pixel of a picture, and between the samples an outline is drawn from.
PIXEL_MM, OUTLINE_STEP_MM = 0.1875, 0.5
#: Near the body's centre the picture is flat, so that heights are read in one plane.
FLAT_MM = 9.0
_SLAB_OFFSETS_MM = (-1.0, 0.0, 1.0)
_SMOOTH_MM = 0.6


@dataclass(frozen=True, eq=False)
class Place:
    """Where a picture is read.

    Attributes:
        center_mm: (3,) body centre, LPS mm.
        axes: (3, 3) rows left, posterior, superior in LPS.
        knots_mm: (n, 2) heights along the superior axis, ascending, and how far to the left the column is
            there, in mm from the centre.
    """

    center_mm: Float
    axes: Float
    knots_mm: Float

    def points(self, posterior_mm: Float, superior_mm: Float, left_mm: float = 0.0) -> Float:
        """Returns the (h, w, 3) LPS points of columns (w,) and rows (h,)."""
        course = np.interp(superior_mm, self.knots_mm[:, 0], self.knots_mm[:, 1]) + left_mm
        shape = (len(superior_mm), len(posterior_mm))
        local = np.stack(
            [
                np.broadcast_to(course[:, None], shape),
                np.broadcast_to(posterior_mm[None, :], shape),
                np.broadcast_to(superior_mm[:, None], shape),
            ],
            axis=-1,
        )
        return np.asarray(self.center_mm + local @ self.axes)

    def to_local(self, points_mm: Float) -> Float:
        """Maps LPS points (..., 3) to (..., 3) left, posterior, superior mm from the centre."""
        return np.asarray((points_mm - self.center_mm) @ self.axes.T)


def find_places(spine: Spine) -> list[Place]:
    """Returns where the picture of each vertebra is read, from the head down."""
    centers = spine.centers_mm
    tangents = column_axes(centers)
    places = []
    for number, vertebra in enumerate(spine.vertebrae):
        axes = tangents[number] if vertebra.frame is None else vertebra.frame.matrix()
        knots = [(-FLAT_MM, 0.0), (FLAT_MM, 0.0)]
        for other in (number - 1, number + 1):
            if 0 <= other < len(centers):
                left, _, superior = axes @ (centers[other] - centers[number])
                if abs(superior) > FLAT_MM + 1:
                    knots.append((float(superior), float(left)))
        places.append(Place(centers[number], axes, np.array(sorted(knots))))
    return places


def draw_picture(image: Image, place: Place) -> bytes:
    """Returns one vertebra's picture as the bytes of an 8-bit grey PNG, black outside the scan.

    Args:
        image: (i, j, k) CT in HU.
        place: Where to read.
    """
    from PIL import Image as Picture

    total = np.zeros(_grid(PIXEL_MM)[1].shape + _grid(PIXEL_MM)[0].shape)
    index: NDArray[Any] = np.empty((3, 0, 0))
    for offset in _SLAB_OFFSETS_MM:
        index = _index(image.geometry, place.points(*_grid(PIXEL_MM), offset))
        total += ndimage.map_coordinates(image.array, index, output=np.float64, order=1, mode="nearest")
    limits = np.asarray(image.array.shape).reshape(3, 1, 1) - 0.5
    inside = ((index >= -0.5) & (index <= limits)).all(axis=0)
    black, white = BONE_WINDOW_HU
    grey = (total / len(_SLAB_OFFSETS_MM) - black) / (white - black)
    pixels = np.where(inside, np.clip(grey * 255, 0, 255), 0).astype(np.uint8)
    stream = io.BytesIO()
    Picture.fromarray(pixels).save(stream, format="PNG", compress_level=4)
    return stream.getvalue()


def trace_outlines(mask: Mask, place: Place) -> dict[int, list[list[list[float]]]]:
    """Traces every label a picture cuts.

    Args:
        mask: VerSe numbers on any grid.
        place: Where the picture is read.

    Returns:
        For each label its closed lines, each a list of (posterior, superior) mm in the vertebra's own frame.
    """
    from contourpy import contour_generator

    columns, rows = _grid(OUTLINE_STEP_MM)
    index = _index(mask.geometry, place.points(columns, rows))
    nearest = np.asarray(ndimage.map_coordinates(mask.array, index, order=0, mode="constant", cval=0))
    found = {}
    for label in sorted({int(value) for value in nearest.ravel()} - {0}):
        share = np.pad(_sample_label(mask, label, index), 1)
        inside: Float = ndimage.gaussian_filter(share, _SMOOTH_MM / OUTLINE_STEP_MM)[1:-1, 1:-1]
        lines: list[Any] = list(contour_generator(columns, rows, inside).lines(0.5))
        found[label] = [np.round(line, 1).tolist() for line in lines if len(line) > 8]
    return found


def place_points(mask: Mask, spine: Spine) -> list[tuple[LocalPoint, ...] | None]:
    """Returns for each vertebra six endplate points read off its mask, as `opinions.POINTS` orders them.

    Points are (posterior, superior) mm in the vertebra's own frame; None where the mask shows no body, or
    an endplate of it is out of view.
    """
    bodies = find_column(mask, spine).bodies
    return [
        _points_of(bodies.get(vertebra.level), place)
        for vertebra, place in zip(spine.vertebrae, find_places(spine), strict=True)
    ]


def _grid(step_mm: float) -> tuple[Float, Float]:
    """Columns (w,) from the front to the back and rows (h,) from the top down, in mm."""
    across = np.arange(FRONT_MM + step_mm / 2, BACK_MM, step_mm)
    return across, np.arange(TOP_MM - step_mm / 2, BOTTOM_MM, -step_mm)


def _index(geometry: Geometry, points_mm: Float) -> Float:
    """Maps (h, w, 3) LPS points to (3, h, w) fractional voxel indices."""
    return np.moveaxis(np.asarray(geometry.world_to_index(points_mm), dtype=np.float64), -1, 0)


def _sample_label(mask: Mask, label: int, index: Float) -> Float:
    """Returns how much (0 to 1) of a label is at the fractional indices (3, h, w)."""
    flat = index.reshape(3, -1)
    start = np.clip(np.floor(flat.min(axis=1)).astype(int) - 1, 0, np.asarray(mask.array.shape) - 1)
    stop = np.minimum(mask.array.shape, np.maximum(start + 1, np.ceil(flat.max(axis=1)).astype(int) + 2))
    window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    part: NDArray[np.float32] = (mask.array[window] == label).astype(np.float32)
    return np.asarray(
        ndimage.map_coordinates(part, index - start.reshape(3, 1, 1), order=1, mode="constant", cval=0.0),
        dtype=np.float64,
    )


def _points_of(body: Body | None, place: Place) -> tuple[LocalPoint, ...] | None:
    if body is None:
        return None
    tops, bottoms = [], []
    for band in (ANTERIOR_BAND, MIDDLE_BAND, POSTERIOR_BAND):
        ends = _ends_in(body, band)
        if ends is None:
            return None
        top, bottom = place.to_local(body.grid.to_world(ends))
        tops.append((round(float(top[1]), 2), round(float(top[2]), 2)))
        bottoms.append((round(float(bottom[1]), 2), round(float(bottom[2]), 2)))
    if any(top[1] <= bottom[1] for top, bottom in zip(tops, bottoms, strict=True)):
        return None
    return (*tops, *bottoms)


def _ends_in(body: Body, band: tuple[float, float]) -> Float | None:
    """Returns (2, 3) local mm the mean top and bottom point in a band of the body's depth, mid-sagittal."""
    slab = np.abs(body.grid.x_mm) <= SLAB_MM
    front, back = body.front_mm[slab, None], body.back_mm[slab, None]
    share = (body.grid.y_mm[None, :] - front) / (back - front)
    usable = (share >= band[0]) & (share <= band[1])
    usable &= np.isfinite(body.top_mm[slab]) & np.isfinite(body.bottom_mm[slab])
    usable &= ~(body.top_cut | body.bottom_cut)[slab]
    if not usable.any():
        return None
    depth = float(np.broadcast_to(body.grid.y_mm[None, :], usable.shape)[usable].mean())
    top, bottom = (float(np.median(s[slab][usable])) for s in (body.top_mm, body.bottom_mm))
    return np.array([[0.0, depth, top], [0.0, depth, bottom]])
