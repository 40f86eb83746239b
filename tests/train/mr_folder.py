"""A folder of made-up labelled MR scans: blocks in noise, bright where the bodies are."""

import numpy as np

from spinelab.io import write_image, write_mask
from spinelab.volume import Geometry, Image, Mask

LABELS = (22, 23, 24)
STARTS = (70, 40, 10)
GRID = Geometry.from_spacing((24, 50, 100), (2.0, 2.0, 1.5))


def make_mask(labels=LABELS):
    array = np.zeros(GRID.shape, np.uint8)
    for label, start in zip(labels, STARTS, strict=False):
        array[4:20, 15:32, start : start + 18] = label
    return Mask(array, GRID)


def write_person(folder, name, *, labelled=True):
    folder.mkdir(exist_ok=True)
    mask = make_mask()
    noise = np.random.default_rng(len(name)).normal(0, 5, GRID.shape)
    write_image(
        Image((100 * (mask.array > 0) + noise).astype(np.float32), GRID), folder / f"{name}_t2.nii.gz"
    )
    if labelled:
        write_mask(mask, folder / f"{name}_bodies.nii.gz")
