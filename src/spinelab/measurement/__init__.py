"""Pure geometry on a named mask: frames, heights, curvature, slip, density; mm, degrees and HU.

`measure` is the way in; docs/measurement.md defines every number it gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spinelab.anatomy import ORDER, level
from spinelab.errors import GeometryError
from spinelab.measurement.bodies import Body, find_body
from spinelab.measurement.completeness import find_cuts
from spinelab.measurement.curvature import Endplates, measure_curvature
from spinelab.measurement.density import CONTRAST_WARNING, contains_metal, detect_contrast, measure_density
from spinelab.measurement.endplate_shape import measure_endplate_shape
from spinelab.measurement.frames import column_axes, frame_of
from spinelab.measurement.heights import compare_heights, exclude_spill, measure_heights
from spinelab.measurement.sacrum import SacralEndplate, find_sacral_endplate
from spinelab.measurement.sampling import Array, Cutout, Slices, SoftOutline, cut_out, find_boxes
from spinelab.measurement.slip import DiscSide, measure_slip
from spinelab.spine import Curvature, Heights, Point, Spine, Vertebra
from spinelab.volume import Image, Mask

__all__ = ["Column", "Outlines", "find_column", "measure"]

#: VerSe number -> that vertebra's outline on a finer grid of its own.
Outlines = Mapping[int, SoftOutline]

#: Slices farther apart than this along the body's axis are flagged.
THICK_MM = 3.0
#: A label smaller than this, or than this share of the median of its neighbours, is flagged.
SMALLEST_MM3, SMALLEST_SHARE = 1500.0, 0.35
#: A patient turned about the long axis by more than this mixes kyphosis into coronal angles.
TURNED_DEG = 15.0
#: Levels without the two endplates of a body.
_NO_ENDPLATES = ("C1", "C2", "S", "Co")


@dataclass(frozen=True, eq=False)
class _Finding:
    """What was found of one vertebra."""

    vertebra: Vertebra
    cutout: Cutout | None
    body: Body | None
    slice_mm: float


@dataclass(frozen=True, eq=False)
class Column:
    """The bodies of a mask's vertebrae.

    Attributes:
        vertebrae: From the head down; completeness, frame and centre filled in where a body was found.
        bodies: Level -> its body; none for C1, the sacrum and what shows no endplate.
        sacrum: The sacral endplate, where it is in view.
    """

    vertebrae: tuple[Vertebra, ...]
    bodies: dict[str, Body]
    sacrum: SacralEndplate | None

    def endplates(self) -> list[Endplates]:
        """Returns what `spinelab.measurement.curvature` measures angles from, as if slices were thin."""
        plates = [_endplates(name, body, 1.0) for name, body in self.bodies.items()]
        return plates + _sacral_endplates(self.sacrum)


def find_column(mask: Mask, spine: Spine) -> Column:
    """Finds the body of every vertebra, without measuring it.

    Args:
        mask: (i, j, k) VerSe numbers on the scan's own grid, whole vertebrae or bodies alone.
        spine: Vertebrae with levels and about where their bodies are (LPS mm).
    """
    findings, sacral = _find_all(mask, spine, find_boxes(mask, spine.centers_mm), {})
    vertebrae = []
    for finding in findings:
        vertebra = finding.vertebra
        if finding.cutout is None:
            continue
        cut, _ = find_cuts(finding.cutout, finding.body)
        vertebra = replace(vertebra, complete=vertebra.complete and not cut)
        if finding.body is not None:
            vertebra = replace(vertebra, frame=finding.body.frame, center_mm=_point(finding.body.center_mm))
        vertebrae.append(vertebra)
    bodies = {f.vertebra.level: f.body for f in findings if f.body is not None}
    return Column(tuple(vertebrae), bodies, sacral)


def _find_all(
    mask: Mask, spine: Spine, boxes: dict[int, Slices], outlines: Outlines
) -> tuple[list[_Finding], SacralEndplate | None]:
    """Finds every body, and the sacral endplate below the last."""
    findings = [
        _find(mask, boxes, outlines, vertebra, axes)
        for vertebra, axes in zip(spine.vertebrae, column_axes(spine.centers_mm), strict=True)
    ]
    findings = _exclude_spill(findings)
    return findings, _find_sacrum(mask, boxes, findings)


def measure(image: Image | None, mask: Mask, spine: Spine, *, outlines: Outlines | None = None) -> Spine:
    """Measures every vertebra of a spine in its own frame.

    Works vertebra by vertebra on crops, so that time and memory grow with the number of vertebrae only.

    Args:
        image: (i, j, k) CT in HU on the mask's grid; None, or another modality, leaves density out.
        mask: (i, j, k) VerSe numbers on the scan's own grid, whole vertebrae or bodies alone.
        spine: Vertebrae with levels and about where their bodies are (LPS mm).
        outlines: The same vertebrae as they were outlined. Where the scan's slices are farther apart than
            their samples, bodies are read from them: putting an outline onto thick slices loses its surfaces.

    Returns:
        The spine with body centres, frames, volumes, heights (mm), height loss (per cent), density (HU),
        slip (mm), curvature (degrees), completeness, flags and warnings. What cannot be read is None.

    Raises:
        GeometryError: Image and mask are not on the same grid.

    Example:
        >>> from spinelab.volume import Geometry
        >>> array = np.zeros((60, 50, 40), np.uint8)
        >>> array[10:50, 10:40, 8:32] = 20
        >>> block = Mask(array, Geometry.from_spacing(array.shape, (1, 1, 1)))
        >>> spine = Spine((Vertebra("L1", (29.5, 24.5, 19.5), 0.9),))
        >>> round(measure(None, block, spine)["L1"].heights_mm.middle, 1)
        24.0
    """
    _check_grids(image, mask)
    ct = image if image is not None and image.modality in ("CT", "unknown") else None
    boxes = find_boxes(mask, spine.centers_mm)
    findings, sacral = _find_all(mask, spine, boxes, outlines or {})
    findings = _place_sacrum(findings, sacral)
    vertebrae = [_describe(ct, mask, boxes, finding, findings) for finding in findings]
    vertebrae = _compare(vertebrae, findings, sacral)
    curvature = measure_curvature(_collect_endplates(findings, sacral))
    warnings = _warn(ct, mask, findings, curvature)
    return replace(spine, vertebrae=tuple(vertebrae), curvature=curvature).with_warnings(*warnings)


def _check_grids(image: Image | None, mask: Mask) -> None:
    if image is not None and not image.geometry.same_grid(mask.geometry):
        raise GeometryError(
            f"image of shape {image.array.shape} and mask of shape {mask.array.shape} are not on the same "
            "grid; resample one onto the other first"
        )


def _find(
    mask: Mask, boxes: dict[int, Slices], outlines: Outlines, vertebra: Vertebra, axes: Array
) -> _Finding:
    box, center = boxes.get(vertebra.label), np.array(vertebra.center_mm)
    cutout = None if box is None else cut_out(mask, vertebra.label, box, center)
    if cutout is None:
        return _Finding(vertebra, None, None, 0.0)
    shown = cutout.refined(outlines.get(vertebra.label), axes[2])
    body = None if vertebra.level in ("C1", "S", "Co") else find_body(shown, center, axes)
    if body is not None and vertebra.level == "C2":
        body = replace(body, superior=None)
    up = axes[2] if body is None else body.grid.axes[2]
    return _Finding(vertebra, cutout, body, cutout.thickness_along(up))


def _exclude_spill(findings: Sequence[_Finding]) -> list[_Finding]:
    """Takes from each body the columns that run into a neighbour."""
    limited = []
    for i, finding in enumerate(findings):
        if finding.body is None:
            limited.append(finding)
            continue
        name = finding.vertebra.level
        above = below = None
        if i > 0 and _are_neighbours(findings[i - 1].vertebra.level, name):
            other = findings[i - 1].body
            above = None if other is None else other.inferior
        if i + 1 < len(findings) and _are_neighbours(name, findings[i + 1].vertebra.level):
            other = findings[i + 1].body
            below = None if other is None else other.superior
        body = exclude_spill(finding.body, above, below, finding.slice_mm)
        limited.append(replace(finding, body=body))
    return limited


def _find_sacrum(mask: Mask, boxes: dict[int, Slices], findings: Sequence[_Finding]) -> SacralEndplate | None:
    """Finds the sacral endplate below the last lumbar vertebra, whether or not the spine lists the sacrum."""
    number = level("S").label
    lumbar = [f for f in findings if f.vertebra.level in ("L4", "L5", "L6")]
    if number not in boxes or not lumbar or lumbar[-1].body is None:
        return None
    body = lumbar[-1].body
    if body.inferior is None:
        return None
    below = body.inferior.point - 10 * body.inferior.normal
    cutout = cut_out(mask, number, boxes[number], below)
    return None if cutout is None else find_sacral_endplate(cutout, body)


def _place_sacrum(findings: list[_Finding], sacral: SacralEndplate | None) -> list[_Finding]:
    """Gives the sacrum, if listed, the frame of its endplate."""
    if sacral is None:
        return findings
    frame = frame_of(sacral.axes)
    return [
        replace(f, vertebra=replace(f.vertebra, frame=frame)) if f.vertebra.level == "S" else f
        for f in findings
    ]


def _describe(
    image: Image | None,
    mask: Mask,
    boxes: dict[int, Slices],
    finding: _Finding,
    findings: Sequence[_Finding],
) -> Vertebra:
    """Fills in what one vertebra shows by itself."""
    vertebra, cutout, body = finding.vertebra, finding.cutout, finding.body
    if cutout is None:
        return replace(vertebra, flags=_add(vertebra.flags, "no mask"))
    cut, behind = find_cuts(cutout, body)
    complete = vertebra.complete and not cut
    metal = image is not None and contains_metal(image, mask, vertebra.label, boxes[vertebra.label])
    flags = {
        "cut": not complete,
        "posterior elements cut": behind,
        "thick slices": finding.slice_mm > THICK_MM,
        "metal": metal,
        "small mask": _is_small(finding, findings),
        "body not found": body is None and vertebra.level not in ("C1", "S", "Co"),
    }
    vertebra = replace(
        vertebra,
        complete=complete,
        volume_mm3=cutout.volume_mm3,
        slice_mm=round(finding.slice_mm, 3),
        flags=_add(vertebra.flags, *(name for name, raised in flags.items() if raised)),
    )
    if body is None:
        return vertebra
    vertebra = _fill_body(vertebra, body, cut=cut)
    if complete and vertebra.level not in _NO_ENDPLATES and _lacks_heights(vertebra.heights_mm):
        vertebra = replace(vertebra, flags=_add(vertebra.flags, "height unreadable"))
    if image is None or metal or vertebra.level in _NO_ENDPLATES:
        return vertebra
    return replace(vertebra, density=measure_density(image, body, finding.slice_mm))


def _fill_body(vertebra: Vertebra, body: Body, *, cut: bool) -> Vertebra:
    """Fills in centre, frame and heights."""
    readable = vertebra.level not in _NO_ENDPLATES
    heights = [_drop_empty(measure_heights(body, share)) if readable else None for share in (0.0, 0.5, -0.5)]
    whole = body.superior is not None and body.inferior is not None
    return replace(
        vertebra,
        center_mm=_point(body.center_mm) if whole or not cut else vertebra.center_mm,
        frame=body.frame,
        heights_mm=heights[0],
        heights_left_mm=heights[1],
        heights_right_mm=heights[2],
        endplates=measure_endplate_shape(body) if readable else None,
    )


def _add(flags: tuple[str, ...], *more: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*flags, *more)))


def _point(values: Array) -> Point:
    return (float(values[0]), float(values[1]), float(values[2]))


def _lacks_heights(heights: Heights | None) -> bool:
    return heights is None or None in (heights.anterior, heights.middle, heights.posterior)


def _drop_empty(heights: Heights) -> Heights | None:
    return None if heights == Heights(None, None, None) else heights


def _is_small(finding: _Finding, findings: Sequence[_Finding]) -> bool:
    """Tells whether a label is too small to be a whole vertebra, by itself or beside its neighbours."""
    own, place = finding.cutout, ORDER[finding.vertebra.level]
    if own is None or finding.vertebra.level in ("S", "Co"):
        return False
    near = [
        other.cutout.volume_mm3
        for other in findings
        if other.cutout is not None
        and other is not finding
        and abs(ORDER[other.vertebra.level] - place) <= 3
        and other.vertebra.level not in ("S", "Co")
    ]
    smallest = SMALLEST_SHARE * float(np.median(near)) if near else 0.0
    return own.volume_mm3 < max(SMALLEST_MM3, smallest)


def _compare(
    vertebrae: Sequence[Vertebra], findings: Sequence[_Finding], sacral: SacralEndplate | None
) -> list[Vertebra]:
    """Fills in what needs the neighbours: height loss and slip."""
    losses = compare_heights([v.heights_mm for v in vertebrae])
    compared = [replace(v, height_loss=loss) for v, loss in zip(vertebrae, losses, strict=True)]
    for i in range(1, len(findings)):
        above, below = findings[i - 1], findings[i]
        if above.body is None or not _are_neighbours(above.vertebra.level, below.vertebra.level):
            continue
        if not (_shows_its_endplates(above) and _shows_its_endplates(below)):
            continue  # the axes of a body cut through are not sure enough
        upper = DiscSide(above.body.inferior, above.body.corners_mm[1])
        lower = _upper_side(below, sacral)
        if lower is not None:
            slip = measure_slip(above.vertebra.level, upper, lower)
            compared[i] = replace(compared[i], slip=slip)
    return compared


def _shows_its_endplates(finding: _Finding) -> bool:
    body = finding.body
    if body is None:  # the sacrum
        return True
    return body.inferior is not None and (body.superior is not None or finding.vertebra.level == "C2")


def _upper_side(finding: _Finding, sacral: SacralEndplate | None) -> DiscSide | None:
    if finding.body is not None:
        return DiscSide(finding.body.superior, finding.body.corners_mm[0], finding.body.grid.axes[1])
    if finding.vertebra.level == "S" and sacral is not None:
        return DiscSide(sacral.plane, sacral.corner_mm, sacral.axes[1])
    return None


def _are_neighbours(above: str, below: str) -> bool:
    """Tells whether no usual level lies between two (T13 and L6 may be absent; L4 or T11 may be last)."""
    between = [name for name, place in ORDER.items() if ORDER[above] < place < ORDER[below]]
    return all(name in ("T13", "L6", "T12", "L5") for name in between) and len(between) <= 2


def _collect_endplates(findings: Sequence[_Finding], sacral: SacralEndplate | None) -> list[Endplates]:
    plates = [_endplates(f.vertebra.level, f.body, f.slice_mm) for f in findings if f.body is not None]
    return plates + _sacral_endplates(sacral)


def _endplates(name: str, body: Body, slice_mm: float) -> Endplates:
    superior, inferior = (None if plane is None else plane.normal for plane in (body.superior, body.inferior))
    return Endplates(name, body.center_mm, superior, inferior, slice_mm)


def _sacral_endplates(sacral: SacralEndplate | None) -> list[Endplates]:
    return [] if sacral is None else [Endplates("S", sacral.plane.point, sacral.plane.normal, None)]


def _warn(image: Image | None, mask: Mask, findings: Sequence[_Finding], curvature: Curvature) -> list[str]:
    """Returns what a reader should know before trusting the numbers."""
    warnings = []
    bodies = [f for f in findings if f.body is not None]
    trunk = [f for f in bodies if ORDER["T4"] <= ORDER[f.vertebra.level] <= ORDER["L5"]]
    places = [f.body.center_mm for f in trunk if f.body is not None]
    if image is not None and detect_contrast(
        image, mask, places, column_axes(np.array(places).reshape(-1, 3))
    ):
        warnings.append(CONTRAST_WARNING)
    if any(f.slice_mm > THICK_MM for f in bodies):
        thickest = max(f.slice_mm for f in bodies)
        warnings.append(
            f"slices {thickest:.1f} mm apart: heights are uncertain by about half of that, angles by several "
            "degrees"
        )
    turns = [np.degrees(np.arctan2(-f.body.grid.axes[1][0], f.body.grid.axes[1][1])) for f in trunk if f.body]
    if len(turns) >= 3 and abs(np.median(turns)) > TURNED_DEG:
        warnings.append(
            f"the trunk lies turned by {abs(np.median(turns)):.0f} degrees about its long axis: coronal "
            "angles contain part of the kyphosis and lordosis"
        )
    for name, curve, whole in (
        ("kyphosis", curvature.kyphosis, ("T4", "T12")),
        ("lordosis", curvature.lordosis, ("L1", "S")),
    ):
        if curve is not None and (curve.upper, curve.lower) != whole:
            ends = " to ".join(whole).replace("S", "S1")
            warnings.append(f"{name} measured from {curve.upper} to {curve.lower}: {ends} is not all in view")
    return warnings
