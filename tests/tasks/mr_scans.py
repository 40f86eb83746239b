"""A made-up MR and a network that answers with the bodies it was given."""

import numpy as np

from spinelab.spine import Point
from spinelab.volume import Geometry, Image

SHAPE = (16, 60, 100)
#: Steps between body centres near those of a grown column (L1 to S1), mm.
HEIGHTS = (178.0, 142.0, 106.0, 70.0, 36.0, 5.0)
LABELS = (20, 21, 22, 23, 24, 26)
HALF = np.array([(0, -16, 12), (0, 16, 12), (0, -16, -12), (0, 16, -12)], float)


def make_scan(shape=SHAPE, spacing=(2.0, 2.0, 2.0)):
    array = np.random.default_rng(1).normal(100, 20, shape).astype(np.float32)
    return Image(array, Geometry.from_spacing(shape, spacing))


def centers(x=16.0, y=60.0) -> list[Point]:
    return [(x, y, z) for z in HEIGHTS]


class Answers:
    """Stands for `spinelab.models.Network`: a heat of 0.9 at each centre, true corners, levels as told."""

    def __init__(self, places, labels, *, height=0.9, spread_mm=1.0, first=0):
        self.places, self.labels = np.array(places, float), labels
        self.height, self.spread_mm, self.first = height, spread_mm, first

    def __call__(self, *, scan):
        i, j, k = scan.shape[2], scan.shape[3] // 2, scan.shape[4] // 2
        axes = (4.0 * (np.arange(i) - self.first), 4.0 * np.arange(j) + 1, 4.0 * np.arange(k) + 1)
        cells = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
        heat = np.zeros((i, j, k))
        offsets = np.zeros((15, i, j, k))
        levels = np.full((26, i, j, k), 1 / 26)
        for place, label in zip(self.places, self.labels, strict=True):
            square = ((cells - place) ** 2).sum(-1)
            heat = np.maximum(heat, self.height * np.exp(-square / 50))
            near = square < 20**2
            told = place + np.vstack([np.zeros(3), HALF])
            offsets[:, near] = (told[:, :, None] - cells[near].T[None]).reshape(15, -1)
            levels[:, near] = 0.004
            levels[label - 1, near] = 0.9
        spread = np.full((5, i, j, k), self.spread_mm)
        return [a.astype(np.float32)[None] for a in (heat[None], offsets, spread, levels)]
