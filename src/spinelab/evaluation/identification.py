"""Are the centres where they should be, under the right names?"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from spinelab.spine import Point

Centers = Mapping[int, Point]


def _points(centers: Centers, labels: Sequence[int]) -> NDArray[np.float64]:
    return np.array([centers[label] for label in labels], dtype=np.float64).reshape(-1, 3)


def verse_hits(reference: Centers, prediction: Centers, tolerance_mm: float = 20.0) -> frozenset[int]:
    """Returns the labels VerSe's own evaluation counts as identified.

    As coded there: only labels in both readings take part; such a prediction is right when the nearest
    reference centre (among those labels) is its own and no farther than the tolerance. Divided by the
    number of reference labels this is the VerSe identification rate. Invented labels cost nothing in it, and
    a prediction whose true neighbour was not predicted may still count: read it beside the precision.
    Sekuboyina et al., Medical Image Analysis 73 (2021) 102166.
    """
    both = sorted(set(reference) & set(prediction))
    shared = {label: reference[label] for label in both}
    return _own_is_nearest(shared, {label: prediction[label] for label in both}, tolerance_mm)


def strict_hits(reference: Centers, prediction: Centers, tolerance_mm: float = 20.0) -> frozenset[int]:
    """Returns the labels whose predicted centre has its own reference as the nearest of all references."""
    return _own_is_nearest(reference, prediction, tolerance_mm)


def _own_is_nearest(reference: Centers, prediction: Centers, tolerance_mm: float) -> frozenset[int]:
    labels, own = list(reference), [label for label in prediction if label in reference]
    if not own:
        return frozenset()
    gaps = cdist(_points(prediction, own), _points(reference, labels))
    nearest = gaps.argmin(axis=1)
    return frozenset(
        label
        for row, label in enumerate(own)
        if labels[nearest[row]] == label and gaps[row, nearest[row]] <= tolerance_mm
    )


def distances_mm(reference: Centers, prediction: Centers) -> dict[int, float]:
    """Returns the distance between the two centres of every label in both readings."""
    return {
        label: float(np.linalg.norm(np.subtract(reference[label], prediction[label])))
        for label in reference
        if label in prediction
    }


def found_whatever_the_name(
    reference: Centers, prediction: Centers, tolerance_mm: float = 20.0
) -> dict[int, int]:
    """Pairs reference with predicted labels by place alone: one to one, nearest overall, within tolerance."""
    ours, theirs = list(reference), list(prediction)
    if not ours or not theirs:
        return {}
    gaps = cdist(_points(reference, ours), _points(prediction, theirs))
    beyond = tolerance_mm * (len(ours) + len(theirs)) * 10.0
    rows, columns = linear_sum_assignment(np.where(gaps <= tolerance_mm, gaps, beyond))
    return {
        ours[row]: theirs[column]
        for row, column in zip(rows, columns, strict=True)
        if gaps[row, column] <= tolerance_mm
    }
