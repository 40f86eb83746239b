import itertools

import numpy as np
import pytest

from spinelab.report.reformat import ColumnLine, View, follow_column, view_column
from spinelab.spine import Frame, Spine, Vertebra
from spinelab.volume import Geometry, Image, Mask
from tests.phantom import Phantom, make_phantom

LEVELS = ("T11", "T12", "L1", "L2", "L3")
ALL_CODES = [
    "".join(order) for sides in itertools.product("LR", "PA", "SI") for order in itertools.permutations(sides)
]


@pytest.fixture(scope="module")
def scoliosis() -> Phantom:
    return make_phantom(levels=LEVELS, spacing_mm=(2.0, 2.0, 2.0), coronal_deg={"T11": -40.0, "L3": 40.0})


def _label_at(view: View, across_mm: float, height_mm: float) -> int | None:
    """The label whose outline holds a point of a picture."""
    for outline in view.outlines:
        column = int(np.argmin(np.abs(outline.across_mm - across_mm)))
        row = int(np.argmin(np.abs(outline.heights_mm - height_mm)))
        near = abs(outline.across_mm[column] - across_mm) < 2 and abs(outline.heights_mm[row] - height_mm) < 2
        if near and outline.inside[row, column] > 0.5:
            return outline.label
    return None


def _views(phantom: Phantom) -> tuple[View, View]:
    return view_column(phantom.image, phantom.mask, phantom.spine, height_px=150, width_px=200)


def test_both_pictures_hold_every_body_of_a_curved_column(scoliosis: Phantom) -> None:
    sagittal, coronal = _views(scoliosis)
    sideways = np.ptp(scoliosis.spine.centers_mm[:, 0])
    assert sideways > 20  # so that no single sagittal plane cuts all bodies near their middle
    for vertebra in scoliosis.spine.vertebrae:
        x, y, z = vertebra.center_mm
        assert _label_at(sagittal, y, z) == vertebra.label
        assert _label_at(coronal, x, z) == vertebra.label


def test_the_sagittal_picture_runs_through_the_spinous_processes_of_turned_bodies() -> None:
    turned = make_phantom(levels=("L1", "L2", "L3"), spacing_mm=(2, 2, 2), axial_deg={"L1": 30.0, "L3": 30.0})
    body = turned.truth["L2"]
    back = body.depth_mm / 2 + 30
    framed = Spine(
        tuple(
            Vertebra(v.level, v.center_mm, 0.9, frame=turned.truth[v.level].frame)
            for v in turned.spine.vertebrae
        )
    )
    height = float(body.center_mm[2]) - 10
    seen = []
    for spine in (framed, turned.spine):
        view, _ = view_column(turned.image, turned.mask, spine, height_px=150, width_px=200)
        seen.append(_label_at(view, float(body.center_mm[1]) + back, height))
    assert seen == [21, None]


@pytest.mark.parametrize("codes", ALL_CODES)
def test_the_picture_is_the_same_for_every_axis_order(codes: str) -> None:
    rng = np.random.default_rng(0)
    geometry = Geometry.from_spacing((14, 12, 10), (4.0, 5.0, 6.0), (-20.0, -30.0, 5.0))
    image = Image(rng.normal(size=geometry.shape), geometry, "CT")
    mask = Mask((image.array > 0.5).astype(np.uint8) * 20, geometry)
    spine = Spine((Vertebra("L1", (5.0, 0.0, 30.0), 1.0),))
    straight = view_column(image, mask, spine, height_px=40, width_px=60)
    turned = view_column(image.reoriented(codes), mask.reoriented(codes), spine, height_px=40, width_px=60)
    for a, b in zip(straight, turned, strict=True):
        np.testing.assert_allclose(a.pixels, b.pixels, atol=1e-9)
        np.testing.assert_allclose(a.outlines[0].inside, b.outlines[0].inside, atol=1e-6)


