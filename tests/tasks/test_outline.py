import numpy as np
import pytest

from spinelab.tasks import outline
from spinelab.tasks.frames import OUTLINE_SHAPE, OUTLINE_SPACING_MM, column_frames, neighbour_map
from spinelab.tasks.outline import Canvas, Patch, outline_one
from spinelab.volume import Image
from tests.tasks.volumes import SHEAR, STRAIGHT, blob_image, grid, network, turned, world_of

POINTS = outline._POINTS
CENTER = np.array([6.0, -3.0, 4.0])
FRAME = (turned(20, axis=0) @ turned(-15, axis=1)).T
SEMI_AXES = np.array([22.0, 14.0, 11.0])


def ellipsoid(points, semi_axes=SEMI_AXES, center=(0.0, 0.0, 0.0)):
    """1 inside, falling to 0 over about 2 mm around the surface; `points` (..., 3) local mm."""
    radius = np.linalg.norm((points - np.asarray(center)) / semi_axes, axis=-1)
    return np.clip(0.5 + (1 - radius) * min(semi_axes) / 2, 0, 1).astype(np.float32)


def patch_of(probability, *, center=CENTER, frame=FRAME, in_view=None):
    seen = np.ones(OUTLINE_SHAPE, bool) if in_view is None else in_view
    return Patch(np.asarray(probability, np.float32), center, frame, seen)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_the_patch_reaches_from_before_the_body_to_behind_its_spinous_process():
    assert POINTS.shape == (*OUTLINE_SHAPE, 3)
    assert np.allclose(POINTS[0, 0, 0], (-54.375, -29.375, -43.375))
    assert np.allclose(POINTS[-1, -1, -1], (54.375, 69.375, 25.375))


@pytest.mark.parametrize(
    ("directions", "codes", "spacing"),
    [
        (STRAIGHT, "LPS", (1.0, 1.0, 1.0)),
        (STRAIGHT, "RAI", (0.8, 0.8, 5.0)),
        (STRAIGHT, "SPL", (2.0, 1.0, 1.5)),
        (np.diag([-1.0, 1.0, 1.0]), "LPS", (1.5, 1.5, 1.5)),
        (turned(25, axis=0) @ turned(30, axis=2), "PIR", (1.0, 2.0, 3.0)),
        (SHEAR, "LPS", (1.0, 1.0, 2.5)),
    ],
)
def test_a_patch_lands_on_the_right_voxels_of_any_grid(directions, codes, spacing):
    shape = tuple(int(np.ceil(90 / s)) for s in spacing)
    geometry = grid(shape, spacing, directions=directions, codes=codes)
    canvas = Canvas(geometry)
    drawn = canvas.add(patch_of(ellipsoid(POINTS)), 20)
    wanted = ellipsoid((world_of(geometry) - CENTER) @ FRAME.T) >= 0.5
    assert drawn == (canvas.labels == 20).sum() > 100
    assert dice(canvas.labels == 20, wanted) > 0.97


def test_a_patch_half_out_of_the_scan_is_drawn_where_there_are_voxels():
    geometry = grid((60, 60, 20), (1.5, 1.5, 1.5), center=CENTER + np.array([0, 0, 15]))
    canvas = Canvas(geometry)
    canvas.add(patch_of(ellipsoid(POINTS), frame=np.eye(3)), 21)
    wanted = ellipsoid(world_of(geometry) - CENTER) >= 0.5
    assert wanted[:, :, 0].sum() > 0
    assert dice(canvas.labels == 21, wanted) > 0.97


def test_nothing_is_drawn_of_an_empty_patch_or_one_beside_the_scan():
    canvas = Canvas(grid((20, 20, 20), (2.0, 2.0, 2.0)))
    assert canvas.add(patch_of(np.zeros(OUTLINE_SHAPE)), 20) == 0
    assert canvas.add(patch_of(ellipsoid(POINTS), center=np.array([300.0, 0, 0])), 20) == 0
    assert not canvas.labels.any()


