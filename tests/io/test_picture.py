"""Pictures of one slice: pixels become millimetres only when somebody says how large they are."""

import numpy as np
import pytest
import SimpleITK

from spinelab.errors import GeometryError, UnreadableError
from spinelab.io.picture import is_picture, read_picture


def save(path, pixels):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels, isVector=pixels.ndim == 3), str(path))
    return path


def test_the_first_row_is_the_highest_and_columns_run_to_the_back(tmp_path):
    pixels = np.zeros((4, 6), np.uint8)
    pixels[0, 5] = 200
    image = read_picture(save(tmp_path / "slice.png", pixels), 0.5)
    assert image.array.shape == (1, 6, 4)
    assert image.array[0, 5, 3] == 200
    assert image.geometry.index_to_world((0, 5, 3)) == pytest.approx([0, 2.5, 1.5])
    assert image.geometry.codes == "LPS"
    assert image.modality == "MR"


def test_colours_become_grey(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[..., 0] = 90
    assert read_picture(save(tmp_path / "slice.png", pixels), 1.0).array.max() == 30


def test_the_ending_tells_a_picture(tmp_path):
    assert is_picture(tmp_path / "a.JPG")
    assert not is_picture(tmp_path / "a.nii.gz")


def test_no_spacing_is_refused(tmp_path):
    path = save(tmp_path / "slice.png", np.zeros((4, 6), np.uint8))
    with pytest.raises(GeometryError, match=r"does not say how large its pixels are; give --spacing"):
        read_picture(path, None)


@pytest.mark.parametrize("spacing", [0.0, 25.4])
def test_a_spacing_of_no_scan_is_refused(tmp_path, spacing):
    with pytest.raises(GeometryError, match=f"found pixels of {spacing:g} mm, wanted 0.05 to 3"):
        read_picture(save(tmp_path / "slice.png", np.zeros((4, 6), np.uint8)), spacing)


def test_what_is_missing_or_damaged_is_refused(tmp_path):
    with pytest.raises(UnreadableError, match="does not exist"):
        read_picture(tmp_path / "none.png", 1.0)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(UnreadableError, match="is damaged or no picture"):
        read_picture(tmp_path / "bad.png", 1.0)
