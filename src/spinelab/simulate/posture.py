"""From leans of the vertebrae to their rigid motions: a chain that bends at the discs."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.spatial.transform import Rotation

from spinelab.simulate.column import SACRUM, Chain, axes_of_tilts
from spinelab.simulate.rigid import Array, RigidMotion

#: Share of a disc's height that is left on the side it closes to; beyond that the disc opens instead.
LEFT_OF_DISC = 0.4
#: Neighbours are never turned against each other by more: posterior elements would run into each other.
MOST_BEND_DEG = 32.0


def pose_column(column: Chain, tilts_deg: Array, shift_mm: Array) -> list[RigidMotion]:
    """Returns the rigid motion of each vertebra that gives it these leans.

    Neighbours turn about the middle of the disc between them. Where the disc would close on one side by more
    than its height allows, the neighbours move apart there, as real columns do by growing wedged. The sacrum
    stays where it is; without one in view the mean displacement is zero.

    Args:
        column: The vertebrae as scanned.
        tilts_deg: (n, 3) leans to be reached, as `SourceColumn.tilts_deg` gives them.
        shift_mm: (n, 3) further displacement of each vertebra against the one below it, LPS mm.
    """
    turns = [axes_of_tilts(*tilts).T @ axes for tilts, axes in zip(tilts_deg, column.axes, strict=True)]
    count = len(column.levels)
    centers = np.zeros((count, 3))
    for i in reversed(range(count - 1)):
        hinge = (column.lower_mm[i] + column.upper_mm[i + 1]) / 2
        below = centers[i + 1] + turns[i + 1] @ (hinge - column.centers_mm[i + 1])
        own = turns[i] @ (column.centers_mm[i] - hinge)
        centers[i] = below + own + _open_disc(column, turns, i) + shift_mm[i]
    offset = column.centers_mm - centers
    centers = centers + (offset[-1] if column.levels[-1] == SACRUM else offset.mean(axis=0))
    return [
        RigidMotion(turn, center - turn @ source)
        for turn, center, source in zip(turns, centers, column.centers_mm, strict=True)
    ]


def _open_disc(column: Chain, turns: Sequence[Array], i: int) -> Array:
    """Returns how far vertebra i must move away from the next one for their rims not to meet."""
    bend = Rotation.from_matrix(turns[i] @ turns[i + 1].T).as_rotvec()
    axes = turns[i + 1] @ column.axes[i + 1].T  # columns: left, posterior, superior after the turn
    reach = np.minimum(column.half_mm[i], column.half_mm[i + 1])
    closing = abs(bend @ axes[:, 1]) * reach[0] + abs(bend @ axes[:, 0]) * reach[1]
    gap = abs(float((column.lower_mm[i] - column.upper_mm[i + 1]) @ column.axes[i + 1][2]))
    return np.asarray(max(0.0, closing - (1 - LEFT_OF_DISC) * gap) * axes[:, 2])


def largest_bend_deg(motions: Sequence[RigidMotion]) -> float:
    """Returns the largest turn of a vertebra against its neighbour in degrees."""
    bends = [Rotation.from_matrix(b.rotation @ a.rotation.T).magnitude() for a, b in pairwise(motions)]
    return float(np.degrees(max(bends, default=0.0)))
