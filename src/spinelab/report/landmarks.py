"""A picture of the landmarks: the mid-sagittal sheet along the column with centres, corners and names."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.io.outputs import writing
from spinelab.report.pictures import (
    BACKGROUND,
    DOUBTFUL_BELOW,
    annotate,
    draw_scale,
    draw_sides,
    level_color,
    shade,
)
from spinelab.spine import Spine
from spinelab.volume import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_STEP_MM, _MARGIN_MM, _NAME_MM, _DPI = 0.5, 60.0, 34.0, 120


def write_landmark_preview(image: Image, spine: Spine, path: Path) -> None:
    """Writes a PNG of the sheet through the body centres, the front to the left and the head at the top.

    The sheet bends from left to right with the column and is flat otherwise, so that distances in it are
    those of the mid-sagittal plane.

    Args:
        image: The scan, (i, j, k) on any grid.
        spine: What was located; at least one vertebra.
        path: The PNG to write.

    Raises:
        OutputError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(draw_landmarks(image, spine)).print_png(buffer)  # type: ignore[no-untyped-call]
    with writing(path):
        path.write_bytes(buffer.getvalue())


def draw_landmarks(image: Image, spine: Spine) -> "Figure":
    """Returns the figure of `write_landmark_preview`; its axes are in mm, back to the right and head up."""
    from matplotlib.figure import Figure

    y, z, sheet = sample_sheet(image, spine.centers_mm)
    extent = (y[0] - _STEP_MM / 2, y[-1] + _STEP_MM / 2, z[0] - _STEP_MM / 2, z[-1] + _STEP_MM / 2)
    height = 7.0
    width = height * (extent[1] - extent[0]) / (extent[3] - extent[2])
    figure = Figure(figsize=(max(width, 2.5), height), dpi=_DPI, facecolor=BACKGROUND)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    low, high = np.percentile(sheet[np.isfinite(sheet)], [1, 99.5])
    axes.imshow(shade(sheet, (float(low), float(max(high, low + 1)))), extent=extent, origin="lower")
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    for vertebra in spine.vertebrae:
        color = level_color(vertebra.level)
        if vertebra.corners is not None:
            ring = vertebra.corners.points()[[0, 1, 3, 2, 0], 1:]
            style = "-" if vertebra.complete else "--"
            axes.plot(ring[:, 0], ring[:, 1], style, color=color, lw=1.1, marker="o", ms=2.6)
        axes.plot(*vertebra.center_mm[1:], "+", color=color, ms=7)
        doubt = "" if vertebra.probability >= DOUBTFUL_BELOW else f" {100 * vertebra.probability:.0f} %"
        place = (min(vertebra.center_mm[1] + 26, extent[1] - _NAME_MM), vertebra.center_mm[2])
        annotate(axes, vertebra.level + doubt, place, (0, 0), color=color, va="center", weight="bold")
    for disc in spine.discs:
        axes.plot(*disc.center_mm[1:], "x", color="#FFFFFF", ms=4, mew=0.8)
    draw_sides(axes, "sagittal")
    draw_scale(axes, extent)
    return figure


def sample_sheet(image: Image, centers_mm: Floats) -> tuple[Floats, Floats, Floats]:
    """Samples the sheet that follows the centres from left to right.

    Args:
        image: The scan.
        centers_mm: (n, 3) body centres, LPS mm.

    Returns:
        Its coordinates to the back and to the head in mm, and (head, back) intensities; NaN out of view.
    """
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in image.array.shape])).reshape(3, -1).T
    world = image.geometry.index_to_world(corners)
    low, high = world.min(axis=0), world.max(axis=0)
    about = centers_mm.min(axis=0) - _MARGIN_MM, centers_mm.max(axis=0) + _MARGIN_MM
    y = np.arange(max(low[1], about[0][1]), min(high[1], about[1][1]), _STEP_MM)
    z = np.arange(max(low[2], about[0][2]), min(high[2], about[1][2]), _STEP_MM)
    order = np.argsort(centers_mm[:, 2])
    x = np.interp(z, centers_mm[order, 2], centers_mm[order, 0])
    points = np.stack(np.broadcast_arrays(x[:, None], y[None, :], z[:, None]), axis=-1)
    index = np.moveaxis(image.geometry.world_to_index(points), -1, 0)
    across = image.geometry.axes_by_world[0]
    index[across] = np.clip(index[across], 0, image.array.shape[across] - 1)
    sheet = ndimage.map_coordinates(
        image.array, index, order=1, mode="constant", cval=np.nan, output=np.float64
    )
    return y, z, np.asarray(sheet)
