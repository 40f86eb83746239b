"""Pictures, outlines, points and views of a synthetic spine whose geometry is known."""

import gzip
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Picture

from spinelab.io.nifti import read_nifti
from spinelab.server.pictures import (
    BACK_MM,
    FRONT_MM,
    PIXEL_MM,
    TOP_MM,
    draw_picture,
    find_places,
    place_points,
    trace_outlines,
)
from spinelab.server.volumes import COARSE_MM, lay_view, pack_mask, pack_scan
from spinelab.spine import Spine
from tests.phantom import make_phantom
from tests.server.cases import LEVELS, phantom


@pytest.fixture(scope="module")
def made():
    return phantom()


def test_the_picture_shows_the_body_where_its_heights_say(made):
    scan, spine = made
    place = find_places(spine)[2]
    picture = np.asarray(Picture.open(io.BytesIO(draw_picture(scan.image, place))))
    assert picture.shape == (400, 480)
    body = scan.truth["L1"]
    column = picture[:, round(-FRONT_MM / PIXEL_MM)]
    row = round((TOP_MM + 0.0) / PIXEL_MM)
    half = body.height_mm / 2 / PIXEL_MM
    bright = column > column[row - round(half) - 12 : row - round(half) - 4].mean() + 15
    assert bright[row - round(half) + 8 : row + round(half) - 8].all()
    assert not bright[row - round(half) - 12 : row - round(half) - 4].any()


def test_beyond_the_scan_the_picture_is_black(made):
    scan, spine = made
    place = find_places(spine)[0]
    far = replace(place, center_mm=place.center_mm + np.array([0, 0, 500]))
    assert not np.asarray(Picture.open(io.BytesIO(draw_picture(scan.image, far)))).any()


def test_outlines_run_where_the_body_ends(made):
    scan, spine = made
    place = find_places(spine)[2]
    outlines = trace_outlines(scan.mask, place)
    assert set(outlines) >= {20}
    line = np.array(max(outlines[20], key=lambda line: -np.abs(np.mean(line, axis=0)[0])))
    middle = line[np.abs(line[:, 0]) < 3]
    height = scan.truth["L1"].height_mm
    assert middle[:, 1].max() == pytest.approx(height / 2, abs=1.0)
    assert middle[:, 1].min() == pytest.approx(-height / 2, abs=1.0)


def test_points_give_the_heights_of_the_collapsed_body(made):
    scan, spine = made
    points = place_points(scan.mask, spine)[1]
    heights = [points[n][1] - points[n + 3][1] for n in range(3)]
    truth = scan.truth["T12"].heights_mm
    assert heights == pytest.approx([truth.anterior, truth.middle, truth.posterior], abs=1.6)
    assert points[0][0] < points[1][0] < points[2][0]


def test_a_vertebra_without_a_mask_has_no_points(made):
    scan, spine = made
    missing = replace(scan.mask, array=np.where(scan.mask.array == 20, 0, scan.mask.array))
    assert [points is None for points in place_points(missing, spine)] == [False, False, True, False]


def test_the_picture_follows_a_scoliotic_column():
    scan = make_phantom(
        levels=LEVELS[:3], spacing_mm=(2.5, 2.5, 2.5), coronal_deg={"T11": -20.0, "T12": 0.0, "L1": 20.0}
    )
    place = find_places(scan.spine)[1]
    heights = place.knots_mm[:, 0]
    assert list(heights) == sorted(heights)
    above = place.points(np.array([0.0]), np.array([heights[-1]]))[0, 0]
    gap = np.abs(above - scan.truth["T11"].center_mm)
    assert gap[0] < 0.5
    assert place.to_local(above)[2] == pytest.approx(heights[-1])


def test_the_view_is_upright_around_the_column_and_within_the_scan(made):
    scan, spine = made
    view = lay_view(spine, scan.image.geometry)
    assert view.codes == "LPS"
    assert view.spacing_mm == (1.0, 1.0, 1.0)
    assert view.contains(spine.centers_mm).all()
    far = scan.image.geometry.index_to_world(np.array(scan.image.geometry.shape) - 0.5)
    assert (view.index_to_world(np.array(view.shape) - 1) <= far + 1.0).all()
    coarse = lay_view(spine, scan.image.geometry, COARSE_MM)
    assert np.prod(coarse.shape) < np.prod(view.shape) / 6
    whole = lay_view(Spine(()), scan.image.geometry)
    assert np.prod(whole.shape) >= np.prod(view.shape)


def test_views_are_read_back_as_the_scan_and_the_mask(made, tmp_path):
    scan, spine = made
    view = lay_view(spine, scan.image.geometry)
    for name, data in (("scan", pack_scan(scan.image, view)), ("mask", pack_mask(scan.mask, view))):
        (tmp_path / f"{name}.nii").write_bytes(gzip.decompress(data))
    array, geometry, _ = read_nifti(tmp_path / "scan.nii")
    assert geometry.reoriented("LPS").same_grid(view)
    labels, _, _ = read_nifti(tmp_path / "mask.nii")
    center = np.round(geometry.world_to_index(spine["L1"].center_mm)).astype(int)
    assert labels[tuple(center)] == 20
    assert array[tuple(center)] == pytest.approx(180, abs=40)


def test_a_long_column_gets_larger_voxels(made):
    scan, spine = made
    stretched = replace(spine.vertebrae[0], center_mm=(0.0, 0.0, 1500.0))
    geometry = replace(scan.image.geometry, shape=(600, 600, 1200))
    view = lay_view(Spine((stretched, *spine.vertebrae[1:])), geometry)
    assert view.spacing_mm[0] > 1.0
    assert np.prod(view.shape) < 6_000_000


def test_the_window_is_as_wide_as_the_page_expects():
    assert round((BACK_MM - FRONT_MM) / PIXEL_MM) == 480
