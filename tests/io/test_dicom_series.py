from dataclasses import replace

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    generate_uid,
)

from spinelab.errors import GeometryError, InputError, UnreadableError
from spinelab.io import read
from tests.io.dicom_files import SeriesSpec, slice_dataset, voxels, write_series

STACK = voxels()


def test_slices_are_sorted_by_position_and_rescaled(tmp_path):
    write_series(tmp_path, SeriesSpec(STACK))
    (tmp_path / "notes.txt").write_text("not DICOM")
    scan = read(tmp_path)
    assert scan.modality == "CT"
    assert scan.array.dtype == np.int16
    np.testing.assert_array_equal(scan.array, STACK)
    np.testing.assert_allclose(scan.geometry.affine[:3, :3], np.diag([0.5, 0.75, 2.5]))
    np.testing.assert_allclose(scan.geometry.affine[:3, 3], (-20, -30, 100))


def test_descending_positions_end_up_ascending(tmp_path):
    write_series(tmp_path, SeriesSpec(STACK, step=(0, 0, -2.5)))
    scan = read(tmp_path)
    assert scan.geometry.codes == "LPS"
    np.testing.assert_array_equal(scan.array, STACK[:, :, ::-1])


def test_gantry_tilt_shears_the_affine(tmp_path):
    angle = np.deg2rad(15)
    orientation = (1, 0, 0, 0, np.cos(angle), np.sin(angle))
    write_series(tmp_path, SeriesSpec(STACK, orientation=orientation, step=(0, 0, 3.0)))
    affine = read(tmp_path).geometry.affine
    np.testing.assert_allclose(affine[:3, 2], (0, 0, 3.0), atol=1e-9)
    cosine = affine[:3, 1] @ affine[:3, 2] / (0.75 * 3.0)
    np.testing.assert_allclose(cosine, np.sin(angle), atol=1e-6)


def test_sagittal_stack(tmp_path):
    write_series(tmp_path, SeriesSpec(STACK, orientation=(0, 1, 0, 0, 0, -1), step=(2.5, 0, 0)))
    scan = read(tmp_path)
    assert scan.geometry.codes == "PIR"  # normal of rows to the back and columns down is to the right
    np.testing.assert_array_equal(scan.array, STACK[:, :, ::-1])


def test_rescale_differs_from_slice_to_slice(tmp_path):
    spec = SeriesSpec(STACK)
    write_series(tmp_path, spec, keep=range(6))
    write_series(tmp_path, replace(spec, intercept=-2000.0), keep=range(6, 12))
    np.testing.assert_array_equal(read(tmp_path).array, STACK)


def test_a_fractional_slope_gives_float32(tmp_path):
    write_series(tmp_path, SeriesSpec(STACK, slope=0.3))
    scan = read(tmp_path)
    assert scan.array.dtype == np.float32
    np.testing.assert_allclose(scan.array, STACK, atol=0.16)


def test_rle_is_decoded(tmp_path):
    write_series(tmp_path, SeriesSpec(STACK, rle=True))
    np.testing.assert_array_equal(read(tmp_path).array, STACK)


def pack_with_itk(path, compressor, scratch):
    """Compresses the pixels of a DICOM file in place through SimpleITK; all other tags stay."""
    image = SimpleITK.Image(SimpleITK.Cast(SimpleITK.ReadImage(str(path)), SimpleITK.sitkInt16))
    writer = SimpleITK.ImageFileWriter()
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.SetFileName(str(scratch / "packed.dcm"))
    writer.Execute(image)
    packed, data = pydicom.dcmread(scratch / "packed.dcm"), pydicom.dcmread(path)
    data.PixelRepresentation = packed.PixelRepresentation
    data.RescaleSlope, data.RescaleIntercept = 1, packed.get("RescaleIntercept", 0) - 24
    data.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
    data["PixelData"] = packed["PixelData"]
    data.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize(("compressor", "name"), [("JPEG", "JPEG Lossless"), ("JPEG2000", "JPEG 2000")])
