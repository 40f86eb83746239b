"""Reads every scan that arrives below a folder, one at a time, and keeps the work list; survives a kill."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from spinelab.archive import queue
from spinelab.archive.findings import find_worst
from spinelab.archive.intake import Intake, Look
from spinelab.archive.jobs import Job, Reader, Reading, Refusal
from spinelab.archive.options import WatchOptions
from spinelab.archive.process import Limits, ReaderProcess
from spinelab.archive.reading import read_scan
from spinelab.archive.store import Store
from spinelab.archive.tables import FAILED, QUEUED, SKIPPED
from spinelab.archive.workers import is_gone, name_worker
from spinelab.archive.worklist import list_work, write_worklist
from spinelab.errors import OutputError
from spinelab.io.outputs import writing

#: Folder below the store's files in which results are written until they are complete.
INCOMING = ".incoming"
WORKLIST = "worklist.csv"
_RENEW_S = 60.0
_LIST_EVERY_S = 60.0
_LEAST_PAUSE_S = 0.2
#: A look that takes longer than this goes on after the next scan is read.
_LOOK_AT_ONCE_S = 20.0
#: With `once`, places that never come to rest are waited for so many times as long as they should need.
_PATIENCE = 10.0
#: Between two looks at the folder pass so many times as long as one takes.
_LOOKING_SHARE = 10.0


@dataclass(frozen=True)
class Event:
    """Something to tell who watches.

    Attributes:
        kind: "looking" or "looked" at the folder; "read", "skipped", "failed" or "again" (will be tried once
            more) a scan.
        text: In words, without identifiers.
        case: The scan; None for looks at the folder.
        done: Scans this run has dealt with, all workers together.
        queued: Scans that wait.
        per_hour: Scans an hour, all workers together, since the run began; None before the first.
        left_s: Time the queue will take at this rate; None before the first.
    """

    kind: str
    text: str
    case: str | None
    done: int
    queued: int
    per_hour: float | None
    left_s: float | None


@dataclass(frozen=True)
class WatchSummary:
    """How a run ended.

    Attributes:
        read: Scans this worker has read.
        skipped: Scans that cannot be read.
        failed: Scans given up.
        seconds: Since it began.
        arriving: Places that had not come to rest.
    """

    read: int
    skipped: int
    failed: int
    seconds: float
    arriving: int


def watch(
    store: Store,
    folder: str | Path,
    options: WatchOptions = WatchOptions(),  # noqa: B008 frozen
    *,
    reader: Reader | None = None,
    tell: Callable[[Event], None] = lambda event: None,
) -> WatchSummary:
    """Reads every scan below a folder once, worst finding first on the work list; goes on where it stopped.

    Several workers may share a store, on one machine or many.

    Args:
        store: The results database.
        folder: What to watch, with everything below.
        options: How; with `once` it ends when everything is read, otherwise it runs until interrupted.
        reader: Reads one scan, in a process of its own; `spinelab.archive.reading.read_scan` if None.
        tell: Called with every `Event`.

    Raises:
        UnreadableError: The folder cannot be listed.
        OutputError: The database or the results cannot be written.
        SpinelabError: Whatever else no scan is to blame for, missing weights say; the scan stays queued.
    """
    chosen = reader or partial(read_scan, options=options.reading)
    limits = Limits(options.limit_minutes * 60 or None, options.limit_gb * 1000 or None)
    try:
        with ReaderProcess(chosen, limits) as process:
            return _Worker(store, Path(folder), options, process, tell).run()
    except DBAPIError as error:
        raise OutputError(
            f"the results database failed: {' '.join(str(error.orig).split())}; run the same command again, "
            "it goes on where it stopped"
        ) from error


class _Worker:
    """One worker's run."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        options: WatchOptions,
        process: ReaderProcess,
        tell: Callable[[Event], None],
    ) -> None:
        self._store, self._options, self._process, self._tell = store, options, process, tell
        self._intake = Intake(store, folder, settle_s=options.settle_s)
        self._name = name_worker()
        self._look, self._next_look = Look(), 0.0
        self._began = self._waiting_since = time.time()
        self._reading_since: float | None = None
        self._renewed = self._listed = 0.0
        self._steps: Iterator[Look] | None = None
        self._spent_looking = 0.0
        self._ended = dict.fromkeys(("read", "skipped", "failed", "again"), 0)

    def run(self) -> WatchSummary:
        if self._options.retry:
            queue.retry(self._store)
        while True:
            self._look_if_due()
            job = queue.claim(self._store, self._name, now=time.time())
            if job is not None:
                self._reading_since = self._reading_since or time.time()
                self._read(job)
                self._waiting_since = time.time()
            elif self._options.once and self._nothing_left():
                break
            else:
                self._write_list()
                time.sleep(self._pause_s())
        self._write_list(at_once=True)
        ended = self._ended
        seconds = time.time() - self._began
        return WatchSummary(ended["read"], ended["skipped"], ended["failed"], seconds, self._look.arriving)

    def _look_if_due(self) -> None:
        """Looks at the folder when it is time to, for a while; scans are read before it goes on."""
        began = time.monotonic()
        if self._steps is None:
            if began < self._next_look:
                return
            if queue.take_back(self._store, is_gone, now=time.time()) or not self._next_look:
                _clear_incoming(self._store)
            self._steps, self._spent_looking = self._intake.steps(), 0.0
            self._look = Look()
        for look in self._steps:
            self._look = look
            if time.monotonic() - began > _LOOK_AT_ONCE_S:
                self._spent_looking += time.monotonic() - began
                self._say("looking", f"{look.places} places seen, {look.entered} new scans so far", None)
                return
        self._steps = None
        self._spent_looking += time.monotonic() - began
        self._next_look = time.monotonic() + max(self._options.poll_s, _LOOKING_SHARE * self._spent_looking)
        if self._look.entered:
            text = f"{self._look.entered} new scans to read"
            text += f", {self._look.arriving} places still changing" if self._look.arriving else ""
            self._say("looked", text, None)

    def _nothing_left(self) -> bool:
        if self._steps is not None or queue.next_ready(self._store) is not None:
            return False
        if self._look.arriving == 0:
            return True
        return time.time() - self._waiting_since > _PATIENCE * self._options.settle_s + self._options.poll_s

    def _pause_s(self) -> float:
        """Returns how long there is nothing to do: until the next look, or a scan may be read again."""
        if self._steps is not None:
            return 0.0
        ready = queue.next_ready(self._store)
        until = self._next_look - time.monotonic()
        if ready is not None:
            until = min(until, ready - time.time())
        return min(max(until, _LEAST_PAUSE_S), max(self._options.poll_s, _LEAST_PAUSE_S))

    def _read(self, job: Job) -> None:
        before = _stamp(job)
        if before is None:
            queue.miss(self._store, job, now=time.time())
            self._note("skipped", "its files are no longer there", job)
            return
        self._renewed = time.monotonic()
        try:
            with _incoming(self._store, job) as out:
                answer = self._process.read(job, out, still_ours=partial(self._hold, job))
                after = _stamp(job)
                if after != before:
                    self._give_up_changed(job, gone=after is None)
                elif isinstance(answer, Refusal):
                    self._refused(job, answer)
                else:
                    self._finish(job, answer, out)
        except BaseException:
            queue.put_back(self._store, job, now=time.time())
            raise
        self._write_list()

    def _hold(self, job: Job) -> bool:
        if time.monotonic() - self._renewed < _RENEW_S:
            return True
        self._renewed = time.monotonic()
        return queue.renew(self._store, job, now=time.time())

    def _finish(self, job: Job, reading: Reading, out: Path) -> None:
        _to_disk(out)
        with writing(self._store.files):
            ours = queue.finish(self._store, job, reading, out, now=time.time())
        if ours:
            self._note("read", f"{find_worst(reading.spine).sentence} ({reading.seconds:.0f} s)", job)

    def _refused(self, job: Job, refusal: Refusal) -> None:
        end = queue.skip if refusal.final else queue.fail
        status = end(self._store, job, refusal.reason, now=time.time())
        if status is not None:
            kind = {SKIPPED: "skipped", FAILED: "failed"}.get(status, "again")
            self._note(kind, refusal.reason, job)

    def _give_up_changed(self, job: Job, *, gone: bool) -> None:
        if gone:
            queue.miss(self._store, job, now=time.time())
            self._note("skipped", "its files went away while it was read", job)
            return
        queue.forget(self._store, job.source)
        pause = self._options.settle_s + self._options.poll_s
        queue.put_back(self._store, job, now=time.time(), pause_s=pause)
        self._note("again", "its files changed while it was read", job)

    def _note(self, kind: str, text: str, job: Job) -> None:
        self._ended[kind] += 1
        self._say(kind, text, job.case)

    def _say(self, kind: str, text: str, case: str | None) -> None:
        counts = queue.count(self._store)
        done = queue.count_since(self._store, self._began)
        since = self._reading_since
        per_hour = 3600 * done / (time.time() - since) if since and done else None
        left_s = 3600 * counts[QUEUED] / per_hour if per_hour else None
        self._tell(Event(kind, text, case, done, counts[QUEUED], per_hour, left_s))

    def _write_list(self, *, at_once: bool = False) -> None:
        if at_once or time.monotonic() - self._listed > _LIST_EVERY_S:
            _write_list(self._store)
            self._listed = time.monotonic()


