"""The queue: entering scans, claiming one, and what becomes of it. Each function is one transaction.

A worker holds a scan by its name and the number of the attempt until its lease runs out; what it reports
later, when somebody else has taken over, changes nothing.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from spinelab.archive.findings import find_worst, rows_of
from spinelab.archive.jobs import Job, Reading
from spinelab.archive.store import Store
from spinelab.archive.tables import DONE, FAILED, QUEUED, READING, SKIPPED, STATUSES, Place, Result, Scan

#: A claim that is not renewed for so long is anybody's, seconds.
LEASE_S = 600.0
#: A scan that crashed the reader, or ran out of time or memory, so often is given up.
MOST_FAILURES = 2
#: A scan during which workers ended for whatever reason so often is given up.
MOST_ATTEMPTS = 20
_REPLACED = "more or other images of the same study arrived; they are read in its place"
_GONE = "its files are no longer where they were; it is read when they are back"


@dataclass(frozen=True)
class FoundScan:
    """A scan that has arrived, or something that should be one.

    Attributes:
        key: Hash of its content.
        source: Absolute path of the file, or of the folder `files` lie below.
        kind: "dicom", "volume" or "zip".
        files: Relative to `source`; empty for a single file.
        study: Hash of the study; None where there is none.
        choice: Why this series, in words.
        reason: Why it cannot be read; None if it can.
    """

    key: str
    source: str
    kind: str
    files: tuple[str, ...] = ()
    study: str | None = None
    choice: str | None = None
    reason: str | None = None


def enter(store: Store, found: FoundScan, *, now: float) -> bool:
    """Enters a scan unless its content is known already.

    Returns:
        True when there is something new to read.
    """
    try:
        with store.writing() as session:
            scan = session.scalars(select(Scan).where(Scan.key == found.key)).one_or_none()
            if scan is None and _only_lost_images(session, found):
                return False
            new = scan is None
            scan = _new_scan(session, found, store.case_name(found.key), now) if scan is None else scan
            moved = _follow(scan, found) if not new else False
            _make_current(session, scan)
            return (new or moved) and scan.status == QUEUED
    except IntegrityError:  # another worker entered it at the same moment
        return False


def _new_scan(session: Session, found: FoundScan, case: str, now: float) -> Scan:
    scan = Scan(
        key=found.key,
        case=case,
        source=found.source,
        files=list(found.files),
        kind=found.kind,
        study=found.study,
        choice=found.choice,
        status=QUEUED if found.reason is None else SKIPPED,
        reason=found.reason,
        found_at=now,
        finished_at=None if found.reason is None else now,
    )
    session.add(scan)
    session.flush()
    return scan


def _only_lost_images(session: Session, found: FoundScan) -> bool:
    """Tells whether a study is known and images of it have merely been taken away since."""
    if found.study is None:
        return False
    query = select(Scan).where(Scan.study == found.study, Scan.replaced_by.is_(None))
    known = {os.path.join(scan.source, name) for scan in session.scalars(query) for name in scan.files}
    return {os.path.join(found.source, name) for name in found.files} <= known if known else False


def _follow(scan: Scan, found: FoundScan) -> bool:
    """Points a scan that is not read yet at where its content lies now, if it was gone from where it lay."""
    there = Path(scan.source, *scan.files[:1]).exists()
    if scan.status in (DONE, READING) or (there and scan.reason != _GONE):
        return False
    if scan.source == found.source and scan.reason != _GONE:
        return False
    scan.source, scan.files = found.source, list(found.files)
    scan.status = QUEUED if found.reason is None else SKIPPED
    scan.reason, scan.attempts, scan.failures = found.reason, 0, 0
    return True


def _make_current(session: Session, scan: Scan) -> None:
    """Makes every other scan of the same study, or at the same path, one that was replaced by this one."""
    same = Scan.source == scan.source if scan.study is None else Scan.study == scan.study
    query = select(Scan).where(same, Scan.kind == scan.kind, Scan.id != scan.id, Scan.replaced_by.is_(None))
    others = session.scalars(query).all()
    better = next((other for other in others if other.status == DONE), None)
    if scan.status == SKIPPED and scan.reason != _REPLACED and better is not None:
        scan.replaced_by = better.id
        return
    if scan.status == SKIPPED and scan.reason == _REPLACED:
        scan.status, scan.reason = QUEUED, None
    scan.replaced_by = None
    for other in others:
        other.replaced_by = scan.id
        if other.status == QUEUED:
            other.status, other.reason = SKIPPED, _REPLACED


def claim(store: Store, worker: str, *, now: float) -> Job | None:
    """Takes the next scan of the queue for a worker; None if none is ready."""
    with store.writing() as session:
        query = (
            select(Scan)
            .where(Scan.status == QUEUED, Scan.ready_at <= now)
            .order_by(Scan.attempts, Scan.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        scan = session.scalars(query).one_or_none()
        if scan is None:
            return None
        scan.status, scan.worker, scan.started_at = READING, worker, now
        scan.leased_until, scan.attempts = now + LEASE_S, scan.attempts + 1
        return Job(scan.id, scan.case, Path(scan.source), tuple(scan.files), scan.kind, worker, scan.attempts)


def renew(store: Store, job: Job, *, now: float) -> bool:
    """Holds on to a scan for another `LEASE_S`; False when it is no longer ours."""
    with store.writing() as session:
        scan = _held(session, job)
        if scan is not None:
            scan.leased_until = now + LEASE_S
        return scan is not None


def finish(store: Store, job: Job, reading: Reading, written: Path, *, now: float) -> bool:
    """Puts the files of a result in their place and marks the scan as done, both or neither.

    Args:
        store: Where.
        job: What was read.
        reading: What was found.
        written: Folder with the outputs, on the file system of `store.files`; moved to ``CASE`` there.
        now: Seconds since 1970.

    Returns:
        False when the scan is no longer ours; then the database and the results stay as they are.
    """
    with store.writing() as session:
        scan = _held(session, job)
        if scan is None:
            return False
        _put_in_place(written, store.files / job.case)
        worst = find_worst(reading.spine)
        manifest = reading.spine.manifest
        result = Result(
            scan_id=scan.id,
            spine=reading.spine.to_dict(),
            folder=job.case,
            files=reading.files,
            rank=worst.rank,
            finding=worst.sentence,
            worst_level=worst.level,
            worst_probability=worst.probability,
            worst_grade=worst.grade,
            worst_loss_percent=worst.loss_percent,
            seconds=reading.seconds,
            peak_memory_mb=reading.peak_memory_mb,
            software=str(manifest.get("versions", {}).get("spinelab", "unknown")),
            weights_sha256=dict(manifest.get("weights_sha256", {})),
            vertebrae=rows_of(reading.spine),
        )
        session.add(result)
        scan.choice = reading.choice or scan.choice
        _let_go(scan, DONE, None, now)
        return True


def _put_in_place(written: Path, target: Path) -> None:
    """Moves a complete folder to where results lie; what an interrupted worker left there goes away."""
    if target.exists():
        left = written.with_name(written.name + "-left")
        os.replace(target, left)
        shutil.rmtree(left, ignore_errors=True)
    os.replace(written, target)


def skip(store: Store, job: Job, reason: str, *, now: float) -> str | None:
    """Marks a scan as one that cannot be read; returns its status, None when it is no longer ours."""
    return _end(store, job, lambda scan: _let_go(scan, SKIPPED, reason, now))


def fail(store: Store, job: Job, reason: str, *, now: float) -> str | None:
    """Counts a failure of reading: the scan is queued again, last, or given up.

    Returns:
        Its status; None when it is no longer ours.
    """

    def change(scan: Scan) -> None:
        scan.failures += 1
        again = scan.failures < MOST_FAILURES
        _let_go(scan, QUEUED if again else FAILED, reason, now)

    return _end(store, job, change)


def miss(store: Store, job: Job, *, now: float) -> str | None:
    """Marks a scan whose files are gone; they are looked at afresh should they come back."""

    def change(scan: Scan) -> None:
        _let_go(scan, SKIPPED, _GONE, now)

    forget(store, job.source)
    return _end(store, job, change)


def forget(store: Store, source: Path) -> None:
    """Forgets the places at and below a path, so that they are taken in afresh at the next look."""
    below = Place.path.startswith(os.path.join(source, ""), autoescape=True)
    with store.writing() as session:
        session.execute(delete(Place).where(or_(Place.path == str(source), below)))


def put_back(store: Store, job: Job, *, now: float, pause_s: float = 0.0) -> str | None:
    """Gives a scan back unread, as if it had never been claimed; it is not read before `pause_s` from now.

    Returns:
        Its status; None when it is no longer ours.
    """

    def change(scan: Scan) -> None:
        _let_go(scan, QUEUED, scan.reason, now)
        scan.ready_at, scan.attempts = now + pause_s, scan.attempts - 1

    return _end(store, job, change)


def take_back(store: Store, is_gone: Callable[[str], bool], *, now: float) -> int:
    """Queues again what workers hold that are gone or have not been heard of; returns how many scans."""
    taken = 0
    with store.writing() as session:
        for scan in session.scalars(select(Scan).where(Scan.status == READING).with_for_update()):
            expired = scan.leased_until is None or scan.leased_until < now
            if not expired and not is_gone(scan.worker or ""):
                continue
            taken += 1
            if scan.attempts < MOST_ATTEMPTS:
                _let_go(scan, QUEUED, scan.reason, now)
            else:
                reason = f"the reading program ended {scan.attempts} times while it read this scan"
                _let_go(scan, FAILED, reason, now)
    return taken


def held(store: Store) -> list[tuple[str, int]]:
    """Returns case and attempt of every scan somebody is reading."""
    with store.reading() as session:
        rows = session.execute(select(Scan.case, Scan.attempts).where(Scan.status == READING))
        return [(row[0], row[1]) for row in rows]


def retry(store: Store) -> int:
    """Queues again what was skipped or has failed and could be read now; returns how many scans."""
    with store.writing() as session:
        query = select(Scan).where(
            Scan.status.in_((SKIPPED, FAILED)), Scan.replaced_by.is_(None), Scan.attempts > 0
        )
        scans = session.scalars(query).all()
        for scan in scans:
            scan.status, scan.reason, scan.attempts, scan.failures = QUEUED, None, 0, 0
            scan.ready_at = 0.0
        return len(scans)


def count(store: Store) -> dict[str, int]:
    """Returns how many scans there are of each status, those that were replaced left out."""
    with store.reading() as session:
        query = select(Scan.status, func.count()).where(Scan.replaced_by.is_(None)).group_by(Scan.status)
        found = {row[0]: row[1] for row in session.execute(query)}
    return {status: found.get(status, 0) for status in STATUSES}


def count_since(store: Store, then: float) -> int:
    """Returns how many scans anybody has read (or given up) since a moment."""
    with store.reading() as session:
        query = select(func.count()).where(Scan.finished_at >= then, Scan.attempts > 0)
        return session.scalars(query).one()


def next_ready(store: Store) -> float | None:
    """Returns when the next queued scan may be read, seconds since 1970; None if none is queued."""
    with store.reading() as session:
        return session.scalars(select(func.min(Scan.ready_at)).where(Scan.status == QUEUED)).one()


def _held(session: Session, job: Job) -> Scan | None:
    """Returns the row of a scan if the worker still holds it, locked against others."""
    query = select(Scan).where(
        Scan.id == job.scan_id,
        Scan.status == READING,
        Scan.worker == job.worker,
        Scan.attempts == job.attempt,
    )
    return session.scalars(query.with_for_update()).one_or_none()


def _end(store: Store, job: Job, change: Callable[[Scan], None]) -> str | None:
    with store.writing() as session:
        scan = _held(session, job)
        if scan is None:
            return None
        change(scan)
        return scan.status


def _let_go(scan: Scan, status: str, reason: str | None, now: float) -> None:
    scan.status, scan.reason, scan.worker, scan.leased_until = status, reason, None, None
    scan.finished_at = None if status == QUEUED else now
