"""The line drawing of the column: bodies, the line through them, and Cobb angles, as SVG."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from markupsafe import Markup, escape

from spinelab.anatomy import level
from spinelab.report.reformat import ColumnLine, Float, Plane
from spinelab.spine import Curve, Spine, Vertebra

_WIDTH, _TALLEST, _HEAD, _FOOT = 340.0, 560.0, 34.0, 8.0
_REACH_MM = 44.0
_INK, _FAINT, _BODY, _END, _LINE = "#1B2733", "#5B6875", "#EEF1F4", "#CFE0EE", "#0B5CAD"
_SIDES: dict[Plane, tuple[str, str]] = {"sagittal": ("A", "P"), "coronal": ("R", "L")}
#: Half the width (left to right) and half the depth of a drawn body, mm; a drawing, not a measurement.
_HALF_MM = {"cervical": (10.0, 8.0), "thoracic": (15.0, 13.5), "lumbar": (21.0, 16.0)}


@dataclass(frozen=True)
class _Panel:
    """One plane's place on the sheet.

    Attributes:
        left_px: Where the panel begins.
        width_px: How wide it is.
        middle_mm: World y or x that stands in its middle.
        top_mm: World z at the top of the drawing.
        scale: Pixels a mm.
    """

    plane: Plane
    left_px: float
    width_px: float
    middle_mm: float
    top_mm: float
    scale: float

    def place(self, points_mm: Float) -> Float:
        """Maps (n, 2) mm (across, up) to (n, 2) pixels from the upper left."""
        x = self.left_px + self.width_px / 2 + (points_mm[:, 0] - self.middle_mm) * self.scale
        return np.column_stack([x, _HEAD + (self.top_mm - points_mm[:, 1]) * self.scale])


def draw_curves(spine: Spine) -> Markup | None:
    """Returns the coronal and sagittal line drawing as an SVG element; None for fewer than two vertebrae.

    Each body is a box of a size typical of its region, tilted as measured (or along the line where no frame
    is known); in the sagittal drawing the corners found where there are some. Of a single slice the sagittal
    drawing is all there is. End vertebrae are shaded; the dashed lines lie on their outer endplates and the
    angle between them is the Cobb angle written.
    """
    if len(spine.vertebrae) < 2:
        return None
    centers = spine.centers_mm
    top, bottom = centers[:, 2].max() + 20, centers[:, 2].min() - 20
    planes = _planes(spine)
    spans = {"sagittal": np.ptp(centers[:, 1]), "coronal": np.ptp(centers[:, 0])}
    widths = {plane: float(spans[plane]) + 2 * _REACH_MM for plane in planes}
    scale = min(_WIDTH / sum(widths.values()), (_TALLEST - _HEAD - _FOOT) / (top - bottom))
    height = (top - bottom) * scale + _HEAD + _FOOT
    parts, left = [], 0.0
    for plane in planes:
        across = centers[:, 1 if plane == "sagittal" else 0]
        width = _WIDTH * widths[plane] / sum(widths.values())
        middle = float(across.min() + across.max()) / 2
        parts += _draw_panel(spine, _Panel(plane, left, width, middle, top, scale))
        left += width
    label = escape(describe_curves(spine))
    head = f'<svg viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img" aria-label="{label}">'
    return Markup(head + "".join(parts) + "</svg>")


def _planes(spine: Spine) -> tuple[Plane, ...]:
    """Both, or only the sagittal one where corners lie in one slice."""
    flat = any(v.corners for v in spine.vertebrae) and np.ptp(spine.centers_mm[:, 0]) == 0
    return ("sagittal",) if flat else ("sagittal", "coronal")


def describe_curves(spine: Spine) -> str:
    """Says in words what the drawing shows."""
    curves = [describe_curve(curve) for _, curve in _named_curves(spine)]
    ends = f"from {spine.vertebrae[0].level} to {spine.vertebrae[-1].level}"
    sides = " and ".join(
        {"sagittal": "from the side", "coronal": "from the front"}[p] for p in _planes(spine)
    )
    return f"Line drawing of the column {ends}, {sides}. " + (
        "; ".join(curves) + "." if curves else "No angle was measured."
    )


def describe_curve(curve: Curve) -> str:
    """Says one curve in words, e.g. "Coronal curve 16°, T5 to T11, convex to the right, apex T8"."""
    span = f"{curve.angle_deg:.0f}°, {_end(curve.upper)} to {_end(curve.lower)}"
    if curve.plane == "coronal":
        return f"Coronal curve {span}, convex to the {curve.convex}, apex {curve.apex}"
    name = "Kyphosis" if curve.convex == "posterior" else "Lordosis"
    return f"{name} {span}"


def _end(name: str) -> str:
    """Name of an end vertebra; of the sacrum it is the first segment whose endplate is meant."""
    return "S1" if name == "S" else name


def _named_curves(spine: Spine) -> list[tuple[Literal["coronal", "sagittal"], Curve]]:
    """All curves measured, each with its plane."""
    if spine.curvature is None:
        return []
    sagittal = (spine.curvature.kyphosis, spine.curvature.lordosis)
    found: Iterable[Curve | None] = (*spine.curvature.coronal, *sagittal)
    return [(curve.plane, curve) for curve in found if curve is not None]


def _draw_panel(spine: Spine, panel: _Panel) -> list[str]:
    """The elements of one plane: sides, line, bodies, angles."""
    axis = 1 if panel.plane == "sagittal" else 0
    curves = [curve for plane, curve in _named_curves(spine) if plane == panel.plane]
    ends = {name for curve in curves for name in (curve.upper, curve.lower)}
    tilts = _tilts(spine, axis)
    parts = _draw_head(panel)
    boxes = {}
    for vertebra, tilt in zip(spine.vertebrae, tilts, strict=True):
        boxes[vertebra.level] = _box(spine, vertebra, tilt, axis)
        fill = _END if vertebra.level in ends else _BODY
        dash = "" if vertebra.complete else ' stroke-dasharray="2 2"'
        points = _pairs(panel.place(boxes[vertebra.level]))
        parts.append(f'<polygon points="{points}" fill="{fill}" stroke="{_FAINT}" stroke-width=".7"{dash}/>')
    parts.append(_draw_line(spine, panel, axis))
    size = float(np.clip(panel.scale * 7.0, 6.0, 10.0))
    for vertebra in spine.vertebrae:
        (x, y) = panel.place(np.array([[vertebra.center_mm[axis], vertebra.center_mm[2]]]))[0]
        parts.append(_text(x, y + size * 0.36, vertebra.level, f'font-size="{size:.1f}" fill="{_INK}"'))
    for curve in curves:
        parts += _draw_angle(curve, panel, boxes)
    return parts


def _draw_head(panel: _Panel) -> list[str]:
    """Title and side letters of a panel."""
    first, last = _SIDES[panel.plane]
    middle, right = panel.left_px + panel.width_px / 2, panel.left_px + panel.width_px
    faint = f'font-size="10" fill="{_FAINT}"'
    return [
        _text(middle, 12, panel.plane.capitalize(), f'font-size="11" font-weight="600" fill="{_INK}"'),
        _text(panel.left_px + 8, 12, first, faint),
        _text(right - 8, 12, last, faint),
    ]


def _draw_line(spine: Spine, panel: _Panel, axis: int) -> str:
    """The smooth line through the centres."""
    order = np.argsort(spine.centers_mm[:, 2], kind="stable")
    points = spine.centers_mm[order]
    keep = np.concatenate([[True], np.diff(points[:, 2]) > 0.5])
    line = ColumnLine(points[keep], np.zeros(int(keep.sum())))
    heights = np.linspace(points[0, 2], points[-1, 2], 80)
    path = _pairs(panel.place(line.at(heights)[:, [axis, 2]]))
    style = f'fill="none" stroke="{_LINE}" stroke-width="1" opacity=".55"'
    return f'<polyline points="{path}" {style}/>'


def _tilts(spine: Spine, axis: int) -> Float:
    """(n, 2) unit vectors (across, up) along each body, from its frame or else from its neighbours."""
    centers = spine.centers_mm[:, [axis, 2]]
    along = np.gradient(centers, axis=0) * -1
    for row, vertebra in enumerate(spine.vertebrae):
        if vertebra.frame is not None:
            along[row] = np.array(vertebra.frame.superior)[[axis, 2]]
    length = np.linalg.norm(along, axis=1, keepdims=True)
    return np.where(length > 1e-6, along / np.maximum(length, 1e-6), [0.0, 1.0])


def _box(spine: Spine, vertebra: Vertebra, up: Float, axis: int) -> Float:
    """(4, 2) corners in mm: upper left, upper right, lower right, lower left of the picture."""
    if vertebra.corners is not None and axis == 1:
        return vertebra.corners.points()[[0, 1, 3, 2], 1:]
    half = _HALF_MM[level(vertebra.level).region][axis]
    high = _half_height(spine, vertebra)
    right = np.array([up[1], -up[0]])
    corners = [(-half, high), (half, high), (half, -high), (-half, -high)]
    center = np.array([vertebra.center_mm[axis], vertebra.center_mm[2]])
    return np.array([center + x * right + y * up for x, y in corners])


def _half_height(spine: Spine, vertebra: Vertebra) -> float:
    """Half the body's measured middle or posterior height, or 38 % of the way to its neighbour, mm."""
    heights = vertebra.heights_mm
    if heights is not None and (heights.middle or heights.posterior):
        return float(heights.middle or heights.posterior or 0.0) / 2
    gaps = np.linalg.norm(spine.centers_mm - np.array(vertebra.center_mm), axis=1)
    return float(np.clip(0.38 * np.sort(gaps)[1], 3.0, 14.0))


