"""A reader's work on one case: opening it, saving an opinion, taking it back, naming the column, finishing.

Every change is one short transaction that also writes the audit.
"""

import time
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from spinelab.archive.store import Store
from spinelab.archive.tables import DONE, Scan, VertebraRow
from spinelab.errors import InputError
from spinelab.server.accounts import Person
from spinelab.server.adjudication import agree_on_names, disputed, finished_readings, opinions_by_vertebra
from spinelab.server.columns import is_graded, match_variant, name_column
from spinelab.server.opinions import Opinion
from spinelab.server.options import ServeOptions
from spinelab.server.refusals import NotAllowedError, NotThereError
from spinelab.server.tables import ADJUDICATOR, READER, Audit, Mark, Reading

#: Time spent on one vertebra between two saves is believed up to this; who was called away does not count.
MOST_SECONDS = 300.0
_UNDOABLE = ("graded", "measured", "renamed")


def find_vertebrae(session: Session, scan_id: int) -> list[VertebraRow]:
    """Returns the vertebrae of a read scan from the head down.

    Raises:
        NotThereError: No such scan, or it has not been read.
    """
    scan = session.get(Scan, scan_id)
    if scan is None or scan.status != DONE or scan.result is None:
        raise NotThereError(f"there is no read case {scan_id}; choose one from the work list")
    return [row for row in scan.result.vertebrae if row.level not in ("S", "Co")]


def open_reading(store: Store, person: Person, scan_id: int, options: ServeOptions) -> Reading:
    """Returns somebody's reading of a case, begun now unless it was before.

    Raises:
        NotThereError: No such case.
        NotAllowedError: The case has its readers already; or, for an adjudicator, not all have finished.
    """
    with store.writing() as session:
        find_vertebrae(session, scan_id)
        found = _own(session, person, scan_id)
        if found is not None:
            return found
        names, variant = None, None
        if person.role == READER:
            _check_room(session, scan_id, options)
        elif person.role == ADJUDICATOR:
            closed = finished_readings(session, scan_id)
            if len(closed) < options.readers:
                raise NotAllowedError(
                    f"{len(closed)} of {options.readers} readers have finished this case; adjudicate it then"
                )
            names, variant = agree_on_names(closed)
        else:
            raise NotAllowedError("admins do not grade; sign in as a reader or an adjudicator")
        reading = Reading(
            account_id=person.id,
            scan_id=scan_id,
            adjudicates=person.role == ADJUDICATOR,
            names=names,
            variant=variant,
            suggestion=options.suggestion,
            opened_at=time.time(),
        )
        session.add(reading)
        session.add(_entry(person, scan_id, "opened", after={"suggestion": options.suggestion}))
        session.flush()
        return reading


def save_opinion(
    store: Store, person: Person, where: tuple[int, int], opinion: Opinion, *, seconds: float = 0.0
) -> Mark:
    """Saves what somebody says about one vertebra.

    Args:
        store: The database.
        person: Who says it.
        where: Scan and vertebra.
        opinion: All of it, not the change alone.
        seconds: Time the vertebra was in front of them since the last save.

    Raises:
        NotThereError: No such case or vertebra.
        NotAllowedError: The case is not open for this account.
    """
    scan_id, vertebra_id = where
    with store.writing() as session:
        reading = _open_one(session, person, scan_id)
        row = _vertebra(session, scan_id, vertebra_id)
        if opinion.grade is not None and not is_graded(row.level):
            raise InputError(f"{row.level} has no endplates to grade; mark it not evaluable")
        mark = _mark(session, reading, vertebra_id)
        before = mark.opinion
        mark.seconds += min(max(seconds, 0.0), MOST_SECONDS)
        if opinion != before:
            mark.take(opinion, time.time())
            action = "measured" if opinion.verdict == before.verdict else "graded"
            session.add(
                _entry(person, scan_id, action, vertebra_id, before=before.to_dict(), after=opinion.to_dict())
            )
        return mark


def rename_column(
    store: Store, person: Person, where: tuple[int, int], name: str, *, variant: str = "usual"
) -> Reading:
    """Names the whole column from one vertebra of it.

    Raises:
        NotThereError: No such case or vertebra.
        NotAllowedError: The case is not open for this account.
        InputError: The column does not fit these names.
    """
    scan_id, vertebra_id = where
    with store.writing() as session:
        reading = _open_one(session, person, scan_id)
        rows = find_vertebrae(session, scan_id)
        place = [row.id for row in rows].index(_vertebra(session, scan_id, vertebra_id).id)
        names = name_column(len(rows), place=place, name=name, variant=variant)
        before = {"names": reading.names, "variant": reading.variant}
        reading.names = {str(row.id): given for row, given in zip(rows, names, strict=True)}
        reading.variant = variant
        after = {"names": reading.names, "variant": variant}
        session.add(_entry(person, scan_id, "renamed", before=before, after=after))
        return reading