@pytest.mark.parametrize("surer_first", [True, False])
def test_the_surer_outline_has_the_overlap_whatever_the_order(surer_first):
    geometry = grid((60, 60, 60), (1.0, 1.0, 1.0))
    canvas = Canvas(geometry)
    near, far = np.zeros(3), np.array([0.0, 0.0, 8.0])
    sure = patch_of((ellipsoid(POINTS) >= 0.5) * 0.9, center=near, frame=np.eye(3))
    unsure = patch_of((ellipsoid(POINTS) >= 0.5) * 0.7, center=far, frame=np.eye(3))
    jobs = [(sure, 20), (unsure, 19)]
    for patch, label in jobs if surer_first else jobs[::-1]:
        canvas.add(patch, label)
    both = (ellipsoid(world_of(geometry) - near, SEMI_AXES - 1.5) >= 0.5) & (
        ellipsoid(world_of(geometry) - far, SEMI_AXES - 1.5) >= 0.5
    )
    assert both.sum() > 1000
    assert (canvas.labels[both] == 20).all()
    assert (canvas.labels == 19).sum() > 1000


def test_the_own_piece_is_the_one_at_the_centre():
    own = ellipsoid(POINTS, np.array([12.0, 10, 8]))
    other = ellipsoid(POINTS, np.array([8.0, 8, 8]), center=(0.0, 0.0, -32.0))
    kept = outline._own_piece(np.maximum(own, other))
    assert np.array_equal(kept >= 0.5, own >= 0.5)
    assert kept[(own > 0.3) & (own < 0.5)].min() > 0.3, "its soft edge is kept"
    assert not outline._own_piece(other).any(), "nothing near the centre"
    assert not outline._own_piece(np.zeros(OUTLINE_SHAPE, np.float32)).any()


def test_a_crumb_near_the_centre_does_not_come_along_but_a_large_part_does():
    own = ellipsoid(POINTS, np.array([9.0, 9, 5]))
    crumb = ellipsoid(POINTS, np.array([2.0, 2, 2]), center=(0.0, 0.0, 11.0))
    large = ellipsoid(POINTS, np.array([14.0, 9, 5]), center=(0.0, 0.0, -15.0))
    kept = outline._own_piece(np.maximum.reduce([own, crumb, large])) >= 0.5
    assert np.array_equal(kept, (own >= 0.5) | (large >= 0.5))


def test_the_volume_is_that_of_the_outline():
    expected = 4 / 3 * np.pi * SEMI_AXES.prod()
    assert patch_of(ellipsoid(POINTS)).volume_mm3 == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("bottom", "cut"), [(-30.0, False), (-13.0, False), (-12.5, False), (-6.0, True), (0.0, True)]
)
def test_a_body_is_cut_where_it_reaches_the_border_with_more_than_a_lip(bottom, cut):
    assert patch_of(ellipsoid(POINTS), in_view=POINTS[..., 2] > bottom).body_is_cut is cut


def test_a_process_at_the_border_is_no_cut_body():
    process = np.maximum(ellipsoid(POINTS), ellipsoid(POINTS, np.array([6.0, 30, 8]), center=(0, 44, -14)))
    assert not patch_of(process, in_view=POINTS[..., 1] < 40).body_is_cut
    assert not patch_of(process, in_view=POINTS[..., 2] > -15).body_is_cut


def looking_at(center, points_mm, geometry):
    """Runs an outline network that remembers what it was given and finds what is bright."""
    seen = {}

    def find(hu, spots):
        seen.update(hu=hu[0, 0], spots=spots[0, 0])
        return [(hu > 300).astype(np.float32)]

    image = blob_image(geometry, points_mm)
    frame = turned(20, axis=0).T
    others = np.array([p for p in points_mm if not np.allclose(p, center)]).reshape(-1, 3)
    patch = outline_one(
        image, network("outline", find), center_mm=np.asarray(center), frame=frame, others_mm=others
    )
    return patch, seen


def index_of(local_mm):
    return tuple(np.round((np.asarray(local_mm) - POINTS[0, 0, 0]) / OUTLINE_SPACING_MM).astype(int))