def _draw_angle(curve: Curve, panel: _Panel, boxes: dict[str, Float]) -> list[str]:
    """The endplate lines towards the concave side, as far as their ends are drawn, and the angle between."""
    to_right = curve.convex in {"right", "anterior"}
    near, far = (0, 1) if to_right else (1, 0)
    tips, parts = [], []
    for name, first, second in ((curve.upper, near, far), (curve.lower, 3 - near, 3 - far)):
        if name not in boxes:
            continue
        line = panel.place(_extend(boxes[name][first], boxes[name][second]))
        (x1, y1), (x2, y2) = line
        tips.append(line[1])
        style = f'stroke="{_LINE}" stroke-width="1" stroke-dasharray="4 2.5"'
        parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>')
    if not tips:
        return []
    x = float(np.mean(np.array(tips)[:, 0]))
    x = float(np.clip(x, panel.left_px + 17, panel.left_px + panel.width_px - 17))
    y = float(np.mean(np.array(tips)[:, 1])) - (18 if len(tips) == 1 else 0)
    halo = 'stroke="#fff" stroke-width="3" paint-order="stroke"'
    big = f'font-size="14" font-weight="700" fill="{_LINE}" {halo}'
    parts.append(_text(x, y, f"{curve.angle_deg:.0f}°", big))
    parts.append(
        _text(
            x, y + 11, f"{_end(curve.upper)}–{_end(curve.lower)}", f'font-size="8.5" fill="{_FAINT}" {halo}'
        )
    )
    return parts


def _extend(start: Float, through: Float) -> Float:
    """(2, 2): from `start` through the other corner and 16 mm beyond, mm."""
    direction = (through - start) / np.linalg.norm(through - start)
    return np.array([start, through + 16.0 * direction])


def _pairs(points_px: Float) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points_px)


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" {style}>{escape(text)}</text>'