def test_compression_without_pydicom_plugin_goes_through_itk(tmp_path, compressor, name):
    (tmp_path / "series").mkdir()
    stack = voxels((64, 64, 4))
    paths = write_series(tmp_path / "series", SeriesSpec(stack))
    for path in paths:
        pack_with_itk(path, compressor, tmp_path)
    assert name in pydicom.dcmread(paths[0]).file_meta.TransferSyntaxUID.name
    np.testing.assert_array_equal(read(tmp_path / "series").array, stack - 24)


def test_missing_slices_are_named(tmp_path):
    write_series(tmp_path, SeriesSpec(STACK), keep=[0, 1, 2, 5, 6, 7, 9, 10, 11])
    with pytest.raises(
        GeometryError, match=r"3 of 12 slices are missing.*105.0 to 112.5, 117.5 to 122.5 mm.*export"
    ):
        read(tmp_path)


def test_uneven_distances_are_refused(tmp_path):
    spec = SeriesSpec(STACK)
    write_series(tmp_path, spec, keep=range(6))
    write_series(tmp_path, replace(spec, step=(0, 0, 4.0), origin=(-20, -30, 91)), keep=range(6, 12))
    with pytest.raises(GeometryError, match=r"changes from 2.50 to 4.00 mm, first at.*one slice distance"):
        read(tmp_path)


def test_slices_shifted_sideways_are_refused(tmp_path):
    spec = SeriesSpec(STACK)
    write_series(tmp_path, spec, keep=range(6))
    write_series(tmp_path, replace(spec, origin=(-10, -30, 100)), keep=range(6, 12))
    with pytest.raises(GeometryError, match="shifted against one another by up to"):
        read(tmp_path)


def test_identical_doubles_are_dropped_with_a_warning(tmp_path):
    spec = SeriesSpec(STACK)
    write_series(tmp_path / "a", spec)
    write_series(tmp_path / "b", spec, keep=[3, 4])
    scan = read(tmp_path)
    np.testing.assert_array_equal(scan.array, STACK)
    assert scan.info["warnings"] == "2 slices were there twice; the copies were left out."


def test_different_doubles_are_refused(tmp_path):
    spec = SeriesSpec(STACK)
    write_series(tmp_path / "a", spec)
    write_series(tmp_path / "b", replace(spec, voxels=voxels(seed=2)), keep=[3, 4])
    with pytest.raises(
        GeometryError, match=r"2 positions hold more than one image, at 107.5, 110.0 mm.*one phase"
    ):
        read(tmp_path)


def test_phases_under_one_uid_are_split_and_chosen_by_name(tmp_path):
    spec = SeriesSpec(STACK, tags={"AcquisitionNumber": 1})
    late = replace(spec, voxels=voxels(seed=2), tags={"AcquisitionNumber": 2})
    write_series(tmp_path / "a", spec)
    write_series(tmp_path / "b", late)
    with pytest.raises(
        InputError, match=r"2 series that could be meant.*3a: CT, 12 slices.*3b: CT, 12 slices"
    ):
        read(tmp_path)
    np.testing.assert_array_equal(read(tmp_path, series="3a").array, STACK)
    np.testing.assert_array_equal(read(tmp_path, series="3b").array, late.voxels)


def test_the_listing_tells_facts_and_no_names(tmp_path):
    write_series(tmp_path / "a", SeriesSpec(STACK, number=3, tags={"ConvolutionKernel": "B70f"}))
    write_series(tmp_path / "b", SeriesSpec(STACK, number=4, tags={"ConvolutionKernel": "B30f"}))
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    text = str(caught.value)
    assert "3: CT, 12 slices, 0.50 x 0.75 x 2.50 mm, kernel B70f; 4: CT" in text
    assert "--series" in text
    assert "Secret" not in text
    assert "4711" not in text


