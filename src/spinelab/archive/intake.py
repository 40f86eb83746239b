"""Takes in what arrives below a folder: waits until it is complete and enters it into the queue, once."""

import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from spinelab.archive.places import PlaceFinder, PlaceSeen, Settling, see_again
from spinelab.archive.queue import FoundScan, enter
from spinelab.archive.store import Store
from spinelab.archive.studies import choose_scan, group_by_study, hash_files, hash_text
from spinelab.archive.tables import Place

#: Studies are put together and entered when so many new DICOM folders were seen.
_BATCH = 100


@dataclass
class Look:
    """What one look at a folder found, so far.

    Attributes:
        places: Files and folders in which scans lie or should lie.
        entered: New scans to read.
        arriving: Places that still change, or changed not long enough ago.
    """

    places: int = 0
    entered: int = 0
    arriving: int = 0


@dataclass
class _DicomFolders:
    """DICOM folders to take in, the studies in them and in all others, those that are still arriving."""

    fresh: dict[Path, PlaceSeen]
    studies: dict[Path, list[str]]
    arriving: set[str]

    def by_study(self) -> dict[str, list[Path]]:
        """Returns every folder of each study that has something new."""
        wanted = {study for folder in self.fresh for study in self.studies[folder]}
        groups = defaultdict(list)
        for folder, studies in self.studies.items():
            for study in wanted.intersection(studies):
                groups[study].append(folder)
        return groups


class Intake:
    """Looks at a folder again and again and enters into the queue what is new and at rest.

    Args:
        store: Where scans are entered, and places remembered.
        folder: What to look at, with everything below; hidden files and folders are left out.
        settle_s: See `Settling`.
        clock: Gives seconds since 1970.
    """

    def __init__(
        self, store: Store, folder: Path, *, settle_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._folder = folder.absolute()
        self._finder = PlaceFinder(self._folder, (store.files,))
        self._settling = Settling(settle_s)
        self._clock = clock

    def look(self) -> Look:
        """Looks once, from beginning to end.

        Raises:
            UnreadableError: The folder is not there or cannot be listed.
        """
        return deque(self.steps(), maxlen=1).pop()

    def steps(self) -> Iterator[Look]:
        """Looks once, in many steps between which scans may be read; yields what was found so far.

        Where there is much that is new, folders directly below the watched one are taken in a batch after the
        other, so that little is held in memory and little is done again after an interruption.

        Raises:
            UnreadableError: The folder is not there or cannot be listed.
        """
        look, known = Look(), self._known()
        studies = {path: there for path, (_, there) in known.items() if there}
        folders = _DicomFolders({}, studies, set())
        for _, places in groupby(self._finder.walk(), self._branch):
            for seen in places:
                look.places += 1
                if known.get(seen.path, ("", []))[0] != seen.fingerprint:
                    self._take_place(seen, folders, look)
                yield look
            if len(folders.fresh) >= _BATCH:
                yield from self._take_studies(folders, look)
                folders = _DicomFolders({}, studies, folders.arriving)
        yield from self._take_studies(folders, look)
        yield look

    def _branch(self, seen: PlaceSeen) -> str:
        """Returns which folder directly below the watched one a place lies in; "" for the watched one."""
        parts = seen.path.relative_to(self._folder).parts
        return parts[0] if len(parts) > 1 or (seen.kind == "dicom" and parts) else ""

    def _known(self) -> dict[Path, tuple[str, list[str]]]:
        with self._store.reading() as session:
            rows = session.execute(select(Place.path, Place.fingerprint, Place.studies))
            return {Path(path): (fingerprint, studies) for path, fingerprint, studies in rows}

    def _take_place(self, seen: PlaceSeen, folders: _DicomFolders, look: Look) -> None:
        if not self._settling.at_rest(seen, self._clock()):
            look.arriving += 1
            if seen.kind == "dicom":
                folders.arriving |= group_by_study(seen.files[:1], seen.path).keys()
        elif seen.kind == "dicom":
            folders.fresh[seen.path] = seen
            folders.studies[seen.path] = list(group_by_study(seen.files, seen.path))
        else:
            self._take_file(seen, look)

    def _take_file(self, seen: PlaceSeen, look: Look) -> None:
        try:
            scan = FoundScan(hash_files(seen.files), str(seen.path), seen.kind)
        except OSError as error:  # not remembered, so that it is tried again at the next look
            key = hash_text(f"unreadable {seen.path} {seen.fingerprint}")
            reason = f"cannot be read: {error.strerror or error}; check its rights"
            self._enter(FoundScan(key, str(seen.path), seen.kind, reason=reason), [seen], look)
            return
        if self._enter(scan, [seen], look):
            self._remember(seen, [])

    def _take_studies(self, folders: _DicomFolders, look: Look) -> Iterator[Look]:
        later: set[Path] = set()
        for study, there in folders.by_study().items():
            yield look
            if study in folders.arriving:
                later.update(there)
                continue
            files = [file for folder in there for file in _files_of(study, folder, folders.studies[folder])]
            fresh = [folders.fresh[folder] for folder in there if folder in folders.fresh]
            if files and not self._enter(choose_scan(study, files), fresh, look):
                later.update(there)
        for folder, seen in folders.fresh.items():
            if folder not in later:
                self._remember(seen, folders.studies[folder])

    def _enter(self, scan: FoundScan, places: Sequence[PlaceSeen], look: Look) -> bool:
        """Enters a scan unless its files have changed while they were looked at; then returns False."""
        for seen in places:
            again = see_again(seen)
            if again is None or again.fingerprint != seen.fingerprint:
                look.arriving += 1
                return False
        look.entered += enter(self._store, scan, now=self._clock())
        return True

    def _remember(self, seen: PlaceSeen, studies: list[str]) -> None:
        with suppress(IntegrityError), self._store.writing() as session:  # another worker was quicker
            place = session.scalars(select(Place).where(Place.path == str(seen.path))).one_or_none()
            if place is None:
                session.add(Place(path=str(seen.path), fingerprint=seen.fingerprint, studies=studies))
            else:
                place.fingerprint, place.studies = seen.fingerprint, studies


def _files_of(study: str, folder: Path, studies: Sequence[str]) -> list[Path]:
    """Returns the files of a study in a folder; all of them where there is no other study."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_file() and entry.name[0] != ".")
    except OSError:
        return []
    files = [folder / name for name in names]
    return files if len(studies) == 1 else group_by_study(files, folder).get(study, [])
