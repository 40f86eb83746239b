"""Draws the views along the column: bone window, outlines, names, scale and sides."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spinelab.anatomy import LEVELS, ORDER
from spinelab.io.outputs import writing
from spinelab.report.reformat import Float, Outline, View, view_column
from spinelab.spine import Spine, Vertebra
from spinelab.volume import Image, Mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: A name is followed by its probability below this.
DOUBTFUL_BELOW = 0.9
#: Bone window, HU: what is black and what is white.
BONE_WINDOW_HU = (-250.0, 1000.0)

_PALETTE = ("#5CC8FF", "#FFC857", "#FF7AA8", "#7BE08A", "#C39BFF", "#FF9A5C", "#4FE0D0")
_GREY = "#9AA3AD"
BACKGROUND = "#14171A"
_PAPER = "#E8EBEE"
#: Two pixels a typographic point: pictures stay sharp on dense screens and in print.
_DPI = 144
_PX = 2
_MAX_HEIGHT, _MAX_WIDTH = 800, 640
_PAD, _GAP, _HEAD, _FOOT = 14, 12, 26, 22
#: Width of a letter of the line below the pictures.
_LETTER = 4.8
#: The corners of a body around it, back to the first one.
_RING = [0, 1, 3, 2, 0]


def level_color(level: str) -> str:
    """Returns the colour a level always has ("#RRGGBB"); neighbours differ, sacrum and coccyx are grey."""
    region = LEVELS[ORDER[level]].region
    return _GREY if region == "sacral" else _PALETTE[ORDER[level] % len(_PALETTE)]


def write_preview(image: Image, mask: Mask | None, spine: Spine, path: Path) -> bytes:
    """Writes one PNG with the sagittal and the coronal picture along the column, and returns it.

    The sagittal picture has the front on the left, the coronal one the patient's right on the left, both
    the head at the top. Only the two pictures are sampled, so cost does not grow with the scan. Where the
    spine has corners and discs they are drawn. A single sagittal slice gives the sagittal picture alone.

    Args:
        image: The scan, (i, j, k) on any grid.
        mask: VerSe labels, (i, j, k) on any grid in the same patient space; None where nothing is outlined.
        spine: What was found; may be empty.
        path: The PNG to write.

    Raises:
        OutputError: The file cannot be written.
    """
    data = render_views(image, mask, spine)
    with writing(path):
        path.write_bytes(data)
    return data


def render_views(image: Image, mask: Mask | None, spine: Spine) -> bytes:
    """Returns the preview of `write_preview` as the bytes of a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(draw_views(image, mask, spine)).print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def draw_views(image: Image, mask: Mask | None, spine: Spine) -> "Figure":
    """Returns the figure of `write_preview`: one axes a picture, in mm, sagittal first."""
    from matplotlib.figure import Figure

    views = view_column(image, mask, spine, height_px=_MAX_HEIGHT * _PX, width_px=(_MAX_WIDTH - _GAP) * _PX)
    widths = [view.pixels.shape[1] / _PX for view in views]
    height = views[0].pixels.shape[0] / _PX
    across = sum(widths) + _GAP * (len(views) - 1)
    key = _key(spine)
    total = (max(across, 300.0, len(key) * _LETTER) + 2 * _PAD, height + _HEAD + _FOOT)
    figure = Figure(figsize=(total[0] / 72, total[1] / 72), dpi=_DPI, facecolor=BACKGROUND)
    left = (total[0] - across) / 2
    window = _window(image, views)
    for view, width in zip(views, widths, strict=True):
        box = (left / total[0], _FOOT / total[1], width / total[0], height / total[1])
        axes = figure.add_axes(box)
        _draw_view(axes, view, spine, window)
        course = "along the column" if spine.vertebrae else "through the middle"
        heading = f"{view.plane.capitalize()}, {course}"
        _write(figure, (left, total[1] - _HEAD / 2), heading, total, weight="bold")
        left += width + _GAP
    _write(figure, (_PAD, _FOOT / 2), key, total, color=_GREY)
    return figure


def _key(spine: Spine) -> str:
    """The line below the pictures: what dashes and figures mean, where they occur."""
    if not spine.vertebrae:
        return "No vertebra found: plain planes through the middle of the scan"
    parts = []
    if any(not v.complete for v in spine.vertebrae):
        parts.append("dashed: cut by the field of view")
    if spine.discs:
        parts.append("+ body, × disc")
    if any(v.probability < DOUBTFUL_BELOW for v in spine.vertebrae):
        parts.append("%: probability of a doubtful name")
    return "   ·   ".join(parts)