def test_choice_by_number_uid_and_wrong_number(tmp_path):
    other = SeriesSpec(voxels(seed=2), number=4)
    write_series(tmp_path / "a", SeriesSpec(STACK, number=3))
    write_series(tmp_path / "b", other)
    np.testing.assert_array_equal(read(tmp_path, series=3).array, STACK)
    np.testing.assert_array_equal(read(tmp_path, series=other.uid).array, other.voxels)
    with pytest.raises(InputError, match=r"has no series 9; choose one of 3: CT.*4: CT"):
        read(tmp_path, series="9")


def test_the_clear_best_is_taken(tmp_path):
    thick = SeriesSpec(voxels((8, 6, 6)), number=2, step=(0, 0, 5.0))
    localizer = SeriesSpec(
        voxels((8, 6, 6)), number=1, tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    )
    derived = SeriesSpec(STACK, number=5, tags={"ImageType": ["DERIVED", "SECONDARY", "MPR"]})
    coronal = SeriesSpec(STACK, number=6, orientation=(1, 0, 0, 0, 0, -1), step=(0, 2.5, 0))
    scout = SeriesSpec(voxels((8, 6, 1)), number=7, orientation=(1, 0, 0, 0, 0, -1))
    mr = SeriesSpec(STACK, number=8, modality="MR")
    for n, spec in enumerate((thick, localizer, derived, coronal, scout, mr, SeriesSpec(STACK, number=4))):
        write_series(tmp_path / str(n), spec)
    scan = read(tmp_path)
    assert scan.info["series"] == "4"
    np.testing.assert_array_equal(scan.array, STACK)


def test_a_thin_series_of_another_region_is_not_the_clear_best(tmp_path):
    write_series(tmp_path / "a", SeriesSpec(STACK, number=2))
    write_series(
        tmp_path / "b", SeriesSpec(voxels((8, 6, 20)), number=3, step=(0, 0, 5.0), origin=(-20, -30, 100))
    )
    with pytest.raises(InputError, match="2 series that could be meant"):
        read(tmp_path)


def test_an_mr_series_is_read_as_such(tmp_path):
    write_series(tmp_path, SeriesSpec(STACK, modality="MR"))
    assert read(tmp_path).modality == "MR"


SAGITTAL = {"orientation": (0, 1, 0, 0, 0, -1), "step": (3.3, 0.0, 0.0)}


def test_of_mr_the_sagittal_series_is_meant(tmp_path):
    write_series(tmp_path, SeriesSpec(STACK, number=4, modality="MR"))
    write_series(tmp_path, SeriesSpec(STACK, number=5, modality="MR", **SAGITTAL))
    assert read(tmp_path).geometry.codes == "PIR"


def test_two_contrasts_of_mr_are_told_apart_by_their_times(tmp_path):
    for number, (repetition, echo) in enumerate(((600.0, 9.5), (4200.0, 102.0)), start=7):
        tags = {"RepetitionTime": repetition, "EchoTime": echo, "SeriesDescription": "Secret"}
        write_series(tmp_path, SeriesSpec(STACK, number=number, modality="MR", tags=tags, **SAGITTAL))
    with pytest.raises(InputError) as found:
        read(tmp_path)
    assert "7: MR, 12 slices, 0.50 x 0.75 x 3.30 mm, sagittal, TR 600 ms, TE 9.5 ms, axial" in str(
        found.value
    )
    assert "TR 4200 ms, TE 102 ms" in str(found.value)
    assert "Secret" not in str(found.value)


def test_echoes_under_one_uid_are_split(tmp_path):
    spec = SeriesSpec(STACK, modality="MR", **SAGITTAL)
    for echo, stack in ((10.0, STACK), (80.0, voxels(seed=2))):
        write_series(tmp_path, replace(spec, voxels=stack, tags={"EchoTime": echo}))
    with pytest.raises(InputError, match=r"2 series that could be meant.*3a: .*TE 10 ms.*3b: .*TE 80 ms"):
        read(tmp_path)
    assert read(tmp_path, series="3b").array.shape == STACK.shape


