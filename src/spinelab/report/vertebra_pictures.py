"""Draws single vertebrae that may have collapsed: straightened, with the three heights."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spinelab.report.pictures import (
    BACKGROUND,
    BONE_WINDOW_HU,
    annotate,
    draw_outline,
    draw_scale,
    draw_sides,
    level_color,
    shade,
)
from spinelab.report.reformat import Float, Outline, View, view_vertebra
from spinelab.spine import Heights, Spine, Vertebra
from spinelab.volume import Image, Mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: A body is shown from this loss of height on (per cent), or this probability.
SHOW_FROM_PERCENT, SHOW_FROM_PROBABILITY = 10.0, 0.3
#: At most so many, the worst.
MOST = 8
#: Where a height is drawn, as shares of the depth from the front: the middle of the bands it is the mean of.
PLACES = {"anterior": 0.175, "middle": 0.5, "posterior": 0.825}
_SIZE_IN, _DPI = 3.0, 144


@dataclass(frozen=True)
class VertebraPicture:
    """One picture.

    Attributes:
        level: Of the vertebra.
        png: The picture.
        words: What it shows, for who cannot see it.
    """

    level: str
    png: bytes
    words: str


def render_suspicious(image: Image, mask: Mask, spine: Spine) -> list[VertebraPicture]:
    """Returns a picture of each body that may have collapsed, from the head down.

    Args:
        image: The scan, (i, j, k) on any grid.
        mask: VerSe labels, (i, j, k) on any grid in the same patient space.
        spine: Graded; without grades there is nothing to show.
    """
    chosen = sorted(
        (v for v in spine.vertebrae if is_suspicious(v)),
        key=lambda v: (v.fracture.height_loss_percent or 0.0) if v.fracture else 0.0,
        reverse=True,
    )[:MOST]
    return [render_vertebra(image, mask, v) for v in spine.vertebrae if v in chosen]


def is_suspicious(vertebra: Vertebra) -> bool:
    """Tells whether a body is worth a look."""
    found = vertebra.fracture
    if found is None or not found.evaluable or vertebra.frame is None:
        return False
    loss, probability = found.height_loss_percent or 0.0, found.probability or 0.0
    return bool(found.genant_grade) or loss >= SHOW_FROM_PERCENT or probability >= SHOW_FROM_PROBABILITY


def render_vertebra(image: Image, mask: Mask, vertebra: Vertebra) -> VertebraPicture:
    """Returns the mid-sagittal plane of one vertebra in its own frame, its three heights drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    view = view_vertebra(image, mask, vertebra)
    ratio = len(view.heights_mm) / len(view.across_mm)
    figure = Figure(figsize=(_SIZE_IN, _SIZE_IN * ratio), dpi=_DPI, facecolor=BACKGROUND)
    _draw(figure.add_axes((0, 0, 1, 1)), view, vertebra)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    heights = vertebra.heights_mm or Heights(None, None, None)
    said = ", ".join(f"{kind} {_millimetres(getattr(heights, kind))}" for kind in PLACES)
    words = f"Sagittal picture of {vertebra.level} in its own frame with its heights: {said}."
    return VertebraPicture(vertebra.level, buffer.getvalue(), words)


def _draw(axes: "Axes", view: View, vertebra: Vertebra) -> None:
    extent = (view.across_mm[0], view.across_mm[-1], view.heights_mm[-1], view.heights_mm[0])
    axes.set_axis_off()
    axes.imshow(
        shade(view.pixels, BONE_WINDOW_HU),
        extent=extent,
        interpolation="nearest",
        aspect="auto",
        origin="upper",
    )
    for outline in view.outlines:
        draw_outline(axes, outline, vertebra if outline.label == vertebra.label else None)
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    own = next((outline for outline in view.outlines if outline.label == vertebra.label), None)
    for kind, (across, low, high) in find_height_lines(own).items():
        height = getattr(vertebra.heights_mm, kind, None)
        axes.plot([across, across], [low, high], color="white", linewidth=1.2)
        axes.plot([across] * 2, [low, high], "_", color="white", markersize=6)
        if height is not None:
            place = (across, (low + high) / 2)
            annotate(axes, f"{height:.0f}", place, (3, 0), ha="left", va="center", fontsize=8)
    place = (0.5, 1.0)
    annotate(
        axes,
        vertebra.level,
        place,
        (0, -6),
        xycoords="axes fraction",
        ha="center",
        va="top",
        fontsize=10,
        fontweight="bold",
        color=level_color(vertebra.level),
    )
    draw_sides(axes, "sagittal")
    draw_scale(axes, extent)


def find_height_lines(own: Outline | None) -> dict[str, tuple[float, float, float]]:
    """Returns where each height lies in a view of its body: mm to the back, lower and upper end in mm.

    Empty where the body is not in the picture.
    """
    if own is None:
        return {}
    inside = own.inside >= 0.5
    middle = int(np.abs(own.heights_mm).argmin())
    walls = _run(inside[middle], own.across_mm)
    if walls is None:
        return {}
    front, back = walls
    lines = {}
    for kind, share in PLACES.items():
        across = front + share * (back - front)
        column = int(np.abs(own.across_mm - across).argmin())
        ends = _run(inside[::-1, column], own.heights_mm[::-1])
        if ends is not None:
            lines[kind] = (across, *ends)
    return lines


def _run(inside: "np.ndarray[tuple[int], np.dtype[np.bool_]]", line: Float) -> tuple[float, float] | None:
    """Returns the ends of the stretch that holds the place nearest to 0, along an ascending line."""
    found = np.flatnonzero(inside)
    if not len(found):
        return None
    start = found[int(np.abs(line[found]).argmin())]
    before = np.flatnonzero(~inside[:start])
    after = np.flatnonzero(~inside[start:])
    first = int(before[-1]) + 1 if len(before) else 0
    last = int(start) + int(after[0]) - 1 if len(after) else len(line) - 1
    return float(line[first]), float(line[last])


def _millimetres(height: float | None) -> str:
    return "unknown" if height is None else f"{height:.1f} mm"
