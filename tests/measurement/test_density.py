import numpy as np
import pytest

from spinelab.measurement.bodies import find_body
from spinelab.measurement.density import contains_metal, detect_contrast, measure_density
from spinelab.measurement.frames import column_axes
from spinelab.measurement.sampling import cut_out, find_boxes
from spinelab.volume import Geometry, Image, Mask
from tests.phantom import TRABECULAR_HU, Collapse, make_phantom


def body_of(phantom, name):
    label, center = phantom.spine[name].label, np.array(phantom.spine[name].center_mm)
    return find_body(cut_out(phantom.mask, label, find_boxes(phantom.mask)[label], center), center, np.eye(3))


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1, 1, 3)])
def test_density_is_that_of_the_core(spacing):
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=spacing, noise_hu=20)
    density = measure_density(phantom.image, body_of(phantom, "L1"), spacing[2])
    assert density.mean_hu == pytest.approx(TRABECULAR_HU, abs=2)
    assert density.median_hu == pytest.approx(TRABECULAR_HU, abs=2)
    assert 5 < density.sd_hu < 21
    assert 2000 < density.volume_mm3 < 12000


def test_a_body_crushed_flat_has_no_density():
    phantom = make_phantom(
        levels=("L1", "L2"), spacing_mm=(1, 1, 1), collapse={"L1": Collapse(0.3, 0.3, 0.3)}
    )
    assert measure_density(phantom.image, body_of(phantom, "L1"), 1.0) is None


def test_an_image_of_elsewhere_has_no_density():
    phantom = make_phantom(levels=("L1", "L2"))
    geometry = phantom.image.geometry.cropped((0, 0, 0), (3, 3, 3))
    corner = Image(phantom.image.array[:3, :3, :3], geometry, "CT")
    assert measure_density(corner, body_of(phantom, "L1"), 1.0) is None


def test_metal_is_found_in_its_vertebra_only():
    phantom = make_phantom(levels=("L1", "L2"), metal=("L2",))
    boxes = find_boxes(phantom.mask)
    assert contains_metal(phantom.image, phantom.mask, 21, boxes[21])
    assert not contains_metal(phantom.image, phantom.mask, 20, boxes[20])


@pytest.mark.parametrize(("aorta_hu", "enhanced"), [(40, False), (90, False), (160, True), (350, True)])
def test_an_enhanced_aorta_is_noticed(aorta_hu, enhanced):
    phantom = make_phantom(levels=("T11", "T12", "L1", "L2"), spacing_mm=(2, 2, 3), aorta_hu=aorta_hu)
    centers = phantom.spine.centers_mm
    assert detect_contrast(phantom.image, phantom.mask, list(centers), column_axes(centers)) is enhanced


def test_one_level_is_not_enough_for_contrast():
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=(2, 2, 3), aorta_hu=300)
    centers = phantom.spine.centers_mm[:1]
    assert not detect_contrast(phantom.image, phantom.mask, list(centers), column_axes(centers))


def test_a_field_of_view_without_vessels_says_nothing():
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=(2, 2, 3), aorta_hu=300)
    far = [np.array([0.0, -400.0, 0.0])] * 3
    assert not detect_contrast(phantom.image, phantom.mask, far, [np.eye(3)] * 3)


@pytest.mark.parametrize(
    ("shape_mm", "spread_hu", "enhanced"),
    [
        ((70, 50), 10, True),  # an aneurysm
        ((12, 40), 10, True),  # a vessel that runs across the slice
        ((3, 50), 10, False),  # a calcified wall
        ((40, 40), 120, False),  # bowel content
    ],
)
def test_blood_is_told_by_its_evenness_not_by_its_outline(shape_mm, spread_hu, enhanced):
    array = np.full((80, 60, 60), 40.0)
    left, front = 40 - shape_mm[0] // 4, 28 - shape_mm[1] // 4
    box = (slice(left, left + max(1, shape_mm[0] // 2)), slice(front, front + shape_mm[1] // 2))
    noise = np.random.default_rng(3).normal(0, spread_hu, array.shape)
    array[box] = 250 + noise[box]
    geometry = Geometry.from_spacing(array.shape, (2, 2, 2))
    image = Image(array.astype(np.int16), geometry, "CT")
    nothing = Mask(np.zeros(array.shape, np.uint8), geometry)
    centers = [np.array([80.0, 100.0, z]) for z in (30.0, 60.0, 90.0)]
    assert detect_contrast(image, nothing, centers, [np.eye(3)] * 3) is enhanced