def test_the_network_sees_its_vertebra_in_its_frame_and_the_neighbours_as_negative_spots():
    center, below = np.array([3.0, 4.0, 5.0]), np.array([3.0, -2.0, -25.0])
    geometry = grid((80, 80, 100), (1.5, 1.5, 1.5), directions=turned(15, axis=2), codes="RIP")
    patch, seen = looking_at(center, [center, below, center + np.array([0, 0, 500])], geometry)
    local = turned(20, axis=0).T @ (below - center)
    assert seen["hu"][index_of((0, 0, 0))] > 950
    assert seen["hu"][index_of(local)] > 900
    assert seen["spots"].max() == pytest.approx(1, abs=0.05)
    assert seen["spots"][index_of((0, 0, 0))] == seen["spots"].max()
    assert seen["spots"][index_of(local)] == pytest.approx(-1, abs=0.05)
    assert patch.probability[index_of((0, 0, 0))] == 1
    assert patch.probability[index_of(local)] == 0, "the neighbour is not its own piece"


def test_outside_the_scan_is_air_for_the_network_and_nothing_is_outlined_there():
    center = np.array([0.0, 0.0, 0.0])
    geometry = grid((80, 80, 20), (1.5, 1.5, 1.5), center=(0, 0, -13))
    patch, seen = looking_at(center, [center], geometry)
    above = ~geometry.contains(POINTS @ turned(20, axis=0).T + center, margin_mm=-0.75)
    assert above.any()
    assert (seen["hu"][above] == -1024).all()
    assert np.array_equal(patch.in_view, ~above)
    assert not patch.probability[above].any()
    assert patch.probability[index_of((0, 0, -2))] == 1


def test_a_patch_wholly_outside_the_scan_is_all_air():
    image = Image(np.full((10, 10, 10), 700, np.int16), grid((10, 10, 10), (1.0, 1.0, 1.0)), "CT")
    for sign in (-1, 1):
        net = network("outline", lambda hu, spots: [np.full(hu.shape, float(hu.max() > -1024), np.float32)])
        center = np.array([0.0, 0.0, 400.0 * sign])
        patch = outline_one(image, net, center_mm=center, frame=np.eye(3), others_mm=np.zeros((0, 3)))
        assert not patch.in_view.any()
        assert patch.volume_mm3 == 0


def test_frames_follow_the_column_and_are_right_handed():
    centers = np.array([[0.0, 0, 60], [5.0, -10, 30], [0.0, -10, 0]])
    frames = column_frames(centers)
    assert np.allclose(frames @ frames.transpose(0, 2, 1), np.eye(3))
    assert np.allclose(np.linalg.det(frames), 1)
    assert np.allclose(frames[1, 2], np.array([0, 10, 60]) / np.hypot(10, 60))
    assert (frames[:, 0, 0] > 0.9).all()


def test_a_single_centre_has_the_patients_own_axes_and_a_lying_column_still_a_frame():
    assert np.allclose(column_frames(np.array([[1.0, 2, 3]])), np.eye(3))
    lying = column_frames(np.array([[60.0, 0, 0], [0.0, 0, 0]]))
    assert np.allclose(lying[0, 2], (1, 0, 0))
    assert np.allclose(np.linalg.det(lying), 1)


def test_the_neighbour_map_is_hand_countable():
    points = np.array([[[[0.0, 0, 0], [0, 0, 5], [0, 0, 30]]]], np.float32)
    spots = neighbour_map(np.array([[0.0, 0, 30]]), points)
    assert spots[0, 0] == pytest.approx([1, np.exp(-0.5), -1], abs=1e-5)


def test_the_outline_is_kept_as_it_was_before_the_slices():
    canvas = Canvas(grid((60, 60, 18), (1.5, 1.5, 5.0)))
    patch = patch_of(ellipsoid(POINTS))
    canvas.add(patch, 20)
    kept = canvas.outlines[20]
    assert kept.geometry.spacing_mm == pytest.approx((OUTLINE_SPACING_MM,) * 3)
    assert kept.geometry.index_to_world(np.zeros(3)) == pytest.approx(POINTS[0, 0, 0] @ FRAME + CENTER)
    assert dice(kept.array >= 0.5, ellipsoid((world_of(kept.geometry) - CENTER) @ FRAME.T) >= 0.5) > 0.999


def test_an_outline_that_gets_no_voxel_is_not_kept():
    canvas = Canvas(grid((10, 10, 10), (1.0, 1.0, 1.0), center=np.array([400.0, 0, 0])))
    assert canvas.add(patch_of(ellipsoid(POINTS)), 20) == 0
    assert canvas.outlines == {}
