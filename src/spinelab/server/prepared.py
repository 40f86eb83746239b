"""What a browser needs of a case, made once and kept beside the results.

Made ahead in the background, so that a case opens at once. Whatever is asked for is looked up by the
numbers of the database; no name of a file ever comes from the browser.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from spinelab.archive.reading import load_scan
from spinelab.archive.store import Store
from spinelab.archive.tables import DONE, Result, Scan
from spinelab.errors import SpinelabError, UnreadableError
from spinelab.io import OutputFolder, read_mask
from spinelab.server.pictures import (
    BACK_MM,
    BOTTOM_MM,
    FRONT_MM,
    TOP_MM,
    draw_picture,
    find_places,
    place_points,
    trace_outlines,
)
from spinelab.server.refusals import NotThereError
from spinelab.server.volumes import COARSE_MM, lay_view, pack_mask, pack_scan
from spinelab.spine import Spine
from spinelab.volume import Mask

#: Raised whenever what is made changes; older files are then made anew.
VERSION = 3
_FOLDER = "workstation"
_LOCKS: dict[str, threading.Lock] = {}
_LOCKS_GUARD = threading.Lock()


@dataclass(frozen=True, eq=False)
class Source:
    """Where a done scan and its results lie.

    Attributes:
        image, kind, files: As `spinelab.archive.reading.load_scan` takes them.
        mask: VerSe numbers.
        spine: What was found.
    """

    image: Path
    kind: str
    files: tuple[str, ...]
    mask: Path
    spine: Spine


def case_folder(store: Store, scan_id: int) -> Path:
    """Returns where a case's files lie, made or not."""
    return store.files / _FOLDER / str(int(scan_id))


def index_path(store: Store, scan_id: int) -> Path:
    """Returns where the index of a case lies once everything of it is made."""
    return case_folder(store, scan_id) / f"case-{VERSION}.json"


def read_index(store: Store, scan_id: int) -> dict[str, Any] | None:
    """Returns the index of a prepared case; None where it has yet to be made."""
    try:
        index: dict[str, Any] = json.loads(index_path(store, scan_id).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return index


def prepare_case(store: Store, scan_id: int) -> dict[str, Any]:
    """Makes the pictures, outlines, points and views of a case unless they are there; returns its index.

    Raises:
        NotThereError: No such scan, or it has not been read.
        InputError: The scan or its mask cannot be read any more (with its subclasses).
    """
    found = read_index(store, scan_id)
    if found is not None:
        return found
    with _locked(f"{store.files}:{scan_id}"):
        found = read_index(store, scan_id)
        return found if found is not None else _make(store, scan_id)


def list_unprepared(store: Store) -> list[int]:
    """Returns the done scans whose files are still to be made, the worst findings first."""
    with store.reading() as session:
        query = select(Scan.id).join(Result).where(Scan.status == DONE).order_by(Result.rank.desc(), Scan.id)
        numbers = list(session.scalars(query))
    return [number for number in numbers if not index_path(store, number).exists()]


class Preparer(threading.Thread):
    """Prepares every case in the background until it is stopped; one at a time.

    Attributes:
        failures: Scan id -> why it could not be prepared; not tried again.
    """

    def __init__(self, store: Store, *, pause_s: float = 20.0) -> None:
        super().__init__(name="preparing cases", daemon=True)
        self.failures: dict[int, str] = {}
        self._store, self._pause_s, self._ending = store, pause_s, threading.Event()

    def run(self) -> None:
        """Prepares what is there, then looks for more every so often."""
        while not self._ending.is_set():
            for scan_id in list_unprepared(self._store):
                if self._ending.is_set():
                    return
                if scan_id in self.failures:
                    continue
                try:
                    prepare_case(self._store, scan_id)
                except (SpinelabError, OSError) as error:
                    self.failures[scan_id] = str(error)
            self._ending.wait(self._pause_s)

    def stop(self) -> None:
        """Ends the thread after the case it is at."""
        self._ending.set()
        self.join(timeout=30)


@contextmanager
def _locked(name: str) -> Iterator[None]:
    with _LOCKS_GUARD:
        lock = _LOCKS.setdefault(name, threading.Lock())
    with lock:
        yield


def _make(store: Store, scan_id: int) -> dict[str, Any]:
    source = find_source(store, scan_id)
    image, _ = load_scan(source.image, source.kind, source.files)
    mask = read_mask(source.mask)
    spine = source.spine
    view = lay_view(spine, image.geometry)
    entries = _describe(mask, spine)
    index = {"vertebrae": entries, "view_mm": view.spacing_mm[0]}
    with OutputFolder(case_folder(store, scan_id)) as folder:
        for number, place in enumerate(find_places(spine)):
            folder.path(f"v{number}.png").write_bytes(draw_picture(image, place))
        for prefix, grid in (("", view), ("coarse_", lay_view(spine, image.geometry, COARSE_MM))):
            folder.path(f"{prefix}scan.nii.gz").write_bytes(pack_scan(image, grid))
            folder.path(f"{prefix}mask.nii.gz").write_bytes(pack_mask(mask, grid))
        folder.path(index_path(store, scan_id).name).write_text(json.dumps(index), encoding="utf-8")
    return index


def _describe(mask: Mask, spine: Spine) -> list[dict[str, Any]]:
    """Returns for each vertebra its window, outlines, points and centre."""
    entries = []
    for vertebra, place, points in zip(
        spine.vertebrae, find_places(spine), place_points(mask, spine), strict=True
    ):
        outlines = trace_outlines(mask, place)
        entries.append(
            {
                "window_mm": [FRONT_MM, BACK_MM, TOP_MM, BOTTOM_MM],
                "outlines": [
                    {"own": label == vertebra.label, "lines": lines} for label, lines in outlines.items()
                ],
                "points_mm": None if points is None else [list(point) for point in points],
                "center_mm": list(vertebra.center_mm),
                "axes": place.axes.tolist(),
            }
        )
    return entries


def find_source(store: Store, scan_id: int) -> Source:
    """Returns where a read scan and its results lie.

    Raises:
        NotThereError: No such scan, or it has not been read.
        UnreadableError: It left no mask.
    """
    with store.reading() as session:
        scan = session.get(Scan, scan_id)
        if scan is None or scan.status != DONE or scan.result is None:
            raise NotThereError(f"there is no read case {scan_id}; choose one from the work list")
        result = scan.result
        folder = (store.files / result.folder).resolve()
        name = result.files.get("mask")
        if name is None:
            raise UnreadableError(f"{scan.case} has no mask among its results; read it again")
        mask = (folder / name).resolve()
        if not mask.is_relative_to(store.files.resolve()):
            raise UnreadableError(f"the mask of {scan.case} lies outside the results; read it again")
        spine = Spine.from_dict(result.spine)
        return Source(Path(scan.source), scan.kind, tuple(scan.files), mask, spine)
