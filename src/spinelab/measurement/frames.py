"""Axes of vertebrae: from the column's tangent and the mirror symmetry of each."""

import numpy as np
from scipy import ndimage

from spinelab.measurement.sampling import Array, Cutout, LocalGrid, Samples, sample
from spinelab.spine import Frame


def frame_of(axes: Array) -> Frame:
    """Returns (3, 3) rows left, posterior, superior as a `Frame`."""
    left, posterior, superior = axes
    return Frame(
        (float(left[0]), float(left[1]), float(left[2])),
        (float(posterior[0]), float(posterior[1]), float(posterior[2])),
        (float(superior[0]), float(superior[1]), float(superior[2])),
    )


def column_axes(centers_mm: Array) -> list[Array]:
    """Returns for each body centre (n, 3) from the head down first axes: (3, 3) rows in LPS.

    Superior follows the tangent through the neighbours; posterior is the patient's.
    """
    axes = []
    for position in range(len(centers_mm)):
        above, below = max(position - 1, 0), min(position + 1, len(centers_mm) - 1)
        tangent = centers_mm[above] - centers_mm[below]
        axes.append(build_axes(tangent))
    return axes


def build_axes(superior: Array, posterior: Array | None = None) -> Array:
    """Returns orthonormal rows left, posterior, superior from a superior and a rough posterior direction.

    Directions of no length, or tilted more than 80 degrees from the head, become the patient's own.
    """
    length = float(np.linalg.norm(superior))
    up = superior / length if length > 0 and superior[2] > 0.17 * length else np.array([0.0, 0.0, 1.0])
    back = np.array([0.0, 1.0, 0.0]) if posterior is None else posterior
    left = np.cross(back, up)
    left = left / np.linalg.norm(left)
    return np.stack([left, np.cross(up, left), up])


def turn_to_symmetry(cutout: Cutout, center_mm: Array, axes: Array) -> tuple[Array, Array]:
    """Turns axes about the superior one until the vertebra mirrors itself best left to right.

    Returns:
        The turned axes (3, 3) and the centre (3,) moved to the mirror plane, LPS mm.
    """
    step = 1.5
    lines = [np.arange(a, b, step) for a, b in ((-51.0, 52.0), (-33.0, 63.0), (-30.0, 31.0))]
    view = sample(cutout, LocalGrid(center_mm, axes, *lines)).sum(axis=2)
    pivot = np.array([(len(lines[0]) - 1) / 2, -lines[1][0] / step])
    total = float((view**2).sum())
    if total == 0:
        return axes, center_mm
    best, angle, shift = -np.inf, 0.0, 0.0
    for degrees in range(-24, 25, 3):
        turn = np.radians(degrees)
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        turned = ndimage.affine_transform(view, matrix, offset=pivot - matrix @ pivot, order=1)
        score, move = _mirror(turned)
        score = score / total - 1e-4 * degrees**2
        if score > best:
            best, angle, shift = score, turn, move * step
    left = np.cos(angle) * axes[0] + np.sin(angle) * axes[1]
    posterior = -np.sin(angle) * axes[0] + np.cos(angle) * axes[1]
    return np.stack([left, posterior, axes[2]]), center_mm + shift * left


def _mirror(view: Samples) -> tuple[float, float]:
    """Returns the best correlation of an (x, y) picture with its mirror image, and the shift of x for it."""
    flipped = view[::-1]
    scores = []
    moves = range(-8, 9)
    for move in moves:
        a, b = max(move, 0), min(move, 0)
        scores.append(float((view[a : len(view) + b] * flipped[-b : len(view) - a]).sum()))
    found = int(np.argmax(scores))
    return scores[found], moves[found] / 2
