"""A scan before and after a deformation, side by side, with its curves drawn as they are read."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spinelab.io.outputs import writing
from spinelab.report.pictures import draw_views
from spinelab.spine import Curve, Spine
from spinelab.volume import Image, Mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: How far an endplate's line is drawn to either side of the body, mm.
_HALF_LINE_MM = 42.0
_LINE = "#ffd23f"


def write_before_after(
    before: tuple[Image, Mask, Spine], after: tuple[Image, Mask, Spine], path: Path
) -> None:
    """Writes one PNG: the pictures along the column before (left) and after (right).

    Args:
        before: Scan, mask and measured spine (frames and curvature filled in).
        after: Likewise; its curves are those drawn.
        path: The PNG to write.

    Raises:
        OutputError: The file cannot be written.
    """
    from matplotlib import image as files

    pictures = [_render(*part) for part in (before, after)]
    height = max(len(picture) for picture in pictures)
    padded = [np.pad(p, ((0, height - len(p)), (0, 0), (0, 0)), mode="edge") for p in pictures]
    with writing(path):
        files.imsave(path, np.concatenate(padded, axis=1))


def _render(image: Image, mask: Mask, spine: Spine) -> NDArray[np.uint8]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw_views(image, mask, spine)
    for curve in () if spine.curvature is None else spine.curvature.coronal:
        _draw_curve(figure.axes[1], spine, curve)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _draw_curve(axes: "Axes", spine: Spine, curve: Curve) -> None:
    """Draws the two endplate lines of a coronal curve and its angle."""
    for name, sign in ((curve.upper, 1), (curve.lower, -1)):
        vertebra = spine[name]
        if vertebra.frame is None:
            return
        superior = np.array(vertebra.frame.superior)
        heights = vertebra.heights_mm
        half = 0.5 * (heights.middle if heights is not None and heights.middle else 22.0)
        middle = np.array(vertebra.center_mm) + sign * half * superior
        along = np.array([superior[2], -superior[0]]) / np.hypot(superior[2], superior[0])
        ends = np.array([middle[[0, 2]] - _HALF_LINE_MM * along, middle[[0, 2]] + _HALF_LINE_MM * along])
        axes.plot(ends[:, 0], ends[:, 1], color=_LINE, linewidth=1.1)
    apex = np.array(spine[curve.apex].center_mm)
    side = -1.0 if curve.convex == "left" else 1.0
    label = f"{curve.angle_deg:.0f}°"
    axes.text(apex[0] + side * 34, apex[2], label, color=_LINE, fontsize=10, ha="center", weight="bold")