def undo(store: Store, person: Person, scan_id: int) -> tuple[bool, int | None]:
    """Takes back somebody's last change to a case that was not taken back yet.

    Returns:
        Whether there was anything to take back, and the vertebra it was about (None for the names).

    Raises:
        NotAllowedError: The case is not open for this account.
    """
    with store.writing() as session:
        reading = _open_one(session, person, scan_id)
        taken_back = select(Audit.undoes).where(Audit.undoes.is_not(None))
        last = session.scalars(
            select(Audit)
            .where(Audit.account_id == person.id, Audit.scan_id == scan_id, Audit.action.in_(_UNDOABLE))
            .where(Audit.id.not_in(taken_back))
            .order_by(Audit.id.desc())
            .limit(1)
        ).first()
        if last is None:
            return False, None
        if last.vertebra_id is None:
            reading.names, reading.variant = last.before["names"], last.before["variant"]
        else:
            _mark(session, reading, last.vertebra_id).take(Opinion.from_dict(last.before), time.time())
        entry = _entry(person, scan_id, "undone", last.vertebra_id, before=last.after, after=last.before)
        entry.undoes = last.id
        session.add(entry)
        return True, last.vertebra_id


def finish(store: Store, person: Person, scan_id: int) -> None:
    """Finishes somebody's reading; nothing in it changes after that.

    Raises:
        NotAllowedError: The case is not open for this account.
        InputError: Something is left to say; the message names the vertebrae.
    """
    with store.writing() as session:
        reading = _open_one(session, person, scan_id)
        rows = find_vertebrae(session, scan_id)
        own = opinions_by_vertebra(session, [reading])[reading.id]
        wanted = [row for row in rows if is_graded(row.level)]
        if reading.adjudicates:
            closed = finished_readings(session, scan_id)
            open_questions = disputed(session, closed)
            wanted = [row for row in wanted if row.id in open_questions]
            if reading.names is None:
                raise InputError("the readers name the column differently; choose its names (key l)")
        names = reading.names or {}
        left = [
            names.get(str(row.id), row.level) for row in wanted if not own.get(row.id, Opinion()).complete
        ]
        if left:
            raise InputError(
                f"left to grade: {', '.join(left)}; grades 1 to 3 need a shape, n marks one not evaluable"
            )
        reading.closed_at = time.time()
        session.add(_entry(person, scan_id, "finished"))


def reopen(store: Store, person: Person, scan_id: int) -> None:
    """Opens somebody's own finished reading again, as long as nobody has begun to adjudicate the case.

    Raises:
        NotAllowedError: It is not finished, or is being adjudicated.
    """
    with store.writing() as session:
        reading = _own(session, person, scan_id)
        if reading is None or reading.closed_at is None:
            raise NotAllowedError("there is no finished reading of yours to open again")
        begun = select(Reading.id).where(Reading.scan_id == scan_id, Reading.adjudicates)
        if not reading.adjudicates and session.scalar(begun) is not None:
            raise NotAllowedError("the case is being adjudicated; readings of it stay as they are")
        reading.closed_at = None
        session.add(_entry(person, scan_id, "reopened"))


def guess_variant(reading: Reading, rows: list[VertebraRow]) -> str:
    """Returns the numbering variant a reading uses: the one chosen, else the one the model's names follow."""
    return reading.variant or match_variant([row.level for row in rows])


def _own(session: Session, person: Person, scan_id: int) -> Reading | None:
    query = select(Reading).where(Reading.account_id == person.id, Reading.scan_id == scan_id)
    return session.scalar(query.with_for_update())


def _open_one(session: Session, person: Person, scan_id: int) -> Reading:
    reading = _own(session, person, scan_id)
    if reading is None:
        raise NotAllowedError("open the case from the work list first")
    if reading.closed_at is not None:
        raise NotAllowedError("this reading is finished; open it again to change it")
    return reading


def _check_room(session: Session, scan_id: int, options: ServeOptions) -> None:
    query = select(func.count()).select_from(Reading).where(Reading.scan_id == scan_id, ~Reading.adjudicates)
    taken = session.scalar(query) or 0
    if taken >= options.readers:
        raise NotAllowedError(f"this case already has its {options.readers} readers; take the next one")


def _vertebra(session: Session, scan_id: int, vertebra_id: int) -> VertebraRow:
    row = session.get(VertebraRow, vertebra_id)
    if row is None or row.scan_id != scan_id or row.level in ("S", "Co"):
        raise NotThereError(f"there is no vertebra {vertebra_id} in this case; open it again")
    return row


def _mark(session: Session, reading: Reading, vertebra_id: int) -> Mark:
    query = select(Mark).where(Mark.reading_id == reading.id, Mark.vertebra_id == vertebra_id)
    mark = session.scalar(query)
    if mark is None:
        mark = Mark(reading_id=reading.id, vertebra_id=vertebra_id, seconds=0.0, updated_at=time.time())
        session.add(mark)
    return mark


def _entry(
    person: Person,
    scan_id: int,
    action: str,
    vertebra_id: int | None = None,
    **states: Any,
) -> Audit:
    return Audit(
        at=time.time(),
        account_id=person.id,
        scan_id=scan_id,
        vertebra_id=vertebra_id,
        action=action,
        before=states.get("before"),
        after=states.get("after"),
    )