def _write(
    figure: "Figure", place: tuple[float, float], text: str, total: tuple[float, float], **style: Any
) -> None:
    """Writes a line of text at points from the figure's lower left corner."""
    options: dict[str, Any] = {"fontsize": 8.5, "color": _PAPER, "va": "center", "ha": "left"} | style
    figure.text(place[0] / total[0], place[1] / total[1], text, **options)


def _window(image: Image, views: tuple[View, ...]) -> tuple[float, float]:
    """Black and white level: the bone window for CT, else the spread of what is shown."""
    if image.modality == "CT":
        return BONE_WINDOW_HU
    seen = np.concatenate([view.pixels[np.isfinite(view.pixels)] for view in views])
    if not seen.size:
        return BONE_WINDOW_HU
    shown = seen[seen > seen.min()]  # the least is air, or what was never scanned
    low, high = np.percentile(shown if shown.size else seen, [1, 99.5])
    return float(low), float(max(high, low + 1))


def _draw_view(axes: "Axes", view: View, spine: Spine, window: tuple[float, float]) -> None:
    """Draws one picture with everything on it; the axes are in mm, upwards and across as in the view."""
    half = float(view.heights_mm[0] - view.heights_mm[1]) / 2
    extent = (
        view.across_mm[0] - half,
        view.across_mm[-1] + half,
        view.heights_mm[-1] - half,
        view.heights_mm[0] + half,
    )
    axes.set_axis_off()
    axes.imshow(
        shade(view.pixels, window), extent=extent, interpolation="nearest", aspect="auto", origin="upper"
    )
    by_label = {outline.label: outline for outline in view.outlines}
    named = {vertebra.label: vertebra for vertebra in spine.vertebrae}
    for outline in view.outlines:
        draw_outline(axes, outline, named.get(outline.label))
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    _draw_landmarks(axes, view, spine)
    for vertebra in _named(view, spine, room_mm=4 * half * 11):
        _draw_name(axes, view, vertebra, by_label.get(vertebra.label))
    draw_sides(axes, view.plane)
    if view.plane == "sagittal":
        draw_scale(axes, extent)


def shade(pixels: Float, window: tuple[float, float]) -> NDArray[np.uint8]:
    """Grey levels (h, w, 3) of intensities (h, w); outside the field of view the background shows."""
    low, high = window
    grey = np.clip((pixels - low) / (high - low), 0, 1)
    shaded = np.repeat(np.nan_to_num(grey * 255).astype(np.uint8)[..., None], 3, axis=2)
    background = [int(BACKGROUND[at : at + 2], 16) for at in (1, 3, 5)]
    shaded[~np.isfinite(pixels)] = background
    return shaded


def draw_outline(axes: "Axes", outline: Outline, vertebra: Vertebra | None) -> None:
    """Draws one outline in its level's colour; dashed if cut, grey if the spine does not name it."""
    if outline.inside.max() <= 0.5 or min(outline.inside.shape) < 2:
        return
    axes.contour(
        outline.across_mm,
        outline.heights_mm,
        outline.inside,
        levels=[0.5],
        colors=[level_color(vertebra.level) if vertebra else _GREY],
        linewidths=1.1,
        linestyles=[(0, (3.0, 2.0)) if vertebra and not vertebra.complete else "solid"],
    )


def _draw_landmarks(axes: "Axes", view: View, spine: Spine) -> None:
    """Draws centres of bodies and discs, and in the sagittal picture the corners of the bodies, joined."""
    axis = 1 if view.plane == "sagittal" else 0
    for vertebra in spine.vertebrae if spine.discs else ():
        color = level_color(vertebra.level)
        if vertebra.corners is not None and view.plane == "sagittal":
            ring = vertebra.corners.points()[_RING]
            style = "solid" if vertebra.complete else (0, (3.0, 2.0))
            axes.plot(ring[:, 1], ring[:, 2], color=color, linewidth=1.1, linestyle=style, marker="o", ms=2.4)
        axes.plot(vertebra.center_mm[axis], vertebra.center_mm[2], "+", color=color, ms=6)
    for disc in spine.discs:
        (mark,) = axes.plot(disc.center_mm[axis], disc.center_mm[2], "x", color=_PAPER, ms=3.5, mew=0.9)
        mark.set_path_effects([_halo(2)])


