"""Scans of tests on disk, and what stands for the networks where a test is not about them."""

from pathlib import Path

import nibabel
import numpy as np

from spinelab.spine import Numbering
from spinelab.tasks.segment import Segmentation, SegmentOptions
from spinelab.volume import Image
from tests.phantom import Phantom

SURE = Numbering(("last rib",), 0.9, ("L1", "L2", "L3"), 0.06, True, (), "Counted from the last rib.")


def save_scan(image: Image, path: Path) -> Path:
    """Writes an image as NIfTI (whose world is RAS)."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.geometry.affine
    nibabel.save(nibabel.Nifti1Image(image.array, affine), path)
    return path


def truth_for(phantom: Phantom):
    """Returns a `segment` that knows the truth about a phantom."""

    def segment(image: Image, options: SegmentOptions, *, progress=None) -> Segmentation:
        assert image.geometry.same_grid(phantom.mask.geometry, 0.01)
        if progress is not None:
            progress("outline", 0.5)
        spine = type(phantom.spine)(phantom.spine.vertebrae, SURE)
        return Segmentation(phantom.mask, spine, {"locate": 0.01, "outline": 0.02})

    return segment
