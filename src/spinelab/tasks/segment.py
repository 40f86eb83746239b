"""Outlines and names every vertebra of a CT: locate, walk the column, name, outline."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinelab import models
from spinelab.anatomy import ORDER, level, levels_between
from spinelab.errors import ModalityError
from spinelab.measurement.sampling import SoftOutline
from spinelab.spine import Point, Spine, Vertebra
from spinelab.tasks.column_prior import SIZES, expected_spacing_mm
from spinelab.tasks.frames import column_frames
from spinelab.tasks.level_evidence import SACRUM_CLASS, Candidate
from spinelab.tasks.locate import Overview, candidate_at, find_candidates, look_over
from spinelab.tasks.naming import NamedColumn, TracedPoint, name_column, trace_column
from spinelab.tasks.outline import Canvas, Patch, outline_one
from spinelab.tasks.walk import walk_column
from spinelab.volume import Image, Mask

Progress = Callable[[str, float], None]
Floats = NDArray[np.float64]

_USUAL = levels_between("C1", "L5")
#: A piece at the edge of the scan smaller than this is no vertebra worth outlining.
_LEAST_PART_MM3 = 1500.0
#: A body whose centre is nearer to the border than this is cut; one farther out than that is out of view.
_AT_BORDER_MM, _FARTHEST_OUT_MM = 4.0, 18.0
#: A body nearer to the detected S1 than this is S1; a walk must find this share of the traced bodies.
_APART_MM, _LEAST_SHARE = 14.0, 0.5
#: Level evidence from which a place below the last body is taken for S1.
_LEAST_SACRUM = 0.35
#: A column is one where the surer half of its bodies have at least this mean score. On training scans columns
#: bent to 75 degrees reach 0.62 and more, parts without a spine at most 0.51.
_LEAST_SCORE = 0.55
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
        outlines: VerSe number -> the outline before it was put onto the scan's slices; `measure` reads
            thick slices better with them.
    """

    mask: Mask
    spine: Spine
    seconds: dict[str, float]
    outlines: dict[int, SoftOutline] = field(default_factory=dict, repr=False)


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
    overview = look_over(image, _load("locate", options))
    chain = _credible(trace_column(find_candidates(overview)))
    marks.append(time.perf_counter())
    named = _settle(image, overview, name_column(chain), options, tell) if chain else None
    marks.append(time.perf_counter())
    canvas = Canvas(image.geometry)
    vertebrae = _outline_all(image, named, canvas, options, tell) if named else []
    marks.append(time.perf_counter())
    seconds = dict(zip(("locate", "walk", "outline"), np.diff(marks).tolist(), strict=True))
    numbering = named.numbering if named and vertebrae else None
    spine = Spine(tuple(vertebrae), numbering, warnings=_warnings(vertebrae, named))
    return Segmentation(Mask(canvas.labels, image.geometry), spine, seconds, canvas.outlines)


