"""A phantom column to draw collapse from."""

import numpy as np

from spinelab.measurement.named_mask import spine_of_mask
from spinelab.train import fracture_draws
from spinelab.train.collapsed import open_scan
from spinelab.train.fracture_draws import slice_scan
from spinelab.train.prepare import Prepared
from tests.phantom import make_phantom

LEVELS = ("T12", "L1", "L2", "L3")


def open_phantom(name="phantom", *, seed=0):
    """A scan of four bodies on a 2 mm grid, opened."""
    return open_scan(prepare_phantom(name, seed=seed))


def prepare_phantom(name="phantom", *, seed=0):
    """The same as a prepared case."""
    made = make_phantom(levels=LEVELS, spacing_mm=(2, 2, 2), seed=seed)
    nothing = np.zeros((0, 3))
    return Prepared(
        name=name,
        image=np.round(made.image.array).astype(np.int16),
        painted=False,
        vertebrae=made.mask.array,
        tissue=np.zeros(made.mask.array.shape, np.uint8),
        spacing_mm=np.array(made.mask.spacing_mm),
        centers=nothing,
        labels=np.zeros(0, np.int64),
        named=True,
    )


def outline_as_drawn(monkeypatch):
    """Gives the outlines of the simulation in place of those of the network."""
    made = {}

    def slice_and_keep(*given):
        made["image"], made["mask"] = slice_scan(*given)
        return made["image"], made["mask"]

    def outline(image, centers):
        assert image is made["image"]
        return made["mask"], spine_of_mask(made["mask"]), {}

    monkeypatch.setattr(fracture_draws, "slice_scan", slice_and_keep)
    monkeypatch.setattr(fracture_draws, "outline_drawn", outline)