def test_a_single_slice_of_mr_is_as_thick_as_it_says(tmp_path):
    tags = {"SliceThickness": 4.0}
    path = write_series(tmp_path, SeriesSpec(STACK, modality="MR", tags=tags, **SAGITTAL), keep=[4])[0]
    image = read(path)
    assert image.array.shape == (8, 6, 1)
    assert image.spacing_mm == (0.5, 0.75, 4.0)
    assert image.geometry.index_to_world((0, 0, 0))[0] == pytest.approx(-20 + 4 * 3.3)


@pytest.mark.parametrize("tags", [{}, {"SliceThickness": 0.0}])
def test_a_single_slice_of_mr_without_thickness_is_refused(tmp_path, tags):
    path = write_series(tmp_path, SeriesSpec(STACK, modality="MR", tags=tags, **SAGITTAL), keep=[4])[0]
    with pytest.raises(GeometryError, match="states no valid SliceThickness, which is never guessed"):
        read(path)


def test_info_has_facts_and_no_identifiers(tmp_path):
    tags = {"ConvolutionKernel": "B30f", "KVP": 120, "SliceThickness": 3, "ContrastBolusAgent": "APPLIED"}
    write_series(tmp_path, SeriesSpec(STACK, tags=tags))
    info = read(tmp_path).info
    assert info["kernel"] == "B30f"
    assert info["kvp"] == "120"
    assert info["slice_thickness_mm"] == "3"
    assert info["contrast"] == "yes"
    assert "Secret" not in str(info)
    assert "APPLIED" not in str(info)


@pytest.mark.parametrize("tag", ["PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"])
def test_missing_place_is_never_invented(tmp_path, tag):
    write_series(tmp_path, SeriesSpec(STACK, leave_out=(tag,)))
    with pytest.raises(GeometryError, match=f"12 of 12 images state no valid {tag}, which is never guessed"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("tag", "value"), [("PixelSpacing", [0.0, 0.5]), ("ImageOrientationPatient", [0.0] * 6)]
)
def test_senseless_place_counts_as_missing(tmp_path, tag, value):
    write_series(tmp_path, SeriesSpec(STACK, tags={tag: value}))
    with pytest.raises(GeometryError, match=f"no valid {tag}"):
        read(tmp_path)


def test_a_single_slice_is_refused(tmp_path):
    path = write_series(tmp_path, SeriesSpec(STACK), keep=[4])[0]
    with pytest.raises(GeometryError, match="single DICOM slice, wanted a volume; give the folder"):
        read(path)


@pytest.mark.parametrize("kept", [300, 0.9])
def test_truncated_files_are_refused(tmp_path, kept):
    path = write_series(tmp_path, SeriesSpec(STACK))[5]
    data = path.read_bytes()
    path.write_bytes(data[: kept if kept > 1 else int(len(data) * kept)])
    with pytest.raises(UnreadableError, match="damaged"):
        read(tmp_path)


def test_damaged_compressed_pixels_are_refused(tmp_path):
    spec = SeriesSpec(STACK, rle=True)
    paths = write_series(tmp_path, spec)
    data = slice_dataset(spec, 0, 0)
    data.PixelData = data.PixelData[:40]
    data.save_as(paths[0], enforce_file_format=True)
    with pytest.raises(UnreadableError, match="cannot be decoded here; export the series again uncompressed"):
        read(tmp_path)


def test_pixels_unlike_their_header_are_refused(tmp_path, monkeypatch):
    write_series(tmp_path, SeriesSpec(STACK))
    monkeypatch.setattr("spinelab.io.dicom_series.read_pixels", lambda item: np.zeros((3, 3)))
    with pytest.raises(UnreadableError, match=r"holds \(3, 3\) pixels, its header says \(8, 6\)"):
        read(tmp_path)


