import numpy as np
import pytest

from spinelab.tasks import locate
from spinelab.tasks.locate import Overview, find_candidates, look_over, upright
from spinelab.volume import Geometry, Image
from tests.tasks.volumes import SHEAR, blob_image, find_blobs, grid, network, turned, world_of

POINT = np.array([12.0, -7.0, 18.0])


@pytest.mark.parametrize("size", [16, 144, 160, 176, 272, 288, 1008])
def test_windows_keep_each_place_once_with_even_edges_and_a_margin(size):
    windows = list(locate._windows(size))
    kept = np.zeros(size, int)
    for start, stop, low, high in windows:
        assert 0 <= start <= low < high <= stop <= size
        assert stop - start <= 160
        assert (stop - start) % 16 == 0
        assert not {start % 2, stop % 2, low % 2, high % 2} & {1}
        assert start == 0 or low - start >= 24
        assert stop == size or stop - high >= 24
        kept[low:high] += 1
    assert (kept == 1).all()


def test_a_scan_of_one_window_is_seen_in_one_pass_and_a_long_one_in_few():
    assert len(list(locate._windows(160))) == 1
    assert [w[:2] for w in locate._windows(336)] == [(0, 160), (112, 272), (176, 336)]


@pytest.mark.parametrize(
    ("directions", "codes", "spacing"),
    [
        (np.eye(3), "LPS", (2.0, 2.0, 2.0)),
        (np.eye(3), "RAI", (1.5, 1.5, 5.0)),
        (np.eye(3), "SAL", (1.0, 2.5, 3.0)),
        (np.diag([-1.0, 1.0, 1.0]), "LPS", (2.0, 2.0, 2.0)),
        (turned(25, axis=0) @ turned(-20, axis=2), "LPS", (1.5, 2.0, 2.5)),
        (SHEAR, "PIR", (2.0, 2.0, 2.0)),
        (turned(15, axis=1) @ SHEAR, "IRA", (2.0, 1.5, 3.0)),
    ],
)
def test_upright_puts_a_blob_at_its_place_in_the_patient(directions, codes, spacing):
    shape = tuple(int(np.ceil(110 / s)) for s in spacing)
    image = blob_image(grid(shape, spacing, directions=directions, codes=codes), [POINT], sigma_mm=8)
    found = upright(image, 3.0)
    assert found.geometry.codes == "LPS"
    assert found.spacing_mm == pytest.approx((3.0, 3.0, 3.0))
    weight = np.where(found.array > 100, found.array, 0)
    place = (world_of(found.geometry) * weight[..., None]).sum((0, 1, 2)) / weight.sum()
    assert np.linalg.norm(place - POINT) < 0.6


