"""SPIDER pictures become scans with named bodies."""

import csv

import numpy as np
import pytest

pytest.importorskip("torch")

import SimpleITK

from spinelab.errors import InputError
from spinelab.io import read, read_mask
from spinelab.train.spider import convert_spider, name_bodies
from spinelab.volume import Geometry, Mask

#: Heights (from the feet) of bodies and discs, 12 and 5 voxels high.
BODIES, DISCS = (60, 40, 20), (53, 33, 13)


def make_mask():
    array = np.zeros((1, 90, 80), np.uint8)
    for start in BODIES:
        array[0, 20:45, start : start + 13] = 76
        array[0, 65:80, start : start + 12] = 76  # spinous processes
    for start in DISCS:
        array[0, 20:45, start : start + 6] = 29
    array[0, 48:58, 5:75] = 150
    array[0, 20:24, 2:6] = 76  # a speck
    return Mask(array, Geometry.from_spacing(array.shape, (4.0, 1.0, 1.0)))


def test_bodies_are_named_up_from_the_sacrum_and_processes_left_away():
    found = name_bodies(make_mask())
    assert found.labels() == (22, 23, 24)
    assert (found.array[0, 30, [66, 46, 26]] == (22, 23, 24)).all()
    assert not found.array[0, 60:].any()


def test_a_slice_without_a_canal_keeps_all_it_shows_and_one_without_bones_is_empty():
    mask = make_mask()
    mask.array[mask.array == 150] = 0
    assert name_bodies(mask).labels()[-1] == 24
    mask.array[mask.array == 76] = 0
    assert name_bodies(mask).labels() == ()


def write_picture(array, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))


def test_a_folder_is_converted_and_what_has_no_known_size_is_left_out(tmp_path):
    picture = np.ascontiguousarray(make_mask().array[0].T[::-1])
    for number in (1, 2):
        write_picture(picture, tmp_path / "in" / "slices" / f"7_t2_SPACE_slice{number}.jpg")
    write_picture(picture, tmp_path / "in" / "slice_masks" / "7_t2_SPACE_slice1.png")
    write_picture(
        np.where(picture == 150, 0, picture), tmp_path / "in" / "slice_masks" / "7_t2_SPACE_slice2.png"
    )
    write_picture(picture, tmp_path / "in" / "images" / "7_t2.jpg")
    write_picture(np.zeros((640, 300), np.uint8), tmp_path / "in" / "images" / "7_t2_SPACE.jpg")
    with (tmp_path / "in" / "overview.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["new_file_name", "PixelSpacing"])
        writer.writerows([["7_t2", "[1.5, 1.5]"], ["7_t2_SPACE", "[.75, .75]"]])
    left_out = convert_spider(tmp_path / "in", tmp_path / "out")
    assert left_out == ["7_t2_SPACE: resized, the size of its pixels is unknown"]
    assert [path.name for path in (tmp_path / "out" / "unlabelled").iterdir()] == ["spider_7_t2.nii.gz"]
    image = read(tmp_path / "out" / "labelled" / "spider_7_t2space.nii.gz")
    bodies = read_mask(tmp_path / "out" / "labelled" / "spider_7_bodies.nii.gz")
    assert bodies.labels() == (22, 23, 24)
    assert sorted(image.spacing_mm) == pytest.approx([0.75, 0.75, 4.0])
    assert bodies.geometry.same_grid(image.geometry)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no overview\.csv; give the folder that holds images"):
        convert_spider(tmp_path, tmp_path / "out")
