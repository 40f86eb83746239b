"""Outlines and names every vertebra of a CT: locate, name, outline."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinelab import models
from spinelab.anatomy import ORDER, level, levels_between
from spinelab.errors import ModalityError
from spinelab.spine import Point, Spine, Vertebra
from spinelab.tasks.column_prior import expected_spacing_mm
from spinelab.tasks.frames import column_frames
from spinelab.tasks.locate import find_candidates, look_over
from spinelab.tasks.naming import NamedColumn, name_column, trace_column
from spinelab.tasks.outline import Canvas, Patch, outline_one
from spinelab.volume import Image, Mask

Progress = Callable[[str, float], None]
Floats = NDArray[np.float64]

_USUAL = levels_between("C1", "L5")
#: A piece at the edge of the scan smaller than this is no vertebra worth outlining.
_LEAST_PART_MM3 = 1500.0
#: A body whose centre is nearer to the border than this is cut; one farther out than that is out of view.
_AT_BORDER_MM, _FARTHEST_OUT_MM = 4.0, 18.0
#: From infants to giants, against the mean adult.
_SIZES = (0.5, 1.3)
#: How far the first outline may move a centre, and how close two bodies may stand against the mean adult.
_FARTHEST_MOVE_MM, _CLOSEST = 12.0, 0.55
_SACRUM = "S"


@dataclass(frozen=True)
class SegmentOptions:
    """How to segment.

    Attributes:
        device: "cpu" or "cuda".
        threads: CPU threads, 0 for one a core.
        partial: Also outline vertebrae that the field of view cuts.
        weights: Folder with ``weights.json`` of your own training run; none: the shipped weights.
    """

    device: str = "cpu"
    threads: int = 0
    partial: bool = True
    weights: Path | None = None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What `segment` found.

    Attributes:
        mask: VerSe numbers (i, j, k) uint8 on the scan's own grid.
        spine: Vertebrae with names, centres and certainty; not measured yet.
        seconds: Stage -> seconds.
    """

    mask: Mask
    spine: Spine
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class _Found:
    """A vertebra to outline: its name, where, and whether the network saw its centre."""

    level: str
    center_mm: Floats
    probability: float
    detection: float | None


def segment(
    image: Image,
    options: SegmentOptions = SegmentOptions(),
    *,
    progress: Progress | None = None,
) -> Segmentation:
    """Outlines and names every vertebra of a CT.

    Args:
        image: CT in HU, any axes and spacing.
        options: Device and threads.
        progress: Called with a stage name and the fraction of it that is done.

    Raises:
        ModalityError: The image is marked as something other than CT.
        ModelError: Weights missing, damaged or unfit.

    Example:
        >>> import spinelab  # doctest: +SKIP
        >>> found = spinelab.segment(spinelab.read("scan.nii.gz"))  # doctest: +SKIP
        >>> found.spine.levels  # doctest: +SKIP
        ('T11', 'T12', 'L1', 'L2')
    """
    if image.modality not in {"CT", "unknown"}:
        raise ModalityError(f"segment reads CT, this image is {image.modality}; give a CT in HU")
    tell = progress or (lambda stage, fraction: None)
    marks = [time.perf_counter()]
    tell("locate", 0.0)
    candidates = find_candidates(look_over(image, _load("locate", options)))
    marks.append(time.perf_counter())
    chain = trace_column(candidates)
    named = name_column(chain) if chain else None
    marks.append(time.perf_counter())
    canvas = Canvas(image.geometry)
    vertebrae = _outline_all(image, named, canvas, options, tell) if named else []
    marks.append(time.perf_counter())
    seconds = dict(zip(("locate", "name", "outline"), np.diff(marks).tolist(), strict=True))
    numbering = named.numbering if named and vertebrae else None
    spine = Spine(tuple(vertebrae), numbering, warnings=_warnings(vertebrae, named))
    return Segmentation(Mask(canvas.labels, image.geometry), spine, seconds)


def _load(name: str, options: SegmentOptions) -> models.Network:
    return models.load(name, folder=options.weights, device=options.device, threads=options.threads)


def _outline_all(
    image: Image, named: NamedColumn, canvas: Canvas, options: SegmentOptions, tell: Progress
) -> list[Vertebra]:
    network = _load("outline", options)
    named = _recentre(image, network, named, tell)
    centers = np.array([point.center_mm for point in named.points])
    frames = column_frames(centers)
    vertebrae = []
    for place, (point, name) in enumerate(zip(named.points, named.levels, strict=True)):
        tell("outline", 0.5 + 0.5 * place / len(centers))
        if name == _SACRUM:
            continue
        patch = _outline_at(image, network, centers, frames, place)
        found = _Found(
            name, centers[place], float(named.probabilities[place]), None if point.inserted else point.score
        )
        vertebrae.append(_draw(image, canvas, patch, found))
    if options.partial:
        vertebrae = [*_beyond(image, network, canvas, named, -1), *vertebrae]
        vertebrae = [*vertebrae, *_beyond(image, network, canvas, named, +1)]
    tell("outline", 1.0)
    return vertebrae


def _outline_at(image: Image, network: models.Network, centers: Floats, frames: Floats, place: int) -> Patch:
    return outline_one(
        image,
        network,
        center_mm=centers[place],
        frame=frames[place],
        others_mm=np.delete(centers, place, axis=0),
    )


