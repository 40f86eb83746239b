"""What a network sees and what it should answer lie on the same voxels, however the sample is warped."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from spinelab.tasks.frames import OUTLINE_OFFSET_MM, OUTLINE_SPACING_MM  # noqa: E402
from spinelab.train import augment, samples  # noqa: E402
from spinelab.train.prepare import Prepared  # noqa: E402
from spinelab.train.samples import LocateSampler, OutlineSampler, heat_sigma_mm  # noqa: E402
from spinelab.train.weak_tissue import BACKGROUND, UNKNOWN, VERTEBRA  # noqa: E402

pytestmark = pytest.mark.train

LABELS = (19, 20, 21)


def column_case(shape, spacing, *, radius_mm, labels=LABELS, named=True, step_mm=33.0, shift=(0, 0, 0)):
    """Bright balls around the centres of a straight column; the image knows nothing of the centres' list."""
    spacing = np.asarray(spacing, float)
    middle = (np.array(shape) - 1) / 2 * spacing + np.array(shift)
    offsets = np.array([[0, 0, (len(labels) - 1) / 2 - n] for n in range(len(labels))]) * step_mm
    centers = (middle + offsets) / spacing
    world = np.stack(np.indices(shape), -1) * spacing
    vertebrae = np.zeros(shape, np.uint8)
    for center, label in zip(centers, labels, strict=True):
        vertebrae[np.linalg.norm(world - center * spacing, axis=-1) < radius_mm] = label
    tissue = np.where(vertebrae > 0, VERTEBRA, BACKGROUND).astype(np.uint8)
    image = np.where(vertebrae > 0, 1000, 0).astype(np.int16)
    return Prepared("x", image, False, vertebrae, tissue, spacing, centers, np.array(labels), named)


@pytest.fixture
def _plain(monkeypatch):
    """Leaves the geometry random and the densities alone."""
    monkeypatch.setattr(augment, "vary_hu", lambda hu, rng, *, spacing_mm, thicken_share=0.4: hu)
    monkeypatch.setattr(augment, "cut_view", lambda shape, rng: tuple(slice(0, n) for n in shape))
    monkeypatch.setattr(samples, "SLICED", 0.0)


def center_of(weight):
    index = np.stack(np.indices(weight.shape), -1)
    return (index * weight[..., None]).sum((0, 1, 2)) / weight.sum()


def is_whole(drawn):
    """Whether no bright voxel lies on the border of a locate sample."""
    bright = drawn.hu[0].numpy() > 500
    return not any(bright.take(i, axis=a).any() for a in range(3) for i in (0, -1))


@pytest.fixture
def _small(monkeypatch):
    monkeypatch.setattr(samples, "LOCATE_SHAPE", (48, 48, 48))


@pytest.mark.usefixtures("_plain", "_small")
@pytest.mark.parametrize("seed", range(8))
def test_heat_tissue_and_level_lie_where_the_image_shows_the_body(seed):
    case = column_case((60, 60, 60), (3, 3, 3), radius_mm=10, labels=(20,), shift=(15, -9, 6))
    sampler = LocateSampler([case], [1.0])
    rng = np.random.default_rng(seed)
    drawn = next(s for s in (sampler.draw(rng) for _ in range(40)) if s.heat.max() > 0.8 and is_whole(s))
    bright = (drawn.hu[0].numpy() > 500).astype(float)
    seen = center_of(bright)
    heat = drawn.heat.numpy()
    assert np.linalg.norm(center_of(np.where(heat > 0.6, heat, 0)) - seen) < 0.7
    assert np.linalg.norm(np.array(np.unravel_index(heat.argmax(), heat.shape)) - seen) < 1.5
    assert np.linalg.norm(center_of((drawn.tissue.numpy() == VERTEBRA).astype(float)) - seen) < 0.7
    level = drawn.level.numpy()
    assert set(np.unique(level)) == {-1, 19}, "L1 is class 19"
    assert np.linalg.norm(center_of((level == 19).astype(float)) * 2 - seen) < 1.2