def _bright(point_mm: tuple[float, float, float]) -> tuple[View, View]:
    """Pictures of a 100 mm cube about the origin that is 1000 within 6 mm of a point, else 0."""
    geometry = Geometry.from_spacing((50, 50, 50), (2.0, 2.0, 2.0), (-49.0, -49.0, -49.0))
    index = np.stack(np.meshgrid(*[np.arange(50)] * 3, indexing="ij"), axis=-1)
    far = np.linalg.norm(geometry.index_to_world(index) - np.array(point_mm), axis=-1)
    image = Image(np.where(far < 6, 1000.0, 0.0), geometry, "CT")
    spine = Spine((Vertebra("L1", (0.0, 0.0, 0.0), 1.0),))
    mask = Mask(np.zeros(geometry.shape, np.uint8), geometry)
    return view_column(image, mask, spine, height_px=60, width_px=120)


def _brightest(view: View) -> tuple[float, float]:
    """Row and column of the bright spot, as fractions of the part of the picture in the field of view."""
    rows, columns = np.nonzero(np.isfinite(view.pixels))
    spot = np.argwhere(np.nan_to_num(view.pixels) > 900).mean(axis=0)
    return (
        float((spot[0] - rows.min()) / np.ptp(rows)),
        float((spot[1] - columns.min()) / np.ptp(columns)),
    )


def test_the_head_is_at_the_top_of_both_pictures() -> None:
    for view in _bright((0.0, 0.0, 22.0)):
        row, column = _brightest(view)
        assert row < 0.3
        assert column == pytest.approx(0.5, abs=0.06)


def test_the_front_is_on_the_left_of_the_sagittal_picture() -> None:
    _, column = _brightest(_bright((0.0, -30.0, 0.0))[0])
    assert column == pytest.approx(0.2, abs=0.06)


def test_the_patients_right_is_on_the_left_of_the_coronal_picture() -> None:
    _, column = _brightest(_bright((-30.0, 0.0, 0.0))[1])
    assert column == pytest.approx(0.2, abs=0.06)


def test_pixels_are_as_wide_as_they_are_high() -> None:
    for view in _bright((0.0, 0.0, 0.0)):
        across, down = np.diff(view.across_mm), -np.diff(view.heights_mm)
        np.testing.assert_allclose(across, down[0])
        assert view.size_mm[1] == pytest.approx(74, abs=down[0])  # 42 mm below and 32 mm above the centre


def test_outside_the_field_of_view_is_nan_and_beside_the_body_there_is_room() -> None:
    geometry = Geometry.from_spacing((20, 20, 40), (1.0, 1.0, 2.0))
    image = Image(np.zeros(geometry.shape), geometry, "CT")
    mask = Mask(np.zeros(geometry.shape, np.uint8), geometry)
    spine = Spine((Vertebra("L1", (10.0, 10.0, 40.0), 1.0),))
    sagittal, _ = view_column(image, mask, spine, height_px=74, width_px=500)
    finite = np.isfinite(sagittal.pixels)
    assert sagittal.across_mm[0] == pytest.approx(10 - 38, abs=1)
    assert sagittal.across_mm[finite.any(axis=0)].min() == pytest.approx(-0.5, abs=1)
    assert sagittal.across_mm[finite.any(axis=0)].max() == pytest.approx(19.5, abs=1)


def test_an_oblique_thick_sliced_scan_shows_the_same_bodies() -> None:
    phantom = make_phantom(
        levels=LEVELS,
        spacing_mm=(1.5, 1.5, 5.0),
        oblique_deg=(15.0, 10.0, 20.0),
        codes="PIR",
        gantry_deg=10.0,
    )
    sagittal, coronal = _views(phantom)
    for vertebra in phantom.spine.vertebrae:
        x, y, z = vertebra.center_mm
        assert _label_at(sagittal, y, z) == vertebra.label
        assert _label_at(coronal, x, z) == vertebra.label


def test_the_mask_may_have_another_grid(scoliosis: Phantom) -> None:
    coarse = scoliosis.mask.resampled(scoliosis.mask.geometry.resampled((3.0, 3.0, 3.0)))
    sagittal, _ = view_column(scoliosis.image, coarse, scoliosis.spine, height_px=150, width_px=200)
    for vertebra in scoliosis.spine.vertebrae:
        assert _label_at(sagittal, *vertebra.center_mm[1:]) == vertebra.label


