import errno
import os
from pathlib import Path

import pytest

from spinelab.errors import OutputError
from spinelab.io import OutputFolder
from spinelab.io.outputs import writing


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def write_half(folder: Path, error: BaseException) -> None:
    with OutputFolder(folder) as out:
        out.path("a.txt").write_text("half")
        raise error


def write_files(folder: Path, *files: str) -> None:
    with OutputFolder(folder) as out:
        for name in files:
            out.path(name).write_text("new")


def test_files_appear_together_at_the_end(tmp_path):
    target = tmp_path / "new" / "out"
    with OutputFolder(target) as out:
        out.path("a.txt").write_text("a")
        out.path("b.txt").write_text("b")
        assert not (target / "a.txt").exists()
    assert names(target) == ["a.txt", "b.txt"]
    assert (target / "b.txt").read_text() == "b"


def test_existing_files_are_replaced_and_others_stay(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "c.txt").write_text("other")
    with OutputFolder(tmp_path) as out:
        out.path("a.txt").write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["a.txt", "c.txt"]


def test_an_error_leaves_everything_as_it_was(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ValueError, match="stop"):
        write_half(tmp_path, ValueError("stop"))
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_folder_made_for_the_occasion_goes_away(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "x" / "y", KeyboardInterrupt())
    assert names(tmp_path) == []


def test_a_failing_move_is_taken_back(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "c.txt").mkdir()  # in the way
    (tmp_path / "c.txt" / "inside").touch()
    real_replace = os.replace

    def replace(source, target):
        if Path(source).name == "c.txt":
            raise OSError(errno.EEXIST, "exists", str(target))
        real_replace(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OutputError, match="a file of that name is in the way; choose another"):
        write_files(tmp_path, "a.txt", "b.txt", "c.txt")
    assert names(tmp_path) == ["a.txt", "c.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another"), OutputFolder(tmp_path / "file" / "out"):
        pytest.fail("must not get here")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.EACCES, "no permission to write there; choose an output folder you may write to"),
        (errno.EROFS, "the disk is read-only"),
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EIO, "Input/output error; choose another output folder"),
    ],
)
def test_reasons_are_named(tmp_path, monkeypatch, code, message):
    def refuse(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(OutputError, match=message), OutputFolder(tmp_path / "new"):
        pytest.fail("must not get here")
    assert names(tmp_path) == []


def test_a_disk_that_fills_up_inside_the_block(tmp_path):
    with pytest.raises(OutputError, match="disk is full; free some space"), OutputFolder(tmp_path / "o"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_errors_about_other_files_pass_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"), OutputFolder(tmp_path / "o"):
        (tmp_path / "gone").read_text()


@pytest.mark.parametrize("name", ["", "a/b.txt", "../b.txt"])
def test_only_plain_names(tmp_path, name):
    with pytest.raises(OutputError, match="plain file name"), OutputFolder(tmp_path) as out:
        out.path(name)


def test_writing_names_the_path(tmp_path):
    with (
        pytest.raises(OutputError, match=r"cannot write .*x/y\.csv: the folder does not exist"),
        writing(Path("x/y.csv")),
    ):
        (tmp_path / "no" / "y.csv").write_text("")
