"""The shipped landmark weights on real scans whose labels they were not given."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage

from spinelab.anatomy import level
from spinelab.errors import InputError
from spinelab.io import read, read_mask
from spinelab.io.picture import read_picture
from spinelab.tasks.landmarks import LocateOptions, locate
from spinelab.volume import Geometry, Image
from tests.io.dicom_files import SeriesSpec, slice_dataset, write_series

DATA = Path(os.environ.get("SPINELAB_DATA", Path(__file__).parents[3] / "shared" / "data"))
SCAN = DATA / "mr" / "lumbar_dixon_15_water.nii.gz"
SLICE = DATA / "mr_spider" / "images" / "105_t1.jpg"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not SCAN.exists() or not SLICE.exists(), reason="the real scans are not here"),
]
OPTIONS = LocateOptions(threads=1)


def test_a_dixon_stack_is_named_from_the_sacrum():
    spine = locate(read(SCAN), OPTIONS)
    assert spine.levels[-5:] == ("L1", "L2", "L3", "L4", "L5")
    assert spine.numbering.anchors == ("sacrum",)
    assert len(spine.discs) >= 4


def test_a_t1_slice_is_named_though_no_t1_was_trained_on():
    spine = locate(read_picture(SLICE, 0.625), OPTIONS)
    assert spine.levels[-5:] == ("L1", "L2", "L3", "L4", "L5")


@pytest.fixture(scope="module")
def image():
    return read(SCAN)


@pytest.fixture(scope="module")
def spine(image):
    return locate(image, OPTIONS)


def far_apart(spine, other):
    """Mean distance of centres of one name in mm; the lumbar names are in both."""
    levels = [f"L{k}" for k in range(1, 6)]
    return np.mean([np.linalg.norm(np.subtract(spine[n].center_mm, other[n].center_mm)) for n in levels])


@pytest.mark.parametrize(
    ("axes", "how"),
    [((1, 2), "upside down"), ((2,), "mirrored head to foot"), ((1,), "mirrored front to back")],
)
def test_the_stack_turned_over_is_refused(image, axes, how):
    with pytest.raises(InputError, match=f"this scan looks {how}"):
        locate(Image(np.ascontiguousarray(np.flip(image.array, axes)), image.geometry), OPTIONS)


@pytest.mark.parametrize("codes", ["PIR", "LSP", "LPS"])
def test_the_same_scan_stored_along_other_axes_gives_the_same(image, spine, codes):
    assert far_apart(spine, locate(image.reoriented(codes), OPTIONS)) < 0.1


def test_a_dicom_series_and_a_multi_frame_file_give_the_same(image, spine, tmp_path):
    stack = image.reoriented("PIL")
    spec = sagittal_series(stack)
    write_series(tmp_path / "series", spec)
    write_multi_frame(tmp_path / "frames.dcm", spec)
    for path in (tmp_path / "series", tmp_path / "frames.dcm"):
        scan = read(path)
        assert scan.modality == "MR"
        assert far_apart(spine, locate(scan, OPTIONS)) < 0.1
    middle = write_series(tmp_path / "one", spec, keep=[stack.array.shape[2] // 2])[0]
    assert locate(read(middle), OPTIONS).levels[-5:] == ("L1", "L2", "L3", "L4", "L5")


def sagittal_series(stack):
    """A DICOM series of a stack whose axes run to the back, to the feet and to the left."""
    affine, step = stack.geometry.affine, stack.spacing_mm
    return SeriesSpec(
        np.asarray(stack.array, float),
        origin=tuple(affine[:3, 3]),
        step=tuple(affine[:3, 2]),
        spacing=step[:2],
        orientation=(*(affine[:3, 0] / step[0]), *(affine[:3, 1] / step[1])),
        modality="MR",
        intercept=0.0,
        tags={"SliceThickness": float(step[2])},
    )


def write_multi_frame(path, spec):
    """The same series as one enhanced MR file, its frames in any order."""
    data = slice_dataset(spec, 0, 1)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = EnhancedMRImageStorage
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(data, name)
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [spec.spacing[1], spec.spacing[0]]
    plane.ImageOrientationPatient = [float(v) for v in spec.orientation]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    data.SharedFunctionalGroupsSequence = [shared]
    frames, stored = [], []
    for k in np.random.default_rng(3).permutation(spec.voxels.shape[2]):
        group, place = Dataset(), Dataset()
        place.ImagePositionPatient = [float(o + k * s) for o, s in zip(spec.origin, spec.step, strict=True)]
        group.PlanePositionSequence = [place]
        frames.append(group)
        stored.append(spec.voxels[:, :, k].T.astype("<u2").tobytes())
    data.PerFrameFunctionalGroupsSequence = frames
    data.NumberOfFrames, data.PixelData = len(frames), b"".join(stored)
    data.save_as(path, enforce_file_format=True)


def test_a_strong_coil_field_moves_little(image, spine):
    y, z = (np.linspace(-1, 1, n) for n in image.array.shape[1:])
    field = np.exp(1.5 * y[:, None] + 0.7 * z[None, :])
    brightened = replace(image, array=(image.array * field).astype(np.float32))
    assert far_apart(spine, locate(brightened, OPTIONS)) < 4


def test_wrap_around_leaves_the_names(image, spine):
    wrapped = image.array + 0.6 * np.roll(image.array, image.array.shape[2] // 2, axis=2)
    found = locate(replace(image, array=wrapped.astype(np.float32)), OPTIONS)
    assert far_apart(spine, found) < 6


def test_a_slice_beside_the_middle_is_refused_or_doubted(image):
    beside = image.cropped((2, 0, 0), (3, *image.array.shape[1:]))  # 27 mm off
    try:
        warnings = locate(beside, OPTIONS).warnings
    except InputError as error:
        warnings = (str(error),)
    assert any("through the middle" in line or "beside their middle" in line for line in warnings)


def test_planes_across_the_body_are_refused_or_doubted(image):
    across = np.ascontiguousarray(np.transpose(image.reoriented("LPS").array, (2, 0, 1)))
    sure = 0
    for k in range(20, 210, 20):
        plane = Image(across[k : k + 1], Geometry.from_spacing((1, *across.shape[1:]), (4.0, 2.0, 1.0)))
        try:
            found = locate(plane, OPTIONS)
        except InputError:
            continue
        sure += not any("seen less clearly" in line for line in found.warnings)
    assert sure <= 1


def test_the_disc_above_the_sacrum_is_marked_where_it_was_drawn_by_hand():
    scan = DATA / "mr" / "lumbar_discs_11_t2.nii.gz"
    found = locate(read(scan), OPTIONS)
    labels = read_mask(scan.with_name("lumbar_discs_11_discs.nii.gz"))
    for disc in [disc for disc in found.discs if disc.above in ("L1", "L2", "L3", "L4", "L5")]:
        drawn = np.argwhere(labels.array == 100 + level(disc.above).label)
        middle = labels.geometry.index_to_world(drawn.mean(axis=0))
        gap = np.abs(np.subtract(disc.center_mm, middle))[1:]  # whole discs were drawn
        assert gap.max() < 7
