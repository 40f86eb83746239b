"""Outlines and names every vertebra of a CT: locate, name, outline."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spinelab import models
from spinelab.anatomy import ORDER, level, levels_between
from spinelab.errors import ModalityError
from spinelab.spine import Numbering, Point, Spine, Vertebra
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
_SACRUM = "S"


@dataclass(frozen=True)
class SegmentOptions:
    """How to segment.

    Attributes:
        device: "cpu" or "cuda".
        threads: CPU threads, 0 for one a core.
        partial: Also outline vertebrae that the field of view cuts.
    """

    device: str = "cpu"
    threads: int = 0
    partial: bool = True


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
    clock = time.perf_counter
    started = clock()
    tell("locate", 0.0)
    overview = look_over(image, models.load("locate", device=options.device, threads=options.threads))
    candidates = find_candidates(overview)
    located = clock()
    chain = trace_column(candidates)
    if not chain:
        empty = Spine((), warnings=("No vertebra was found in this scan.",))
        blank = Mask(np.zeros(image.geometry.shape, np.uint8), image.geometry)
        return Segmentation(blank, empty, {"locate": located - started, "name": clock() - located})
    named = name_column(chain)
    named_at = clock()
    canvas = Canvas(image.geometry)
    vertebrae = _outline_all(image, named, canvas, options, tell)
    done = clock()
    seconds = {"locate": located - started, "name": named_at - located, "outline": done - named_at}
    spine = Spine(tuple(vertebrae), _numbering_of(named, vertebrae), warnings=_warnings(vertebrae))
    return Segmentation(Mask(canvas.labels, image.geometry), spine, seconds)


def _outline_all(
    image: Image, named: NamedColumn, canvas: Canvas, options: SegmentOptions, tell: Progress
) -> list[Vertebra]:
    network = models.load("outline", device=options.device, threads=options.threads)
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
        found = _Found(
            name, centers[place], float(named.probabilities[place]), None if point.inserted else point.score
        )
        vertebrae.append(_draw(image, canvas, patch, found))
    if options.partial:
        vertebrae = [*_beyond(image, network, canvas, named, -1), *vertebrae]
        vertebrae = [*vertebrae, *_beyond(image, network, canvas, named, +1)]
    tell("outline", 1.0)
    return vertebrae


def _draw(image: Image, canvas: Canvas, patch: Patch, found: _Found) -> Vertebra:
    """Draws a patch and makes its vertebra."""
    voxels = canvas.add(patch, level(found.level).label)
    flags = [] if voxels else ["no outline"]
    if found.detection is None:
        flags.append("centre inferred")
    center = found.center_mm
    inside = bool(image.geometry.contains(center, margin_mm=4.0))
    if not inside:
        flags.append("cut")
    point: Point = (float(center[0]), float(center[1]), float(center[2]))
    return Vertebra(
        level=found.level,
        center_mm=point,
        probability=found.probability,
        complete=inside and bool(voxels),
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
    name = _next_level(named.levels[end], side)
    if name is None or len(named.points) < 2:
        return []
    centers = np.array([point.center_mm for point in named.points])
    step = centers[end] - centers[end - side]
    pair = (name, named.levels[end]) if side < 0 else (named.levels[end], name)
    center = centers[end] + step / np.linalg.norm(step) * expected_spacing_mm(*pair)[0]
    if not image.geometry.contains(center, margin_mm=-18.0):
        return []
    frames = column_frames(np.vstack([center, centers]) if side < 0 else np.vstack([centers, center]))
    frame = frames[0 if side < 0 else -1]
    patch = outline_one(image, network, center_mm=center, frame=frame, others_mm=centers)
    if patch.volume_mm3 < _LEAST_PART_MM3:
        return []
    vertebra = _draw(image, canvas, patch, _Found(name, center, float(named.probabilities[end]), None))
    if "no outline" in vertebra.flags:
        return []
    return [replace(vertebra, complete=False, flags=tuple(dict.fromkeys(("cut", *vertebra.flags))))]


def _next_level(name: str, side: int) -> str | None:
    """The usual level above (-1) or below (+1) a level; None beyond C1, below L5 and at the sacrum."""
    if name not in ORDER or name == _SACRUM:
        return None
    usual = [other for other in _USUAL if (ORDER[other] - ORDER[name]) * side > 0]
    if not usual:
        return None
    return usual[0] if side > 0 else usual[-1]


def _numbering_of(named: NamedColumn, vertebrae: list[Vertebra]) -> Numbering:
    del vertebrae
    return named.numbering


def _warnings(vertebrae: list[Vertebra]) -> tuple[str, ...]:
    warnings = []
    blank = [v.level for v in vertebrae if "no outline" in v.flags]
    if blank:
        warnings.append(f"No outline could be drawn for {', '.join(blank)}; only the centre is given.")
    inferred = [v.level for v in vertebrae if "centre inferred" in v.flags and v.complete]
    if inferred:
        warnings.append(f"{', '.join(inferred)}: not seen by the detector, inferred from the neighbours.")
    return tuple(warnings)