def test_upright_marks_what_lies_outside_an_oblique_scan():
    geometry = grid((50, 50, 50), (2.0, 2.0, 2.0), directions=turned(30, axis=2))
    found = upright(Image(np.full(geometry.shape, -200, np.int16), geometry, "CT"), 3.0)
    inside = geometry.contains(world_of(found.geometry))
    assert found.array[0, 0, found.array.shape[2] // 2] == -32768
    assert not (found.array[~geometry.contains(world_of(found.geometry), margin_mm=-4.0)] > -3e4).any()
    assert np.allclose(found.array[geometry.contains(world_of(found.geometry), margin_mm=4.0)], -200)
    assert 0.8 < (found.array > -3e4).sum() / inside.sum() < 1.05


def test_an_upright_scan_has_no_outside():
    image = Image(np.full((40, 40, 20), -3024, np.int16), grid((40, 40, 20), (1.0, 1.0, 3.0)), "CT")
    assert upright(image, 3.0).array.min() == -3024


def test_the_overview_of_a_long_scan_finds_every_blob_through_all_windows():
    geometry = grid((24, 24, 300), (3.0, 3.0, 3.0))
    points = [np.array([0.0, 0.0, z]) for z in np.arange(-420, 421, 30.0)]
    net = network("locate", find_blobs)
    overview = look_over(blob_image(geometry, points, sigma_mm=9), net)
    assert [shape["hu"] for shape in net.session.passes] == [(1, 1, 32, 32, 160)] * 3
    assert overview.heat.shape == overview.seen.shape == (24, 24, 300)
    assert overview.tissue.shape == (4, 24, 24, 300)
    assert overview.levels.shape == (26, 16, 16, 152)
    found = sorted(c.center_mm[2] for c in find_candidates(overview, threshold=0.3))
    assert np.allclose(found, [p[2] for p in points], atol=1.6)


def test_the_network_sees_hu_clipped_and_air_where_the_scan_ends():
    seen = []

    def remember(hu):
        seen.append(hu)
        return find_blobs(hu)

    image = Image(np.full((10, 10, 10), 9000, np.int32), grid((10, 10, 10), (3.0, 3.0, 3.0)), "CT")
    overview = look_over(image, network("locate", remember))
    assert seen[0].shape == (1, 1, 16, 16, 16)
    assert (seen[0][0, 0, :10, :10, :10] == 3071).all()
    assert (seen[0][0, 0, 10:] == -1024).all()
    assert overview.seen.all()


def overview_with(heat, *, rib=None, sacrum=None):
    """An Overview on a 3 mm grid about the origin; `rib` and `sacrum` are index boxes of that tissue."""
    shape = heat.shape
    tissue = np.zeros((4, *shape), np.float16)
    for number, box in ((3, rib), (2, sacrum)):
        if box is not None:
            tissue[(number, *box)] = 1
    tissue[0] = 1 - tissue[1:].sum(0)
    levels = np.zeros((26, *(n // 2 for n in shape)), np.float16)
    levels[11, :, :, : shape[2] // 4] = 1
    levels[10, :, :, shape[2] // 4 :] = 1
    return Overview(
        Geometry.from_spacing(shape, (3, 3, 3)), heat.astype(np.float32), tissue, levels, np.ones(shape, bool)
    )


def peak(shape, *places):
    heat = np.zeros(shape)
    index = np.stack(np.indices(shape), -1)
    for place, height in places:
        heat = np.maximum(heat, height * np.exp(-((index - np.array(place)) ** 2).sum(-1) / 4))
    return heat


SHAPE = (44, 44, 44)


def test_candidates_are_the_peaks_best_first_between_voxels():
    heat = peak(SHAPE, ((20.3, 21.0, 12.0), 0.6), ((20.0, 22.0, 32.4), 0.9), ((20, 6, 22), 0.1))
    found = find_candidates(overview_with(heat))
    assert len(found) == 2
    assert np.allclose(found[0].center_mm, (60.0, 66.0, 97.2), atol=0.4)
    assert np.allclose(found[1].center_mm, (60.9, 63.0, 36.0), atol=0.4)
    assert found[0].score == pytest.approx(0.87, abs=0.05)
    assert int(np.argmax(found[0].level_probabilities)) == 10
    assert int(np.argmax(found[1].level_probabilities)) == 11


def test_a_flat_top_is_one_candidate_at_its_middle():
    heat = np.minimum(peak(SHAPE, ((20, 21, 12), 2.0)), 1.0)
    found = find_candidates(overview_with(heat))
    assert len(found) == 1
    assert np.allclose(found[0].center_mm, (60, 63, 36), atol=3.0)


def test_threshold_and_most_limit_the_candidates():
    heat = peak(SHAPE, ((20, 21, 12), 0.6), ((20, 22, 32), 0.9), ((20, 6, 22), 0.1))
    assert len(find_candidates(overview_with(heat), threshold=0.05)) == 3
    assert [round(c.score, 1) for c in find_candidates(overview_with(heat), most=1)] == [0.9]
    assert find_candidates(overview_with(np.zeros(SHAPE))) == []


def test_a_rib_beside_and_the_sacrum_below_are_seen():
    heat = peak(SHAPE, ((22, 22, 22), 0.9))
    rib = (slice(30, 36), slice(24, 30), slice(21, 25))
    sacrum = (slice(16, 28), slice(16, 28), slice(8, 16))
    assert (bare := find_candidates(overview_with(heat))[0]).rib == bare.sacrum == pytest.approx(0.02)
    assert find_candidates(overview_with(heat, rib=rib))[0].rib == pytest.approx(0.98)
    assert find_candidates(overview_with(heat, sacrum=sacrum))[0].sacrum > 0.75


def test_where_too_little_is_in_view_nothing_is_said_of_rib_and_sacrum():
    narrow = peak((14, 44, 44), ((7, 22, 22), 0.9))
    found = find_candidates(overview_with(narrow))[0]
    assert found.rib is None
    assert found.sacrum == pytest.approx(0.02)
    low = peak(SHAPE, ((22, 22, 6), 0.9))
    found = find_candidates(overview_with(low))[0]
    assert found.sacrum is None
    assert found.rib == pytest.approx(0.02)


def test_a_rib_that_is_seen_counts_even_in_a_narrow_view():
    narrow = peak((20, 44, 44), ((10, 22, 22), 0.9))
    rib = (slice(15, 20), slice(24, 30), slice(21, 25))
    assert find_candidates(overview_with(narrow, rib=rib))[0].rib == pytest.approx(0.98)


def test_one_side_in_view_is_enough_to_miss_ribs():
    aside = peak((30, 44, 44), ((5, 22, 22), 0.9))
    assert find_candidates(overview_with(aside))[0].rib == pytest.approx(0.02)