@pytest.mark.usefixtures("_plain", "_small")
def test_shapes_and_ranges_of_a_locate_sample():
    drawn = LocateSampler([column_case((40, 40, 60), (3, 3, 3), radius_mm=10)], [1.0]).draw(
        np.random.default_rng(1)
    )
    assert drawn.hu.shape == (1, 48, 48, 48)
    assert drawn.heat.shape == drawn.known.shape == drawn.tissue.shape == (48, 48, 48)
    assert drawn.level.shape == (24, 24, 24)
    assert 0 <= drawn.heat.min() <= drawn.heat.max() <= 1
    assert set(np.unique(drawn.tissue.numpy())) <= {BACKGROUND, VERTEBRA, UNKNOWN}


@pytest.mark.usefixtures("_plain", "_small")
def test_outside_the_scan_is_air_and_nothing_is_taught_there():
    sampler = LocateSampler([column_case((30, 30, 40), (3, 3, 3), radius_mm=10)], [1.0])
    drawn = sampler.draw(np.random.default_rng(1))
    outside = drawn.hu[0] == samples.AIR_HU
    assert outside.float().mean() > 0.2
    assert (drawn.tissue[outside] == UNKNOWN).all()
    assert (drawn.known[outside] == 0).all()


def test_heat_and_levels_follow_the_formula_voxel_by_voxel():
    case = column_case((20, 22, 40), (3, 3, 3), radius_mm=10, labels=(1, 26))
    heat = samples._locate_linear(case)[1].numpy()
    level = samples._locate_nearest(case)[1].numpy()
    index = np.stack(np.indices(heat.shape), -1)
    away = np.stack([np.linalg.norm(index - c, axis=-1) * 3 for c in case.centers])
    wanted = np.exp(-(away**2) / (2 * np.array([4.0, 6.0])[:, None, None, None] ** 2)).max(axis=0)
    assert np.allclose(heat, wanted, atol=1e-5)
    assert np.array_equal(level, np.where(away.min(axis=0) < 10, np.array([1, 26])[away.argmin(axis=0)], 0))


def test_a_centre_outside_the_grid_marks_only_what_is_inside():
    case = column_case((20, 20, 40), (3, 3, 3), radius_mm=10, labels=(1, 26))
    case.centers[0] = (10, 10, 42)
    assert samples._locate_linear(case)[1][:, :, 39].max() == pytest.approx(np.exp(-(9**2) / 32), abs=0.02)
    case.centers[0] = (10, 10, 90)
    assert samples._locate_linear(case)[1][:, :, 30:].max() == 0


def test_maps_are_built_once_while_they_are_kept(monkeypatch):
    cases = [column_case((20, 20, 40), (3, 3, 3), radius_mm=10) for _ in range(3)]
    built = []
    build = LocateSampler._build
    monkeypatch.setattr(LocateSampler, "_build", lambda self, n: built.append(n) or build(self, n))
    monkeypatch.setattr(samples, "_KEPT", 2)
    sampler = LocateSampler(cases, [1.0] * 3)
    for number in (0, 1, 0, 1, 2, 0):
        sampler._maps(number)
    assert built == [0, 1, 2, 0]


def test_no_heat_is_taught_as_nothing_beyond_an_open_end():
    case = column_case((40, 40, 80), (3, 3, 3), radius_mm=10)
    known = samples._locate_linear(case)[2].numpy()
    top, bottom = case.centers[0], case.centers[-1]
    x, y = int(top[0]), int(top[1])
    assert known[x, y, int(top[2]) + 12] == 0
    assert known[x, y, int(bottom[2]) - 12] == 0
    assert known[x, y, int(top[2])] == known[x, y, int(bottom[2])] == 1
    assert known[0, 0, int(case.centers[1][2])] == 1