def _recentre(image: Image, network: models.Network, named: NamedColumn, tell: Progress) -> NamedColumn:
    """Moves every centre along the column to the middle of the body a first outline shows.

    The detector sees 3 mm voxels and may miss by half a body in thick slices; the outline network sees the
    endplates. A move after which two bodies would stand closer than a column allows is not made.
    """
    centers = np.array([point.center_mm for point in named.points])
    frames = column_frames(centers)
    moved = centers.copy()
    for place, name in enumerate(named.levels):
        tell("outline", 0.5 * place / len(centers))
        if name != _SACRUM:
            offset = _outline_at(image, network, centers, frames, place).body_offset_mm
            moved[place] += float(np.clip(offset, -_FARTHEST_MOVE_MM, _FARTHEST_MOVE_MM)) * frames[place, 2]
    for place in range(len(moved) - 1):
        least = _CLOSEST * _spacing_mm(named.levels[place], named.levels[place + 1])
        if np.linalg.norm(moved[place] - moved[place + 1]) < least:
            moved[place : place + 2] = centers[place : place + 2]
    points = tuple(
        replace(point, center_mm=(float(x), float(y), float(z)))
        for point, (x, y, z) in zip(named.points, moved, strict=True)
    )
    return replace(named, points=points)


def _draw(image: Image, canvas: Canvas, patch: Patch, found: _Found) -> Vertebra:
    """Draws a patch and makes its vertebra."""
    voxels = canvas.add(patch, level(found.level).label)
    flags = [] if voxels else ["no outline"]
    if found.detection is None:
        flags.append("centre inferred")
    center = found.center_mm
    cut = patch.body_is_cut or not bool(image.geometry.contains(center, margin_mm=_AT_BORDER_MM))
    if cut:
        flags.append("cut")
    point: Point = (float(center[0]), float(center[1]), float(center[2]))
    return Vertebra(
        level=found.level,
        center_mm=point,
        probability=found.probability,
        complete=bool(voxels) and not cut,
        detection=found.detection,
        flags=tuple(flags),
    )


def _beyond(
    image: Image, network: models.Network, canvas: Canvas, named: NamedColumn, side: int
) -> list[Vertebra]:
    """Outlines the vertebra beyond an end of the chain if a part of it is in view.

    `side` is -1 for the upper end and +1 for the lower.
    """
    end = 0 if side < 0 else len(named.levels) - 1
    name = _next_level(named, end, side)
    if name is None or len(named.points) < 2:
        return []
    centers = np.array([point.center_mm for point in named.points])
    center = _step_on(named, centers, name, end, side)
    if not image.geometry.contains(center, margin_mm=-_FARTHEST_OUT_MM):
        return []
    frames = column_frames(np.vstack([center, centers]) if side < 0 else np.vstack([centers, center]))
    frame = frames[0 if side < 0 else -1]
    patch = outline_one(image, network, center_mm=center, frame=frame, others_mm=centers)
    if patch.volume_mm3 < _LEAST_PART_MM3:
        return []
    vertebra = _draw(image, canvas, patch, _Found(name, center, float(named.probabilities[end]), None))
    return [] if "no outline" in vertebra.flags else [vertebra]


def _step_on(named: NamedColumn, centers: Floats, name: str, end: int, side: int) -> Floats:
    """Returns where the body beyond an end lies: on along the last step, by the size of this person."""
    step = centers[end] - centers[end - side]
    length = float(np.linalg.norm(step))
    size = length / _spacing_mm(named.levels[end], named.levels[end - side])
    onward = float(np.clip(size, *_SIZES)) * _spacing_mm(name, named.levels[end])
    return np.asarray(centers[end] + step / length * onward)


def _spacing_mm(one: str, other: str) -> float:
    upper, lower = sorted((one, other), key=lambda name: ORDER[name])
    return expected_spacing_mm(upper, lower)[0]


def _next_level(named: NamedColumn, end: int, side: int) -> str | None:
    """The level above (-1) or below (+1) an end of the chain; None where no vertebra follows.

    Below the last lumbar vertebra comes the sacrum, which is not outlined: below L5 and L6, and below L4 in a
    column of four.
    """
    name = named.levels[end]
    if name == _SACRUM or (side > 0 and name == "L4" and "L4 last" in named.numbering.variants):
        return None
    usual = [other for other in _USUAL if (ORDER[other] - ORDER[name]) * side > 0]
    if not usual:
        return None
    return usual[0] if side > 0 else usual[-1]


def _warnings(vertebrae: list[Vertebra], named: NamedColumn | None) -> tuple[str, ...]:
    if not vertebrae:
        only = "Only the sacrum was found; no vertebra is in view." if named else ""
        return (only or "No vertebra was found in this scan.",)
    warnings = []
    blank = [v.level for v in vertebrae if "no outline" in v.flags]
    if blank:
        warnings.append(f"No outline could be drawn for {', '.join(blank)}; only the centre is given.")
    inferred = [v.level for v in vertebrae if "centre inferred" in v.flags and v.complete]
    if inferred:
        warnings.append(f"{', '.join(inferred)}: not seen by the detector, inferred from the neighbours.")
    return tuple(warnings)
