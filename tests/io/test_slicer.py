import re

import numpy as np
import pytest
import SimpleITK

from spinelab.anatomy import LEVELS
from spinelab.errors import OutputError
from spinelab.io import read_mask
from spinelab.io.slicer import segment_color, write_segmentation
from spinelab.spine import Spine, Vertebra
from spinelab.volume import Mask
from tests.io.volumes import CODES, SHAPE, grid, labels

EMPTY = Spine(())


@pytest.mark.parametrize("codes", CODES[::3])
@pytest.mark.parametrize("shear", [0.0, 0.3])
def test_voxels_and_grid_come_back(tmp_path, codes, shear):
    mask = labels(grid(codes=codes, turn_deg=11, shear=shear))
    write_segmentation(mask, EMPTY, tmp_path / "x.seg.nrrd")
    back = read_mask(tmp_path / "x.seg.nrrd")
    assert back.geometry.same_grid(mask.geometry)
    np.testing.assert_array_equal(back.array, mask.array)


def header(path) -> dict[str, str]:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}


def test_segments_have_names_extents_colours_and_terms(tmp_path):
    array = np.zeros(SHAPE, np.uint8)
    array[2:5, 3:4, 6:9] = 19
    array[2:5, 3:6, 1:4] = 20
    array[8, 9, 11] = 28
    spine = Spine((Vertebra("T12", (0, 0, 9), 0.9876), Vertebra("L1", (0, 0, 0), 0.5, complete=False)))
    write_segmentation(Mask(array, grid()), spine, tmp_path / "x.seg.nrrd")
    fields = header(tmp_path / "x.seg.nrrd")
    assert [fields[f"Segment{n}_Name"] for n in range(3)] == ["T12", "L1", "T13"]
    assert [fields[f"Segment{n}_LabelValue"] for n in range(3)] == ["19", "20", "28"]
    assert fields["Segment0_ID"] == "T12"
    assert fields["Segment0_Layer"] == "0"
    assert fields["Segment0_Extent"] == "2 4 3 3 6 8"
    assert re.fullmatch(r"0\.\d+ 0\.\d+ 0\.\d+", fields["Segment0_Color"])
    assert fields["Segment0_Tags"] == (
        "TerminologyEntry:Segmentation category and type - DICOM master list"
        "~SCT^123037004^Anatomical Structure~SCT^23215003^Twelfth thoracic vertebra~^^"
        "~Anatomic codes - DICOM master list~^^~^^|spinelab.probability:0.988|spinelab.complete:true|"
    )
    assert "spinelab.complete:false" in fields["Segment1_Tags"]
    assert (
        "~SCT^51282000^Vertebra~^^~Anatomic codes - DICOM master list~SCT^122495006^Thoracic spine~^^|"
        in (fields["Segment2_Tags"])
    )
    assert "Segment3_ID" not in fields
    assert fields["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"


def test_an_empty_mask_is_written(tmp_path):
    write_segmentation(Mask(np.zeros(SHAPE, np.uint8), grid()), EMPTY, tmp_path / "e.seg.nrrd")
    assert read_mask(tmp_path / "e.seg.nrrd").labels() == ()


def test_wide_arrays_of_small_labels_are_written(tmp_path):
    mask = labels(grid())
    write_segmentation(Mask(mask.array.astype(np.int32), mask.geometry), EMPTY, tmp_path / "w.seg.nrrd")
    np.testing.assert_array_equal(read_mask(tmp_path / "w.seg.nrrd").array, mask.array)


def test_colours_differ():
    colors = np.array([segment_color(level) for level in LEVELS])
    gaps = np.abs(colors[:, None] - colors[None]).max(axis=2) + np.eye(len(colors))
    assert gaps.min() > 0.01
    assert np.abs(np.diff(colors[:-2], axis=0)).max(axis=1).min() > 0.1  # neighbours


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x.nrrd", 1, "by .seg.nrrd, found 'x.nrrd'"),
        ("x.seg.nrrd", 300, "labels above 255"),
        ("x.seg.nrrd", 99, "label 99 is no VerSe number"),
    ],
)
def test_refusals(tmp_path, name, value, message):
    with pytest.raises(OutputError, match=message):
        write_segmentation(Mask(np.full(SHAPE, value, np.uint16), grid()), EMPTY, tmp_path / name)


def test_a_full_disk_is_named(tmp_path):
    (tmp_path / "f.seg.nrrd").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="disk is full"):
        write_segmentation(labels(grid()), EMPTY, tmp_path / "f.seg.nrrd")
