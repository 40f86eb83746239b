"""An MR before the network: units, coil and contrast are gone, places stay."""

import numpy as np
import pytest

from spinelab.tasks.mr_volume import normalise_scan
from spinelab.volume import Image
from tests.tasks.mr_scans import make_scan


def test_gain_and_offset_of_the_scanner_do_not_matter():
    image = make_scan()
    other = Image(image.array * 7 + 300, image.geometry)
    assert normalise_scan(other).array == pytest.approx(normalise_scan(image).array, abs=1e-2)


def test_a_coil_that_fades_hardly_matters():
    image = make_scan()
    strong = Image((image.array - image.array.min()).astype(np.float32), image.geometry)
    fading = np.linspace(1, 2.5, image.array.shape[1])[None, :, None]
    plain = normalise_scan(strong).array
    faded = normalise_scan(Image(strong.array * fading, image.geometry)).array
    inner = (slice(None), slice(15, -15))
    assert np.corrcoef(plain[inner].ravel(), faded[inner].ravel())[0, 1] > 0.97
    assert faded[:, :20].std() == pytest.approx(faded[:, -20:].std(), rel=0.3)


def test_the_grid_is_upright_and_cubic_whatever_came_in():
    image = make_scan((10, 60, 60), (4.0, 1.0, 1.0))
    volume = normalise_scan(image.reoriented("PIR"))
    assert volume.geometry.codes == "LPS"
    assert volume.geometry.spacing_mm == pytest.approx((2, 2, 2))
    assert volume.array.shape == (20, 30, 30)
    assert volume.seen.all()
    assert np.abs(volume.array).max() <= 3
