"""Where scans may lie, and when they are at rest."""

import os

import pytest

from spinelab.archive.places import PlaceFinder, Settling, see_again, see_file
from spinelab.errors import UnreadableError
from tests.archive.scans import write_file, write_study

UID = "1.2.1003.1"


def walk(folder, *leave_out):
    return {str(seen.path.relative_to(folder)): seen for seen in PlaceFinder(folder, leave_out).walk()}


def test_volumes_zips_and_folders_of_dicom_are_places_and_nothing_else(tmp_path):
    for name in ("a.nii.gz", "b/c.nrrd", "b/d.ZIP", "b/e.mha", "notes.txt", "b/picture.png", ".hidden.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "f.nii").write_text("x")
    write_study(tmp_path / "study" / "series", 5, UID)
    found = walk(tmp_path)
    assert {name: seen.kind for name, seen in found.items()} == {
        "a.nii.gz": "volume",
        "b/c.nrrd": "volume",
        "b/d.ZIP": "zip",
        "b/e.mha": "volume",
        "study/series": "dicom",
    }
    assert len(found["study/series"].files) == 9


def test_the_results_are_left_out_and_links_in_a_circle_end(tmp_path):
    write_file(tmp_path / "results" / "mask.nrrd", 1)
    write_file(tmp_path / "a" / "scan.nrrd", 1)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "broken.nrrd").symlink_to(tmp_path / "nowhere")
    assert set(walk(tmp_path, tmp_path / "results")) == {"a/scan.nrrd"}


def test_a_linked_scan_is_found(tmp_path):
    write_file(tmp_path / "elsewhere" / "scan.nrrd", 1)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "scan.nrrd").symlink_to(tmp_path / "elsewhere" / "scan.nrrd")
    assert set(walk(tmp_path / "in")) == {"scan.nrrd"}


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(
        UnreadableError, match=r"none cannot be listed: No such file or directory; check the name"
    ):
        list(PlaceFinder(tmp_path / "none").walk())


def test_the_fingerprint_follows_names_sizes_and_times(tmp_path):
    files = write_study(tmp_path / "s", 5, UID)
    first = walk(tmp_path)["s"]
    assert see_again(first) == first
    os.utime(files[0], (1, 1))
    touched = see_again(first)
    files[0].rename(files[0].with_name("other"))
    renamed = see_again(first)
    (tmp_path / "s" / "other").unlink()
    fewer = see_again(first)
    assert len({seen.fingerprint for seen in (first, touched, renamed, fewer)}) == 4
    assert walk(tmp_path)["s"].fingerprint == fewer.fingerprint


def test_what_is_gone_is_none(tmp_path):
    path = write_file(tmp_path / "a.nrrd", 1)
    write_study(tmp_path / "s", 5, UID)
    found = walk(tmp_path)
    path.unlink()
    for file in (tmp_path / "s").iterdir():
        file.unlink()
    assert see_again(found["a.nrrd"]) is None
    assert see_again(found["s"]) is None
    (tmp_path / "s").rmdir()
    assert see_again(found["s"]) is None


def test_the_data_file_of_a_header_belongs_to_it(tmp_path):
    header = tmp_path / "scan.mhd"
    header.write_text("ObjectType = Image\nElementDataFile = scan.raw\n")
    alone = see_file(header, "volume")
    (tmp_path / "scan.raw").write_text("voxels")
    both = see_file(header, "volume")
    assert (alone.files, both.files) == ((header,), (header, tmp_path / "scan.raw"))
    assert alone.fingerprint != both.fingerprint
    header.write_text("ObjectType = Image\nElementDataFile = LOCAL\n")
    assert see_file(header, "volume").files == (header,)
    header.write_text("ElementDataFile = ../outside.raw\n")
    (tmp_path.parent / "outside.raw").write_text("")
    assert see_file(header, "volume").files == (header,)


def test_a_place_is_at_rest_when_its_files_are_old(tmp_path):
    seen = see_file(write_file(tmp_path / "a.nrrd", 1), "volume")
    assert not Settling(60.0).at_rest(seen, seen.newest + 59.0)
    assert Settling(60.0).at_rest(seen, seen.newest + 60.0)


def test_old_times_set_by_a_copy_do_not_make_it_rest(tmp_path):
    path = write_file(tmp_path / "a.nrrd", 1)
    os.utime(path, (1000.0, 1000.0))
    seen = see_file(path, "volume")
    assert seen.newest == path.stat().st_ctime
    assert not Settling(60.0).at_rest(seen, seen.newest + 1.0)


def test_a_new_file_in_a_folder_of_old_ones_counts(tmp_path):
    write_study(tmp_path / "s", 5, UID)
    seen = walk(tmp_path)["s"]
    assert seen.newest == max(f.stat().st_ctime for f in [tmp_path / "s", *(tmp_path / "s").iterdir()])


def test_with_a_clock_ahead_it_rests_after_it_has_looked_the_same_for_long_enough(tmp_path):
    path = write_file(tmp_path / "a.nrrd", 1)
    os.utime(path, (4e9, 4e9))
    settling, seen = Settling(60.0), see_file(path, "volume")
    assert not settling.at_rest(seen, 1e9)
    assert not settling.at_rest(seen, 1e9 + 59)
    path.write_bytes(b"longer than it was" * 99)
    os.utime(path, (4e9, 4e9))
    changed = see_file(path, "volume")
    assert not settling.at_rest(changed, 1e9 + 61)
    assert settling.at_rest(changed, 1e9 + 121)
