"""Collapse of a real vertebra, measured on its ground-truth mask after the change."""

import os
from pathlib import Path

import pytest

from spinelab.io import read_mask
from spinelab.measurement import find_column, measure
from spinelab.measurement.named_mask import spine_of_mask
from spinelab.simulate.changes import find_site
from spinelab.simulate.collapse import Collapse
from tests.simulate.places import warp

DATA = Path(os.environ.get("SPINELAB_DATA", Path(__file__).parents[3] / "shared" / "data"))
CT = DATA / "ct"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not CT.is_dir(), reason=f"no real scans in {CT}; set SPINELAB_DATA"),
]


@pytest.mark.parametrize(
    ("shape", "part"),
    [("wedge", "anterior_percent"), ("biconcave", "middle_percent"), ("crush", "crush_percent")],
)
def test_the_loss_asked_for_is_measured(shape, part):
    mask = read_mask(CT / "verse_005_vert.nii.gz")
    spine = spine_of_mask(mask)
    site = find_site(find_column(mask, spine), "L3")
    for loss in (40, 55):
        changed = measure(None, warp(mask, site, Collapse("L3", shape, loss).fit(site)), spine)
        assert getattr(changed["L3"].height_loss, part) == pytest.approx(loss, abs=2.5)