def test_reports_beside_the_images_are_ignored(tmp_path):
    write_series(tmp_path, SeriesSpec(STACK))
    report = slice_dataset(SeriesSpec(STACK, modality="SR", leave_out=("Rows", "Columns", "PixelData")), 0, 0)
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read(tmp_path).array, STACK)


def test_files_without_preamble_are_read(tmp_path):
    for path in write_series(tmp_path, SeriesSpec(STACK)):
        path.write_bytes(path.read_bytes()[132:])
    np.testing.assert_array_equal(read(tmp_path).array, STACK)


def test_a_dicomdir_is_skipped(tmp_path):
    write_series(tmp_path, SeriesSpec(STACK))
    index = Dataset()
    index.file_meta = FileMetaDataset()
    index.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    index.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    index.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    index.FileSetID = "SET"
    index.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    np.testing.assert_array_equal(read(tmp_path).array, STACK)


def test_a_folder_without_images_is_refused(tmp_path):
    report = slice_dataset(SeriesSpec(STACK, modality="SR", leave_out=("Rows", "Columns", "PixelData")), 0, 0)
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    with pytest.raises(UnreadableError, match="holds no DICOM image; give a DICOM folder"):
        read(tmp_path)


def enhanced(spec):
    data = slice_dataset(spec, 0, 1)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = EnhancedCTImageStorage
    for name in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(data, name)
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [spec.spacing[1], spec.spacing[0]]
    plane.ImageOrientationPatient = list(spec.orientation)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    data.SharedFunctionalGroupsSequence = [shared]
    frames, stored = [], []
    for k in np.random.default_rng(3).permutation(spec.voxels.shape[2]):
        group, place, change = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [o + k * s for o, s in zip(spec.origin, spec.step, strict=True)]
        change.RescaleSlope, change.RescaleIntercept = 1, -1000 - int(k)
        group.PlanePositionSequence, group.PixelValueTransformationSequence = [place], [change]
        frames.append(group)
        stored.append((spec.voxels[:, :, k].T + 1000 + k).astype("<u2").tobytes())
    data.PerFrameFunctionalGroupsSequence = frames
    data.NumberOfFrames, data.PixelData = len(frames), b"".join(stored)
    return data


def test_enhanced_multi_frame_ct(tmp_path):
    enhanced(SeriesSpec(STACK)).save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    scan = read(tmp_path / "enhanced.dcm")
    np.testing.assert_array_equal(scan.array, STACK)
    np.testing.assert_allclose(scan.geometry.affine[:3, :3], np.diag([0.5, 0.75, 2.5]))


def test_compressed_multi_frame_without_decoder_is_refused(tmp_path):
    paths = write_series(tmp_path, SeriesSpec(voxels((64, 64, 2))))
    pack_with_itk(paths[0], "JPEG", tmp_path)
    packed, data = pydicom.dcmread(paths[0]), enhanced(SeriesSpec(voxels((64, 64, 2))))
    data.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
    data["PixelData"] = packed["PixelData"]
    (tmp_path / "multi").mkdir()
    data.save_as(tmp_path / "multi" / "m.dcm", enforce_file_format=True)
    with pytest.raises(UnreadableError, match="multi-frame and compressed, which is not read; export"):
        read(tmp_path / "multi")


def test_multi_frame_without_positions_is_refused(tmp_path):
    spec = SeriesSpec(STACK, uid=generate_uid(), leave_out=("ImagePositionPatient",))
    data = slice_dataset(spec, 0, 1)
    data.NumberOfFrames, data.PixelData = 2, data.PixelData * 2
    data.save_as(tmp_path / "multi.dcm", enforce_file_format=True)
    with pytest.raises(GeometryError, match="2 of 2 images state no valid ImagePositionPatient"):
        read(tmp_path)
