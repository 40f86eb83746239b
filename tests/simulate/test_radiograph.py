from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from spinelab.errors import InputError, ModalityError, OutputError
from spinelab.measurement import find_column
from spinelab.simulate.radiograph import CORNERS, Film, find_corners, project
from spinelab.volume import Geometry, Image
from tests.phantom import make_phantom


def block(codes="LPS"):
    """Water, 20 x 30 x 40 mm, one bright voxel at index 3, 5, 30 (LPS mm, spacing 1, origin 0)."""
    array = np.zeros((20, 30, 40), np.int16)
    array[3, 5, 30] = 3000
    return Image(array, Geometry.from_spacing(array.shape, (1, 1, 1)), "CT").reoriented(codes)


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR"])
@pytest.mark.parametrize(("view", "column", "width"), [("ap", 3, 20), ("lateral", 5, 30)])
def test_right_or_front_is_on_the_left_and_the_head_on_top(view, column, width, codes):
    film = project(block(codes), view)
    assert film.array.shape == (40, width)
    assert np.unravel_index(film.array.argmax(), film.array.shape) == (9, column)
    assert film.place(np.array([3.0, 5, 30])).tolist() == [column, 9]


def test_an_oblique_grid_gives_the_same_film():
    straight = make_phantom(levels=("L1", "L2"), spacing_mm=(2, 2, 2), noise_hu=0).image
    turned = make_phantom(levels=("L1",), spacing_mm=(2, 2, 2), oblique_deg=(6, 8, 5)).image.geometry
    affine, shape = np.array(turned.affine), (90, 110, 90)
    middle = straight.geometry.index_to_world((np.array(straight.array.shape) - 1) / 2)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    oblique = straight.resampled(Geometry(shape, affine))
    films = [project(image, "ap", pixel_mm=2.0) for image in (straight, oblique)]
    x, z = np.linspace(-30, 30, 31), np.linspace(-25, 25, 26)
    points = np.stack(np.meshgrid(x, [0.0], z, indexing="ij"), axis=-1).reshape(-1, 3)
    values = []
    for film in films:
        place = film.place(points)[:, ::-1].T
        values.append(ndimage.map_coordinates(film.array.astype(float), place, order=1))
    assert np.corrcoef(values)[0, 1] > 0.9


def test_weakening_is_summed_along_the_rays():
    array = np.full((6, 10, 8), -1000, np.int16)
    array[2:4, :5] = 0  # 5 mm of water
    array[4:, :] = 1000  # 10 mm of twice that: four times the weakening
    from spinelab.simulate.radiograph import _lay_film, _sum_aligned, _sum_oblique

    image = Image(array, Geometry.from_spacing(array.shape, (1, 1, 1)), "CT")
    grid = _lay_film(image.geometry, "ap", 1.0)
    for total in (_sum_aligned, _sum_oblique):
        summed = total(image, grid, "ap")
        assert summed[:, 3] == pytest.approx(0.0193 * np.array([0, 0, 5, 5, 20, 20]), rel=1e-4)


@pytest.mark.parametrize("view", ["ap", "lateral"])
def test_corners_lie_where_the_phantom_has_them(view):
    phantom = make_phantom(levels=("T12", "L1", "L2"), spacing_mm=(1, 1, 1))
    column = find_column(phantom.mask, phantom.spine)
    film = project(phantom.image, view, pixel_mm=0.5)
    described = film.describe(find_corners(column.bodies, view))
    assert list(described["corners"]) == ["T12", "L1", "L2"]
    for name, truth in phantom.truth.items():
        half = (truth.width_mm if view == "ap" else truth.depth_mm) / 2
        high = truth.height_mm / 2
        middle = film.place(truth.center_mm)
        corners = described["corners"][name]
        for corner, across, up in zip(CORNERS[view], (-1, 1, -1, 1), (1, 1, -1, -1), strict=True):
            expected = middle + np.array([across * half, -up * high]) / 0.5
            assert corners[corner] == pytest.approx(expected.tolist(), abs=2.5)  # pixels of 0.5 mm
    assert (described["columns"], described["rows"]) == film.array.shape[::-1]


def test_corners_of_a_leaning_body_lean_with_it():
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=(1.5, 1.5, 1.5), coronal_deg={"L1": 12, "L2": 12})
    corners = find_corners(find_column(phantom.mask, phantom.spine).bodies, "ap")["L1"]
    for left, right in ((0, 1), (2, 3)):
        across = corners[right] - corners[left]
        assert np.degrees(np.arctan2(-across[2], across[0])) == pytest.approx(12, abs=2)


def test_a_body_with_an_endplate_out_of_view_has_no_corners():
    phantom = make_phantom(levels=("L1", "L2"), spacing_mm=(2, 2, 2))
    bodies = find_column(phantom.mask, phantom.spine).bodies
    bodies["L1"] = replace(bodies["L1"], superior=None)
    assert list(find_corners(bodies, "ap")) == ["L2"]


@pytest.mark.parametrize(("bits", "kind"), [(16, sitk.sitkUInt16), (8, sitk.sitkUInt8)])
def test_films_are_written_with_their_pixel_size(tmp_path, bits, kind):
    film = project(block(), "ap", pixel_mm=0.8)
    film.write(tmp_path / "film.png", bits=bits)
    read = sitk.ReadImage(str(tmp_path / "film.png"))
    assert read.GetPixelID() == kind
    assert read.GetSpacing() == pytest.approx((0.8, 0.8), abs=1e-3)
    expected = film.array if bits == 16 else film.array >> 8
    assert (sitk.GetArrayFromImage(read) == expected).all()


def test_air_alone_is_black():
    air = replace(block(), array=np.full((20, 30, 40), -1024, np.int16))
    assert project(air, "ap").array.max() == 0


@pytest.mark.parametrize("modality", ["MR", "unknown"])
def test_only_a_ct_is_projected(modality):
    with pytest.raises(ModalityError, match=f"found a scan of modality {modality}; .* give a CT"):
        project(replace(block(), modality=modality), "ap")


def test_odd_views_and_pixels_are_refused():
    with pytest.raises(InputError, match="found view 'oblique'; choose ap or lateral"):
        project(block(), "oblique")
    with pytest.raises(InputError, match="found pixels of 0 mm"):
        project(block(), "ap", pixel_mm=0)


def test_what_cannot_be_written_is_said(tmp_path):
    film = Film(np.zeros((4, 4), np.uint16), "ap", 1.0, (0.0, 0.0))
    with pytest.raises(OutputError, match=r"film.jpg with 16 bits; films are .png with 8 or 16 bits"):
        film.write(tmp_path / "film.jpg")
    with pytest.raises(OutputError, match="with 12 bits"):
        film.write(tmp_path / "film.png", bits=12)
    with pytest.raises(OutputError, match="choose a folder that exists"):
        film.write(tmp_path / "nowhere" / "film.png")