def test_beyond_c1_and_below_the_sacrum_there_is_nothing_to_miss():
    case = column_case((40, 40, 60), (3, 3, 3), radius_mm=6, labels=(1, 26))
    assert (samples._locate_linear(case)[2] == 1).all()


def test_cases_with_doubtful_names_teach_no_levels():
    case = column_case((40, 40, 60), (3, 3, 3), radius_mm=10, named=False)
    assert (samples._locate_nearest(case)[1] == 0).all()
    sure = column_case((40, 40, 60), (3, 3, 3), radius_mm=10)
    assert set(np.unique(samples._locate_nearest(sure)[1].numpy())) == {0, *LABELS}


def test_heat_is_narrower_where_bodies_are_smaller():
    assert [heat_sigma_mm(label) for label in (3, 10, 22)] == [4.0, 5.0, 6.0]


@pytest.mark.usefixtures("_small")
def test_a_painted_case_shows_bone_where_its_classes_are():
    case = column_case((40, 40, 60), (3, 3, 3), radius_mm=12)
    classes = np.where(case.vertebrae > 0, 3, 0).astype(np.uint8)
    painted = Prepared(**{**vars(case), "image": classes, "painted": True})
    drawn = LocateSampler([painted], [1.0]).draw(np.random.default_rng(1))
    bone, air = drawn.tissue == VERTEBRA, drawn.tissue == BACKGROUND
    assert bone.any()
    assert drawn.hu[0][bone].median() > -400 > drawn.hu[0][air].median()


@pytest.mark.usefixtures("_plain")
@pytest.mark.parametrize("seed", range(6))
def test_mask_and_spots_lie_where_the_image_shows_the_vertebra(seed):
    case = column_case((50, 70, 60), (2, 2, 2.5), radius_mm=9, step_mm=27.0)
    sampler = OutlineSampler([case], [1.0])
    drawn = sampler.draw(np.random.default_rng(seed))
    hu, spots, mask = (part[0].numpy() for part in (drawn.hu, drawn.spots, drawn.mask))
    assert hu.shape == spots.shape == mask.shape == (88, 80, 56)
    assert mask.min() >= 0
    assert mask.max() == pytest.approx(1, abs=1e-5)
    assert (mask > 0.5).sum() > 300
    assert (hu[mask > 0.9] > 850).all(), "the vertebra is bright"
    others = (hu > 500) & (mask < 0.1)
    assert others.any(), "its neighbours are bright too and not in the mask"
    peak = np.array(np.unravel_index(spots.argmax(), spots.shape))
    assert np.linalg.norm(peak - center_of(mask)) * OUTLINE_SPACING_MM < 14, "jittered by up to 10 mm"
    assert spots[mask > 0.9].mean() > 0.1
    assert spots[others].mean() < 0


@pytest.mark.usefixtures("_plain")
def test_without_any_draw_the_outline_sample_is_what_the_reader_sees(monkeypatch):
    """The frame, the offset and the spots of a sample equal those `outline_one` hands to the network."""
    from spinelab.tasks.outline import outline_one
    from spinelab.volume import Geometry, Image
    from tests.tasks.volumes import network

    class Middle:
        """Draws the mean of everything."""

        def normal(self, mean, sd, size=None):
            return np.zeros(np.shape(sd) if size is None else size)

        def choice(self, options, p=None):
            return 1

        def random(self):
            return 0.9

    still = augment.Warp(np.eye(3), np.ones(3), np.zeros((3, 2, 2)), 300.0, False)
    monkeypatch.setattr(augment, "draw_warp", lambda rng, bend_deg, turn_deg: still)
    case = column_case((50, 70, 60), (2, 2, 2.5), radius_mm=9)
    drawn = OutlineSampler([case], [1.0]).draw(Middle())
    given = {}

    def remember(hu, spots):
        given.update(hu=hu[0, 0], spots=spots[0, 0])
        return [np.zeros_like(hu)]

    geometry = Geometry.from_spacing(case.image.shape, case.spacing_mm)
    centers = case.centers * case.spacing_mm
    outline_one(
        Image(case.image, geometry, "CT"),
        network("outline", remember),
        center_mm=centers[1],
        frame=np.eye(3),
        others_mm=np.delete(centers, 1, axis=0),
    )
    assert np.allclose(drawn.spots[0].numpy(), given["spots"], atol=1e-3)
    inside = (given["hu"] > samples.AIR_HU) & (drawn.hu[0].numpy() > samples.AIR_HU)
    border = np.abs(given["hu"] - drawn.hu[0].numpy())[inside]
    assert np.quantile(border, 0.99) < 1.0
    assert OUTLINE_OFFSET_MM == (0.0, 20.0, -9.0)


