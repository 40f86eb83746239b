"""How far readers agree beyond chance: Cohen's kappa for two, Fleiss' for any number."""

from collections.abc import Hashable, Sequence

import numpy as np


def cohen_kappa(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    *,
    order: Sequence[Hashable] | None = None,
) -> float | None:
    """Returns Cohen's kappa of two readers; with `order` the quadratically weighted one.

    Cohen, Educ Psychol Meas 1960;20:37; weights: Cohen, Psychol Bull 1968;70:213.

    Args:
        first: The first reader's categories.
        second: The second reader's, of the same things.
        order: All categories from the lowest up; their places are the distances that are squared.

    Returns:
        1 for full agreement, 0 for that of chance; None without a rating, or where both use one and the
        same category throughout (chance then explains everything).

    Raises:
        ValueError: The readers rated different numbers of things.

    Example:
        >>> round(cohen_kappa([1, 1, 0, 0], [1, 0, 0, 0]), 2)
        0.5
    """
    if len(first) != len(second):
        raise ValueError(f"both readers rate the same things, found {len(first)} and {len(second)} ratings")
    if not first:
        return None
    categories = list(order) if order is not None else sorted({*first, *second}, key=repr)
    place = {category: index for index, category in enumerate(categories)}
    seen = np.zeros((len(categories), len(categories)))
    for one, other in zip(first, second, strict=True):
        seen[place[one], place[other]] += 1
    chance = np.outer(seen.sum(axis=1), seen.sum(axis=0)) / len(first)
    gap = np.subtract.outer(np.arange(len(categories)), np.arange(len(categories)))
    weight = gap.astype(float) ** 2 if order is not None else (gap != 0).astype(float)
    expected = float((weight * chance).sum())
    return None if expected == 0 else 1 - float((weight * seen).sum()) / expected


def fleiss_kappa(ratings: Sequence[Sequence[Hashable]]) -> float | None:
    """Returns Fleiss' kappa (Psychol Bull 1971;76:378) of things each rated equally often.

    Args:
        ratings: For each thing its ratings, whoever gave them.

    Returns:
        1 for full agreement, 0 for that of chance; None without ratings or with one category only.

    Raises:
        ValueError: Fewer than two ratings of a thing, or not equally many of each.

    Example:
        >>> round(fleiss_kappa([[1, 1], [1, 0], [0, 0], [0, 0]]), 3)
        0.467
    """
    if not ratings:
        return None
    counts = {len(given) for given in ratings}
    if len(counts) != 1 or min(counts) < 2:
        raise ValueError(f"each thing needs equally many ratings, at least 2; found {sorted(counts)}")
    raters = counts.pop()
    categories = sorted({rating for given in ratings for rating in given}, key=repr)
    table = np.array([[list(given).count(c) for c in categories] for given in ratings], dtype=float)
    share = table.sum(axis=0) / table.sum()
    agreed = float((((table**2).sum(axis=1) - raters) / (raters * (raters - 1))).mean())
    chance = float((share**2).sum())
    return None if chance == 1 else (agreed - chance) / (1 - chance)
