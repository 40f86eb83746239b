"""Takes in what arrives below a folder: waits until it is complete and enters it into the queue, once."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from spinelab.archive.places import PlaceFinder, PlaceSeen, Settling, see_again
from spinelab.archive.queue import FoundScan, enter
from spinelab.archive.store import Store
from spinelab.archive.studies import choose_scan, group_by_study, hash_files, hash_text
from spinelab.archive.tables import Place


@dataclass
class Look:
    """What one look at a folder found.

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
    """The DICOM folders of one look: those to take in, those studies are still arriving in, all by study."""

    fresh: dict[Path, PlaceSeen] = field(default_factory=dict)
    studies: dict[Path, list[str]] = field(default_factory=dict)
    arriving: set[str] = field(default_factory=set)

    def by_study(self) -> dict[str, list[Path]]:
        """Returns the folders of each study with something new, from a study in one folder to one in many."""
        groups = defaultdict(list)
        for folder, studies in self.studies.items():
            for study in studies:
                groups[study].append(folder)
        return {
            study: folders for study, folders in groups.items() if not self.fresh.keys().isdisjoint(folders)
        }


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
        self._finder = PlaceFinder(folder.absolute(), (store.files,))
        self._settling = Settling(settle_s)
        self._clock = clock

    def look(self, tell: Callable[[Look], None] = lambda look: None) -> Look:
        """Looks once.

        Args:
            tell: Called again and again with what was found so far.

        Raises:
            UnreadableError: The folder is not there or cannot be listed.
        """
        look, folders = Look(), _DicomFolders()
        known = self._known()
        for seen in self._finder.walk():
            look.places += 1
            tell(look)
            fingerprint, studies = known.get(str(seen.path), ("", []))
            if fingerprint == seen.fingerprint:
                folders.studies[seen.path] = studies
            elif not self._settling.at_rest(seen, self._clock()):
                look.arriving += 1
                if seen.kind == "dicom":
                    folders.arriving |= group_by_study(seen.files[:1], seen.path).keys()
            elif seen.kind == "dicom":
                folders.fresh[seen.path] = seen
                folders.studies[seen.path] = list(group_by_study(seen.files, seen.path))
            else:
                self._take_file(seen, look)
        self._take_studies(folders, look, tell)
        return look

    def _known(self) -> dict[str, tuple[str, list[str]]]:
        with self._store.reading() as session:
            rows = session.execute(select(Place.path, Place.fingerprint, Place.studies))
            return {path: (fingerprint, studies) for path, fingerprint, studies in rows}

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

    def _take_studies(self, folders: _DicomFolders, look: Look, tell: Callable[[Look], None]) -> None:
        later: set[Path] = set()
        for study, there in folders.by_study().items():
            tell(look)
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
