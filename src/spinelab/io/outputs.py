"""Writing so that a reader of the output never meets half of it."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from spinelab.errors import OutputError

_STAGING_PREFIX = ".spinelab-"
_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space or choose another output folder"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or choose another output folder"),
    errno.EACCES: ("no permission to write there", "choose an output folder you may write to"),
    errno.EPERM: ("no permission to write there", "choose an output folder you may write to"),
    errno.EROFS: ("the disk is read-only", "choose an output folder you may write to"),
    errno.ENOENT: ("the folder does not exist", "create it first or choose another one"),
    errno.ENOTDIR: ("part of the path is a file, not a folder", "choose another output folder"),
    errno.EISDIR: ("it is a folder", "give a file name"),
    errno.EEXIST: ("a file of that name is in the way", "choose another output folder"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
}


def output_error(path: Path, error: OSError) -> OutputError:
    """Returns the error that tells why `path` cannot be written and what to do."""
    fallback = (error.strerror or str(error), "choose another output folder")
    reason, step = _REASONS.get(error.errno or 0, fallback)
    return OutputError(f"cannot write {path}: {reason}; {step}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns every failure of the operating system inside the block into an `OutputError` about `path`."""
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error


class OutputFolder:
    """A folder that gets all of its files or none of them.

    Inside the ``with`` block files are written into a hidden folder beside their targets. When the block
    ends well they are all moved into place, when it raises nothing is changed: files that were there
    before stay as they were, and a folder created for the occasion goes away.

    Args:
        folder: Where the files go; created (with its parents) if it is not there.

    Raises:
        OutputError: The folder cannot be made or written, or the disk is full.

    Example:
        >>> import tempfile, pathlib
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "results"
        >>> with OutputFolder(target) as out:
        ...     _ = out.path("note.txt").write_text("done")
        >>> [file.name for file in target.iterdir()]
        ['note.txt']
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._staging: Path | None = None
        self._created: list[Path] = []

    def __enter__(self) -> Self:
        with writing(self.folder):
            self._make_folder()
            try:
                self._staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=self.folder))
            except OSError:
                self._remove_created()
                raise
        return self

    def path(self, name: str) -> Path:
        """Returns where to write the file that will be `name` in the folder.

        Raises:
            OutputError: `name` is not a plain file name.
        """
        assert self._staging is not None, "use inside the with block"
        if not name or Path(name).name != name:
            raise OutputError(f"an output is a plain file name, found {name!r}; leave out the folder")
        return self._staging / name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._staging is not None
        try:
            if kind is None:
                with writing(self.folder):
                    self._move_into_place(self._staging)
        except OutputError:
            self._abandon()
            raise
        if kind is not None:
            self._abandon()
            if isinstance(error, OSError) and self._is_ours(error):
                raise output_error(self.folder, error) from error
        else:
            shutil.rmtree(self._staging, ignore_errors=True)

    def _is_ours(self, error: OSError) -> bool:
        """Tells whether an error raised in the block is about the output and not about something read."""
        return error.errno in {errno.ENOSPC, errno.EDQUOT} or _STAGING_PREFIX in str(error.filename or "")

    def _make_folder(self) -> None:
        missing = []
        folder = self.folder
        while not folder.exists() and folder != folder.parent:
            missing.append(folder)
            folder = folder.parent
        self.folder.mkdir(parents=True, exist_ok=True)
        self._created = missing

    def _move_into_place(self, staging: Path) -> None:
        new = sorted(entry for entry in staging.iterdir() if entry.is_file())
        backup = staging / "replaced"
        backup.mkdir()
        done: list[tuple[Path, Path | None]] = []
        try:
            for source in new:
                target = self.folder / source.name
                kept = None
                if target.exists():
                    kept = backup / source.name
                    os.replace(target, kept)
                done.append((target, kept))
                os.replace(source, target)
        except OSError:
            _undo(done)
            raise

    def _abandon(self) -> None:
        assert self._staging is not None
        shutil.rmtree(self._staging, ignore_errors=True)
        self._remove_created()

    def _remove_created(self) -> None:
        for folder in self._created:
            try:
                folder.rmdir()
            except OSError:  # somebody else has put something there meanwhile
                return


def _undo(done: list[tuple[Path, Path | None]]) -> None:
    """Takes back moves (target, the file that was there before or None), the last one first."""
    for target, kept in reversed(done):
        if kept is not None:
            os.replace(kept, target)
        else:
            target.unlink(missing_ok=True)
