"""Random deformations for training, quick enough to draw one for every sample.

Vertebrae are boxes here, known from their centres alone, so that scans without masks bend too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spinelab.anatomy import ORDER
from spinelab.simulate.column import BODY_SHARES, HALF_BODY, Chain, chain_centers
from spinelab.simulate.curve_shapes import Severity, draw_shape
from spinelab.simulate.polyrigid import STEPS, BlockShape, PolyrigidFlow
from spinelab.simulate.posture import MOST_BEND_DEG, largest_bend_deg, pose_column
from spinelab.simulate.rigid import Array, RigidMotion
from spinelab.simulate.threads import THREADS

#: The column a shape is drawn for: names beyond it (L6, T13) take the angles of their neighbour.
_DRAWN = (
    *(f"C{i}" for i in range(1, 8)), *(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6)), "S",
)  # fmt: skip
#: Half height of a body as a share of its half width.
_HEIGHT_OF_WIDTH = HALF_BODY / BODY_SHARES[0]


@dataclass(frozen=True)
class RandomDeformity:
    """How often and how much training samples are deformed.

    Attributes:
        severities: What the main curve of a drawn column is like, each as often as the next.
        posture: Share of the drawn sagittal shape that is added, at most.
        jitter_deg: Standard deviation of further leans and turns of each vertebra.
    """

    severities: tuple[Severity, ...] = ("none", "mild", "moderate", "severe")
    posture: float = 0.7
    jitter_deg: float = 1.5


def draw_flow(
    levels: Sequence[str], centers_mm: Array, rng: np.random.Generator, options: RandomDeformity
) -> tuple[PolyrigidFlow, Array]:
    """Draws a deformation of a column.

    Args:
        levels: From the head down; at least two.
        centers_mm: (n, 3) body centres, LPS mm.
        rng: Source of randomness.
        options: How much.

    Returns:
        The motion of all space, and the (n, 3) centres after it.
    """
    chain = chain_centers(levels, centers_mm)
    tilts = chain.tilts_deg() + _draw_tilts(chain, rng, options)
    motions = _limit(chain, tilts)
    flow = flow_of_boxes(chain, motions, steps=3, threads=1)
    moved = np.array([m.apply(c) for m, c in zip(motions, chain.centers_mm, strict=True)])
    return flow, moved


def flow_of_boxes(
    chain: Chain, motions: Sequence[RigidMotion], *, steps: int = STEPS, threads: int = THREADS
) -> PolyrigidFlow:
    """Returns the motion of all space about a column of which only centres are known.

    Args:
        chain: As `chain_centers` makes it.
        motions: The rigid motion of each vertebra.
        steps, threads: See `PolyrigidFlow`.
    """
    shapes = [
        BlockShape(center, axes, np.array([*half, _HEIGHT_OF_WIDTH * half[0]]))
        for center, axes, half in zip(chain.centers_mm, chain.axes, chain.half_mm, strict=True)
    ]
    return PolyrigidFlow(shapes, motions, steps=steps, threads=threads)


def _draw_tilts(chain: Chain, rng: np.random.Generator, options: RandomDeformity) -> Array:
    """Draws (n, 3) degrees to add: a coronal curve with its turn, another posture, a little of everything."""
    severity = options.severities[int(rng.integers(len(options.severities)))]
    shape, other = draw_shape(rng, levels=_DRAWN, severity=severity), draw_shape(rng, levels=_DRAWN)
    share = float(rng.uniform(0, options.posture))
    drawn = np.stack([shape.coronal_deg, share * (shape.sagittal_deg - other.sagittal_deg), shape.axial_deg])
    places = np.array([ORDER[name] for name in _DRAWN])
    wanted = np.array([ORDER[name] for name in chain.levels])
    added = np.stack([np.interp(wanted, places, row) for row in drawn], axis=1)
    added += rng.normal(0, options.jitter_deg, added.shape)
    return np.asarray(added - added.mean(axis=0) * [1, 1, 0])


def _limit(chain: Chain, tilts: Array) -> list[RigidMotion]:
    """Returns the motions to these leans, or so far towards them as the discs allow."""
    still = chain.tilts_deg()
    shift = np.zeros_like(tilts)
    for share in (1.0, 0.7, 0.45, 0.2):
        motions = pose_column(chain, still + share * (tilts - still), shift)
        if largest_bend_deg(motions) <= MOST_BEND_DEG:
            return motions
    return [RigidMotion() for _ in chain.levels]
