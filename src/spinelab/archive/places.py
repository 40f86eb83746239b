"""Where scans may lie below a folder (volume files, zips, folders of DICOM files), and which are at rest."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from spinelab.errors import UnreadableError
from spinelab.io.dicom import is_dicom

Kind = Literal["dicom", "volume", "zip"]

_VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_DETACHED = (".nhdr", ".mhd")
_DATA_FILE = re.compile(rb"^(?:ElementDataFile|data ?file)\s*[=:]\s*(\S[^\r\n]*?)\s*$", re.I | re.M)
#: Files on their way: rsync, browsers and transfer programs rename them when they are complete.
_ARRIVING = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".filepart")
#: Never a DICOM image, so not worth opening.
_OTHERS = (
    ".txt", ".json", ".csv", ".tsv", ".xml", ".html", ".md", ".pdf", ".png", ".jpg", ".jpeg", ".log", ".db",
    ".raw", ".gz", ".xlsx", ".docx", ".py", ".exe", ".dll", ".ini", ".inf",
)  # fmt: skip


@dataclass(frozen=True)
class PlaceSeen:
    """A place where a scan may lie, as it was at one moment.

    Attributes:
        path: The file, or the folder whose own files are DICOM.
        kind: "dicom", "volume" or "zip".
        files: The files it is made of.
        fingerprint: Changes with names, sizes and times of the files.
        newest: Latest time of change of any of them, seconds since 1970.
    """

    path: Path
    kind: Kind
    files: tuple[Path, ...]
    fingerprint: str
    newest: float


@dataclass
class PlaceFinder:
    """Walks a folder; remembers which folders hold no DICOM, so that these are not opened at every look.

    Attributes:
        folder: Where to look.
        leave_out: Folders not to enter: where the results lie.
    """

    folder: Path
    leave_out: tuple[Path, ...] = ()
    _kinds: dict[Path, tuple[str, bool]] = field(default_factory=dict)

    def walk(self) -> Iterator[PlaceSeen]:
        """Yields every place, in the order of their names.

        Raises:
            UnreadableError: The folder is not there or cannot be listed.
        """
        try:
            os.scandir(self.folder).close()
        except OSError as error:
            raise UnreadableError(
                f"{self.folder} cannot be listed: {error.strerror or error}; check the name and its rights"
            ) from error
        for name, folders, files in os.walk(self.folder):
            here = Path(name)
            folders[:] = sorted(
                f for f in folders if not f.startswith(".") and here / f not in self.leave_out
            )
            yield from self._places(here, sorted(f for f in files if not f.startswith(".")))

    def _places(self, here: Path, names: list[str]) -> Iterator[PlaceSeen]:
        rest = []
        for name in names:
            path, lower = here / name, name.lower()
            if lower.endswith(_VOLUMES):
                seen = see_file(path, "volume")
            elif lower.endswith(".zip"):
                seen = see_file(path, "zip")
            else:
                rest.append(path)
                continue
            if seen is not None:
                yield seen
        seen = see_folder(here, rest) if rest else None
        if seen is not None and self._holds_dicom(seen):
            yield seen

    def _holds_dicom(self, seen: PlaceSeen) -> bool:
        known = self._kinds.get(seen.path)
        if known is None or known[0] != seen.fingerprint:
            maybe = (file for file in seen.files if not file.name.lower().endswith(_OTHERS + _ARRIVING))
            known = (seen.fingerprint, any(is_dicom(file) for file in maybe))
            self._kinds[seen.path] = known
        return known[1]


def see_again(seen: PlaceSeen) -> PlaceSeen | None:
    """Looks at a place once more; None if it is gone."""
    if seen.kind != "dicom":
        return see_file(seen.path, seen.kind)
    try:
        with os.scandir(seen.path) as entries:
            names = sorted(entry.name for entry in entries if not entry.is_dir())
    except OSError:
        return None
    taken = (*_VOLUMES, ".zip")
    files = [seen.path / n for n in names if not n.startswith(".") and not n.lower().endswith(taken)]
    return see_folder(seen.path, files)


def see_file(path: Path, kind: Kind) -> PlaceSeen | None:
    """Returns a file and those its header names as one place; None if it is gone."""
    files = (path, *_data_files(path)) if path.name.lower().endswith(_DETACHED) else (path,)
    return _see(path, kind, files, ())


def see_folder(folder: Path, files: list[Path]) -> PlaceSeen | None:
    """Returns the files directly in a folder as one place; None if it is gone."""
    return _see(folder, "dicom", tuple(files), (folder,))


def _see(path: Path, kind: Kind, files: tuple[Path, ...], also: tuple[Path, ...]) -> PlaceSeen | None:
    digest = hashlib.sha256()
    there, newest = [], 0.0
    for entry in (*files, *also):
        try:
            stat = entry.stat()
        except OSError:  # gone since it was listed, or a link that leads nowhere
            continue
        newest = max(newest, stat.st_mtime, _changed(stat))
        if entry not in also:
            there.append(entry)
            what = f"{entry.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0"
            digest.update(what.encode(errors="surrogateescape"))
    if not there or (kind != "dicom" and there[0] != path):
        return None
    return PlaceSeen(path, kind, tuple(there), digest.hexdigest(), newest)


def _changed(stat: os.stat_result) -> float:
    """Returns when a file was last touched in any way; a copy cannot set this back, as it can the mtime."""
    return 0.0 if os.name == "nt" else stat.st_ctime


def _data_files(header: Path) -> tuple[Path, ...]:
    """Returns the files beside a header that its text names as those of its voxels."""
    try:
        with header.open("rb") as stream:
            start = stream.read(65536)
    except OSError:
        return ()
    names = [name.decode(errors="replace") for name in _DATA_FILE.findall(start)]
    paths = [header.parent / name for name in names if name.upper() != "LOCAL"]
    return tuple(path for path in paths if path.is_file() and path.parent == header.parent)


@dataclass
class Settling:
    """Tells which places are at rest: nothing of them has changed for `settle_s`.

    The times of the files tell it of a place seen for the first time, unless they lie in the future because a
    server's clock is ahead. A place that was seen to change counts from then by our own clock.
    """

    settle_s: float
    _since: dict[Path, tuple[str, float]] = field(default_factory=dict)

    def at_rest(self, seen: PlaceSeen, now: float) -> bool:
        """Tells whether a place is at rest at `now`, in seconds since 1970."""
        known = self._since.get(seen.path)
        if known is None:
            known = (seen.fingerprint, seen.newest if seen.newest <= now else now)
        elif known[0] != seen.fingerprint:
            known = (seen.fingerprint, now)
        self._since[seen.path] = known
        return now - known[1] >= self.settle_s
