"""The line of vertebral centres that leans make, and how far it deviates from its chords."""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

#: A deviation is measured from the line between the centres this many levels above and below.
CHORD_LEVELS = 4


def trace_centers(coronal_deg: Float, distances: Float) -> Float:
    """Returns (n, 2) centres, to the patient's left and up, of vertebrae with these leans.

    Args:
        coronal_deg: (n,) leans to the left from the head down.
        distances: (n - 1,) from each vertebra to the next one.
    """
    middle = np.radians((coronal_deg[1:] + coronal_deg[:-1]) / 2)
    steps = distances[:, None] * np.column_stack([np.sin(middle), np.cos(middle)])
    return np.concatenate([np.zeros((1, 2)), -np.cumsum(steps, axis=0)])


def deviate_from_chord(points: Float) -> Float:
    """Returns (n,) how far centres lie to the left of the line from `CHORD_LEVELS` above to as many below.

    Towards the ends, where there are none, it is zero.

    Args:
        points: (n, 2) centres, to the left and up, from the head down.
    """
    away = np.zeros(len(points))
    inner = np.arange(CHORD_LEVELS, len(points) - CHORD_LEVELS)
    chord = points[inner - CHORD_LEVELS] - points[inner + CHORD_LEVELS]
    offset = points[inner] - points[inner + CHORD_LEVELS]
    away[inner] = (offset[:, 0] * chord[:, 1] - offset[:, 1] * chord[:, 0]) / np.hypot(*chord.T)
    return away