def test_only_the_pictures_are_sampled_however_large_the_scan() -> None:
    shape = (4000, 4000, 8000)  # 128 gigavoxels: any copy of the volume would end the test
    geometry = Geometry.from_spacing(shape, (0.05, 0.05, 0.05))
    image = Image(np.broadcast_to(np.int16(7), shape), geometry, "CT")
    mask = Mask(np.broadcast_to(np.uint8(0), shape), geometry)
    spine = Spine((Vertebra("L1", (100.0, 100.0, 200.0), 1.0),))
    sagittal, _ = view_column(image, mask, spine, height_px=60, width_px=100)
    assert np.nanmax(sagittal.pixels) == pytest.approx(7)


def test_without_vertebrae_the_planes_through_the_middle_are_shown() -> None:
    geometry = Geometry.from_spacing((21, 31, 41), (1.0, 1.0, 1.0))
    array = np.zeros(geometry.shape)
    array[9:12, :, :] = 500  # a sagittal sheet three voxels thick through the middle
    image = Image(array, geometry, "CT")
    mask = Mask(np.zeros(geometry.shape, np.uint8), geometry)
    sagittal, coronal = view_column(image, mask, Spine(()), height_px=41, width_px=200)
    assert sagittal.pixels.min() == 500
    assert (coronal.pixels > 400).any(axis=0).sum() == 3
    assert sagittal.pixels.shape == (41, 31)


def test_the_line_is_straight_through_two_points_and_beyond() -> None:
    line = ColumnLine(np.array([[0.0, 0.0, 0.0], [2.0, -4.0, 10.0]]), np.zeros(2))
    assert line.at(np.array([5.0, 20.0])).tolist() == [[1.0, -2.0, 5.0], [4.0, -8.0, 20.0]]


def test_the_line_is_upright_through_one_point() -> None:
    line = ColumnLine(np.array([[3.0, 4.0, 5.0]]), np.zeros(1))
    assert line.at(np.array([-50.0, 50.0])).tolist() == [[3.0, 4.0, -50.0], [3.0, 4.0, 50.0]]


def test_the_line_passes_through_every_centre_and_leaves_at_most_at_45_degrees() -> None:
    points = np.array([[0.0, 0.0, 0.0], [5.0, 30.0, 10.0], [0.0, 90.0, 20.0], [0.0, 91.0, 40.0]])
    line = ColumnLine(points, np.zeros(4))
    np.testing.assert_allclose(line.at(points[:, 2]), points, atol=1e-9)
    below = line.at(np.array([-10.0, 0.0]))
    assert below[1, 1] - below[0, 1] == pytest.approx(10.0)


def test_the_line_never_turns_back() -> None:
    geometry = Geometry.from_spacing((10, 10, 10), (1.0, 1.0, 1.0))
    heights = [30.0, 12.0, 14.0, 0.0]
    names = ("T12", "L1", "L2", "L3")
    spine = Spine(tuple(Vertebra(n, (0.0, 0.0, z), 1.0) for n, z in zip(names, heights, strict=True)))
    assert follow_column(spine, geometry).points_mm[:, 2].tolist() == [0.0, 12.0, 30.0]


def test_rotation_comes_from_the_frames_and_is_smoothed() -> None:
    geometry = Geometry.from_spacing((10, 10, 10), (1.0, 1.0, 1.0))
    angle = np.deg2rad(20)
    frame = Frame((np.cos(angle), -np.sin(angle), 0.0), (np.sin(angle), np.cos(angle), 0.0), (0.0, 0.0, 1.0))
    names = ("T12", "L1", "L2")
    spine = Spine(
        tuple(
            Vertebra(n, (0.0, 0.0, 60.0 - 30 * i), 1.0, frame=frame if n == "L1" else None)
            for i, n in enumerate(names)
        )
    )
    line = follow_column(spine, geometry)
    degrees = np.rad2deg(line.rotation(np.array([0.0, 30.0, 60.0, 99.0])))
    assert degrees.tolist() == pytest.approx([5.0, 10.0, 5.0, 5.0])
