"""Scores of one scan."""

from dataclasses import asdict, dataclass
from typing import Any

from spinelab.anatomy import level
from spinelab.errors import GeometryError
from spinelab.evaluation.identification import (
    Centers,
    distances_mm,
    found_whatever_the_name,
    strict_hits,
    verse_hits,
)
from spinelab.evaluation.overlap import dice, hausdorff95_mm
from spinelab.evaluation.reading import Box, EvaluateOptions, Reading, boxes_of
from spinelab.spine import Point
from spinelab.volume import Mask


@dataclass(frozen=True, slots=True)
class VertebraScore:
    """How one reference vertebra was read.

    Attributes:
        level: Its name.
        predicted: A vertebra of this name was predicted.
        found_as: Name given to the vertebra predicted at this place (20 mm rule, paired one to one).
        verse_hit: VerSe's own evaluation counts it as identified.
        identified: Its predicted centre has this reference as the nearest of all, within the tolerance.
        distance_mm: Between the two centres of this name; None if either is missing.
        dice: 0 if missed; None without reference mask.
        hausdorff95_mm: The stated penalty if missed; None without reference mask.
    """

    level: str
    predicted: bool
    found_as: str | None
    verse_hit: bool
    identified: bool
    distance_mm: float | None
    dice: float | None
    hausdorff95_mm: float | None


@dataclass(frozen=True, slots=True)
class ScanScores:
    """How one scan was read.

    Attributes:
        name: Of the scan.
        vertebrae: One entry a reference vertebra.
        predicted: Names of all predicted vertebrae.
        invented: Predicted where the reference has no vertebra left to pair with (20 mm rule).
        left_out: Dropped as partial before scoring.
        all_right: The same names in both, and each one identified.
    """

    name: str
    vertebrae: tuple[VertebraScore, ...]
    predicted: tuple[str, ...]
    invented: tuple[str, ...]
    left_out: tuple[str, ...]
    all_right: bool

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON data."""
        return asdict(self)


def evaluate(
    reference: Reading | Mask,
    prediction: Reading | Mask,
    *,
    name: str = "scan",
    options: EvaluateOptions = EvaluateOptions(),  # noqa: B008 frozen
) -> ScanScores:
    """Scores one scan's prediction against its reference.

    Args:
        reference: What is true: a mask of VerSe numbers (i, j, k), or a `Reading` (centres alone suffice).
        prediction: What was read, likewise. Dice and Hausdorff distance need a mask on both sides.
        name: Of the scan, for the tables.
        options: Tolerance, penalty and the rule for partial vertebrae.

    Raises:
        GeometryError: The two masks are not on one grid.
        LabelError: Labels are no VerSe vertebra numbers.

    Example:
        >>> truth = Reading({20: (0.0, 0.0, 0.0), 21: (0.0, 0.0, -35.0)})
        >>> evaluate(truth, Reading({20: (0.0, 3.0, 4.0)})).vertebrae[0].distance_mm
        5.0
    """
    truth = reference if isinstance(reference, Reading) else Reading.of_mask(reference)
    found = prediction if isinstance(prediction, Reading) else Reading.of_mask(prediction)
    _check_grids(truth, found)
    dropped = _partial(truth, found) if options.drop_partial else frozenset[int]()
    labels = [label for label in truth.labels if label not in dropped]
    predicted = [label for label in found.labels if label not in dropped]
    centers = (_only(truth.centers_mm, labels), _only(found.centers_mm, predicted))
    pairs = found_whatever_the_name(*centers, options.tolerance_mm)
    outlines = _outlines(truth.mask, found.mask, labels, options)
    vertebrae = _score(labels, predicted, centers, outlines, options)
    return ScanScores(
        name=name,
        vertebrae=vertebrae,
        predicted=_names(predicted),
        invented=_names([label for label in predicted if label not in pairs.values()]),
        left_out=_names(sorted(dropped & {*truth.labels, *found.labels})),
        all_right=labels == predicted and all(vertebra.identified for vertebra in vertebrae),
    )


def _names(labels: list[int]) -> tuple[str, ...]:
    return tuple(level(label).name for label in labels)


def _partial(truth: Reading, found: Reading) -> frozenset[int]:
    return truth.partial | (found.partial - set(truth.labels))


def _check_grids(truth: Reading, found: Reading) -> None:
    if truth.mask is None or found.mask is None or truth.mask.geometry.same_grid(found.mask.geometry, 0.1):
        return
    raise GeometryError(
        f"reference mask {truth.mask.geometry.shape} and predicted mask {found.mask.geometry.shape} "
        "are not on one grid; predict on the reference's own scan, or resample one mask to the other's grid"
    )


def _only(centers: Centers, labels: list[int]) -> dict[int, Point]:
    return {label: centers[label] for label in labels if label in centers}


def _score(
    labels: list[int],
    predicted: list[int],
    centers: tuple[Centers, Centers],
    outlines: dict[int, tuple[float, float]],
    options: EvaluateOptions,
) -> tuple[VertebraScore, ...]:
    verse = verse_hits(*centers, options.tolerance_mm)
    strict = strict_hits(*centers, options.tolerance_mm)
    pairs = found_whatever_the_name(*centers, options.tolerance_mm)
    gaps = distances_mm(*centers)
    return tuple(
        VertebraScore(
            level=level(label).name,
            predicted=label in predicted,
            found_as=level(pairs[label]).name if label in pairs else None,
            verse_hit=label in verse,
            identified=label in strict,
            distance_mm=gaps.get(label),
            dice=outlines.get(label, (None, None))[0],
            hausdorff95_mm=outlines.get(label, (None, None))[1],
        )
        for label in labels
    )


def _outlines(
    truth: Mask | None, found: Mask | None, labels: list[int], options: EvaluateOptions
) -> dict[int, tuple[float, float]]:
    """Dice and 95 % Hausdorff distance of every reference label that has voxels."""
    if truth is None or found is None:
        return {}
    ours = boxes_of(truth)
    theirs = boxes_of(found)
    scores: dict[int, tuple[float, float]] = {}
    for label in labels:
        if label not in ours:
            continue
        if label not in theirs:
            scores[label] = (0.0, options.missed_hausdorff_mm)
            continue
        box = _around(ours[label], theirs[label])
        first, second = truth.array[box] == label, found.array[box] == label
        geometry = truth.geometry.cropped([part.start for part in box], [part.stop for part in box])
        scores[label] = (dice(first, second), hausdorff95_mm(first, second, geometry))
    return scores


def _around(first: Box, second: Box) -> Box:
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True)
    )