def _write_list(store: Store) -> None:
    """Writes the work list; once more should another worker, as it starts, have cleared the draft away."""
    draft = store.files / INCOMING / f"{WORKLIST}.{os.getpid()}"
    for again in (True, False):
        with writing(draft.parent):
            draft.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_worklist(list_work(store), store.files / WORKLIST, draft=draft)
            return
        except OutputError as error:
            if not (again and isinstance(error.__cause__, FileNotFoundError)):
                raise


def _stamp(job: Job) -> tuple[tuple[int, int], ...] | None:
    """Returns size and time of each file of a scan; None if one is gone."""
    paths = [job.source / name for name in job.files] or [job.source]
    try:
        return tuple((stat.st_size, stat.st_mtime_ns) for stat in (path.stat() for path in paths))
    except OSError:
        return None


@contextmanager
def _incoming(store: Store, job: Job) -> Iterator[Path]:
    """Gives an empty folder on the file system of the results; what is left of it at the end goes away."""
    out = store.files / INCOMING / f"{job.case}.{job.attempt}"
    with writing(out):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
    try:
        yield out
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _clear_incoming(store: Store) -> None:
    """Removes what interrupted workers left; what others are writing stays."""
    folder = store.files / INCOMING
    there = list(folder.iterdir()) if folder.is_dir() else []
    held = {f"{case}.{attempt}" for case, attempt in queue.held(store)}
    for entry in there:
        if entry.name in held:
            continue
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _to_disk(folder: Path) -> None:
    """Makes sure that a power failure does not empty files of a result that is already marked as done."""
    for entry in folder.iterdir():
        with entry.open("rb") as stream:
            os.fsync(stream.fileno())