def _named(view: View, spine: Spine, *, room_mm: float) -> list[Vertebra]:
    """Chooses the vertebrae whose names find room, whole ones before cut ones."""
    chosen: list[Vertebra] = []
    for vertebra in sorted(spine.vertebrae, key=lambda v: not v.complete):
        height = vertebra.center_mm[2]
        free = all(abs(height - other.center_mm[2]) >= room_mm for other in chosen)
        if free and view.heights_mm[-1] + room_mm / 3 <= height <= view.heights_mm[0] - room_mm / 3:
            chosen.append(vertebra)
    return chosen


def _draw_name(axes: "Axes", view: View, vertebra: Vertebra, outline: Outline | None) -> None:
    """Writes the name beside the body: in front of it (sagittal), to the patient's left (coronal)."""
    front = view.plane == "sagittal"
    edge = _edge(view, vertebra, outline)
    text = vertebra.level
    if vertebra.probability < DOUBTFUL_BELOW:
        text += f"  {100 * vertebra.probability:.0f} %"
    label = axes.text(
        edge + (-2.5 if front else 2.5),
        vertebra.center_mm[2],
        text,
        color=level_color(vertebra.level),
        fontsize=9,
        fontweight="bold",
        ha="right" if front else "left",
        va="center",
        clip_on=True,
    )
    label.set_path_effects([_halo()])


def _edge(view: View, vertebra: Vertebra, outline: Outline | None) -> float:
    """Where the body ends on the side its name stands, mm across; 20 mm from the centre where unseen."""
    front = view.plane == "sagittal"
    centre = vertebra.center_mm[1 if front else 0]
    edge = centre + (-20.0 if front else 24.0)
    if vertebra.corners is not None and front:
        edge = float(vertebra.corners.points()[:, 1].min())
    if outline is not None:
        near = np.abs(outline.heights_mm - vertebra.center_mm[2]) < 5.0
        columns = outline.across_mm[(outline.inside[near] > 0.5).any(axis=0)]
        columns = columns[np.abs(columns - centre) < 34.0]
        if columns.size:
            edge = float(columns.min() if front else columns.max())
    room = 12.0
    inside = edge - room if front else edge + room
    return edge + float(np.clip(inside, view.across_mm[0], view.across_mm[-1]) - inside)


def draw_sides(axes: "Axes", plane: str) -> None:
    """Writes the side letters: front on the left (sagittal), patient's right on the left (coronal)."""
    first, last = ("A", "P") if plane == "sagittal" else ("R", "L")
    places = (
        (first, (0.0, 0.5), (6, 0), ("left", "center")),
        (last, (1.0, 0.5), (-6, 0), ("right", "center")),
        ("S", (0.0, 1.0), (6, -6), ("left", "top")),
        ("I", (0.0, 0.0), (6, 6), ("left", "bottom")),
    )
    for letter, place, offset, (across, along) in places:
        annotate(axes, letter, place, offset, ha=across, va=along, xycoords="axes fraction", fontsize=9)


def draw_scale(axes: "Axes", extent: tuple[float, float, float, float]) -> None:
    """Draws a bar of 5 cm (2 cm in a small picture) in the lower right corner."""
    width, height = extent[1] - extent[0], extent[3] - extent[2]
    length = 50.0 if width > 110 else 20.0
    x, y = extent[1] - 0.04 * width, extent[2] + 0.025 * height
    (bar,) = axes.plot([x - length, x], [y, y], color=_PAPER, linewidth=2, solid_capstyle="butt")
    bar.set_path_effects([_halo(4)])
    place = (x - length / 2, y)
    annotate(axes, f"{length / 10:.0f} cm", place, (0, 3), ha="center", va="bottom", fontsize=8)


def annotate(
    axes: "Axes", text: str, place: tuple[float, float], offset: tuple[float, float], **style: Any
) -> None:
    """Writes text with a dark rim at a place, moved by an offset in points."""
    options: dict[str, Any] = {"color": _PAPER, "textcoords": "offset points"} | style
    note = axes.annotate(text, place, xytext=offset, **options)
    note.set_path_effects([_halo()])


def _halo(width: float = 2.4) -> Any:
    """A dark rim that keeps thin strokes readable on bright bone."""
    from matplotlib.patheffects import withStroke

    return withStroke(linewidth=width, foreground=(0.0, 0.0, 0.0, 0.75))