def test_vertebrae_that_come_more_often_in_a_case_count_less_each():
    long = column_case((40, 40, 120), (3, 3, 3), radius_mm=6, labels=(19, 20, 21, 22))
    short = column_case((40, 40, 60), (3, 3, 3), radius_mm=6, labels=(20,))
    sampler = OutlineSampler([long, short], [1.0, 1.0])
    assert sampler.chances.sum() == pytest.approx(1)
    assert sampler.chances[:4].sum() / sampler.chances[4] == pytest.approx(2), "the root of four"


def test_marked_centres_without_a_mask_are_not_drawn():
    case = column_case((40, 40, 120), (3, 3, 3), radius_mm=6, labels=(23, 24, 26))
    case.vertebrae[case.vertebrae == 23] = 0
    assert OutlineSampler([case], [1.0]).vertebrae == [(0, 1), (0, 2)]


@pytest.mark.usefixtures("_plain")
def test_the_body_of_s1_is_shown_with_nothing_to_outline():
    case = column_case((50, 70, 60), (2, 2, 2.5), radius_mm=9, labels=(24, 26))
    sampler = OutlineSampler([case], [1.0])
    sampler.vertebrae, sampler.chances = [(0, 1)], np.ones(1)
    drawn = sampler.draw(np.random.default_rng(2))
    middle = drawn.hu[0, 24:64, 4:44, 10:50]
    assert (middle > 850).any(), "the body of S1 is in the patch"
    assert (drawn.mask == 0).all()
    sampler.vertebrae = [(0, 0)]
    assert (sampler.draw(np.random.default_rng(2)).mask > 0.5).sum() > 300, "that of L5 is outlined"


def test_slicing_anew_keeps_what_lies_where():
    ramp = torch.arange(40.0).expand(1, 3, 3, 40)
    index = torch.stack(
        torch.meshgrid(*[torch.tensor([1.0])] * 2, torch.arange(8.0, 32.0), indexing="ij"), -1
    )
    thick, places = samples._slice(ramp, index, 5.0, np.random.default_rng(0))
    assert thick.shape[3] in (7, 8)
    assert augment.sample(thick, places)[0, 0, 0].numpy() == pytest.approx(np.arange(8, 32), abs=0.01)
    assert samples._slice(ramp, index, 1.1, np.random.default_rng(0))[0] is ramp, "as thick already"
    assert samples._slice(ramp, index, 25.0, np.random.default_rng(0))[0] is ramp, "too few slices"


@pytest.mark.usefixtures("_plain")
def test_thick_slices_blur_the_scan_and_never_the_mask(monkeypatch):
    case = column_case((50, 70, 120), (2, 2, 1.0), radius_mm=9)
    drawn = {}
    for share in (0.0, 1.0):
        monkeypatch.setattr(samples, "SLICED", share)
        drawn[share] = OutlineSampler([case], [1.0]).draw(np.random.default_rng(3))
    assert torch.equal(drawn[0.0].mask, drawn[1.0].mask)
    between = [((d.hu > 100) & (d.hu < 900)).sum() for d in drawn.values()]
    assert between[1] > 1.2 * between[0]