def _credible(chain: tuple[TracedPoint, ...]) -> tuple[TracedPoint, ...]:
    """Returns the chain, or nothing where the detector was sure of hardly any of its bodies: no spine."""
    scores = sorted(point.score for point in chain if not point.inserted)
    upper = scores[len(scores) // 2 :]
    return chain if upper and float(np.mean(upper)) >= _LEAST_SCORE else ()


def _load(name: str, options: SegmentOptions) -> models.Network:
    return models.load(name, folder=options.weights, device=options.device, threads=options.threads)


def _outline_all(
    image: Image, named: NamedColumn, canvas: Canvas, options: SegmentOptions, tell: Progress
) -> list[Vertebra]:
    network = _load("outline", options)
    centers = np.array([point.center_mm for point in named.points])
    frames = column_frames(centers)
    vertebrae = []
    for place, (point, name) in enumerate(zip(named.points, named.levels, strict=True)):
        tell("outline", place / len(centers))
        if name == _SACRUM:
            continue
        patch = outline_one(
            image,
            network,
            center_mm=centers[place],
            frame=frames[place],
            others_mm=np.delete(centers, place, axis=0),
        )
        if not options.partial and _is_cut(image, patch):
            continue
        found = _Found(
            name, centers[place], float(named.probabilities[place]), None if point.inserted else point.score
        )
        vertebrae.append(_draw(image, canvas, patch, found))
    if options.partial:
        vertebrae = [*_beyond(image, network, canvas, named, -1), *vertebrae]
        vertebrae = [*vertebrae, *_beyond(image, network, canvas, named, +1)]
    tell("outline", 1.0)
    return vertebrae


def _settle(
    image: Image, overview: Overview, named: NamedColumn, options: SegmentOptions, tell: Progress
) -> NamedColumn:
    """Finds the bodies along the traced line with the outline network and names them anew.

    The body of S1, which that network is taught not to outline, stays where the detector saw it, or is looked
    for below the last body. Where the walk finds too little, the first answer stands.
    """
    if len(named.points) < 2:
        return named
    bodies = walk_column(image, _load("outline", options), named, lambda done: tell("walk", done))
    sacral = [p for p, name in zip(named.points, named.levels, strict=True) if name == _SACRUM]
    candidates = [
        candidate_at(overview, body.center_mm, score=0.3 + 0.67 * body.support)
        for body in bodies
        if all(np.linalg.norm(body.center_mm - p.center_mm) > _APART_MM for p in sacral)
    ]
    candidates += [candidate_at(overview, p.center_mm, score=max(p.score, 0.5)) for p in sacral]
    if not sacral and len(bodies) > 1:
        candidates += _look_for_sacrum(overview, bodies[-2].center_mm, bodies[-1].center_mm)
    chain = trace_column(candidates)
    if len(chain) < _LEAST_SHARE * len(named.points):
        return named
    return name_column(chain)


def _look_for_sacrum(overview: Overview, above: Floats, last: Floats) -> list[Candidate]:
    """Returns the body of S1 as a candidate if the maps show one about a step below the last body."""
    step = last - above
    tried = [last + share * step for share in np.arange(0.6, 1.25, 0.1)]
    seen = [point for point in tried if overview.geometry.contains(point, margin_mm=_AT_BORDER_MM)]
    found = [candidate_at(overview, point, score=0.6) for point in seen]
    best = max(found, key=lambda candidate: candidate.level_probabilities[SACRUM_CLASS], default=None)
    if best is None or best.level_probabilities[SACRUM_CLASS] < _LEAST_SACRUM:
        return []
    return [best]


def _draw(image: Image, canvas: Canvas, patch: Patch, found: _Found) -> Vertebra:
    """Draws a patch and makes its vertebra."""
    voxels = canvas.add(patch, level(found.level).label)
    flags = [] if voxels else ["no outline"]
    if found.detection is None:
        flags.append("centre inferred")
    center = found.center_mm
    cut = _is_cut(image, patch)
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


def _is_cut(image: Image, patch: Patch) -> bool:
    """Whether the field of view cuts the body."""
    return patch.body_is_cut or not bool(image.geometry.contains(patch.center_mm, margin_mm=_AT_BORDER_MM))


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
    onward = float(np.clip(size, *SIZES)) * _spacing_mm(name, named.levels[end])
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
        if named is None:
            return ("No vertebra was found in this scan.",)
        if set(named.levels) <= {_SACRUM}:
            return ("Only the sacrum was found; no vertebra is in view.",)
        return ("No vertebra is wholly in view; those that are cut were left out as asked.",)
    warnings = []
    blank = [v.level for v in vertebrae if "no outline" in v.flags]
    if blank:
        warnings.append(f"No outline could be drawn for {', '.join(blank)}; only the centre is given.")
    inferred = [v.level for v in vertebrae if "centre inferred" in v.flags and v.complete]
    if inferred:
        warnings.append(f"{', '.join(inferred)}: not seen by the detector, inferred from the neighbours.")
    return tuple(warnings)
