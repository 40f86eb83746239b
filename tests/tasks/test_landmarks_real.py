"""The shipped landmark weights on real scans whose labels they were not given."""

import os
from pathlib import Path

import numpy as np
import pytest

from spinelab.errors import InputError
from spinelab.io import read
from spinelab.io.picture import read_picture
from spinelab.tasks.landmarks import LocateOptions, locate
from spinelab.volume import Image

DATA = Path(os.environ.get("SPINELAB_DATA", Path(__file__).parents[3] / "shared" / "data"))
SCAN = DATA / "mr" / "lumbar_dixon_15_water.nii.gz"
SLICE = DATA / "mr_spider" / "images" / "105_t1.jpg"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not SCAN.exists() or not SLICE.exists(), reason="the real scans are not here"),
]
OPTIONS = LocateOptions(threads=1)


def test_a_dixon_stack_is_named_from_the_sacrum():
    spine = locate(read(SCAN), OPTIONS)
    assert spine.levels[-5:] == ("L1", "L2", "L3", "L4", "L5")
    assert spine.numbering.anchors == ("sacrum",)
    assert len(spine.discs) >= 4


def test_a_t1_slice_is_named_though_no_t1_was_trained_on():
    spine = locate(read_picture(SLICE, 0.625), OPTIONS)
    assert spine.levels[-5:] == ("L1", "L2", "L3", "L4", "L5")


def test_the_stack_turned_over_is_refused():
    image = read(SCAN)
    with pytest.raises(InputError, match="this scan looks upside down"):
        locate(Image(np.ascontiguousarray(image.array[:, ::-1, ::-1]), image.geometry), OPTIONS)
