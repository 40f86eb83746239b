"""Labels made elsewhere, or earlier, into the database: all rows of a file or none."""

import csv
import io
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from spinelab.anatomy import BY_NAME
from spinelab.archive.store import Store
from spinelab.archive.tables import DONE, Scan, VertebraRow
from spinelab.errors import InputError
from spinelab.server.accounts import Person
from spinelab.server.exports import FINAL
from spinelab.server.opinions import Opinion
from spinelab.server.refusals import NotAllowedError
from spinelab.server.tables import ADMIN, READER, Account, Audit, Mark, Reading

_WANTED = ("case", "reader", "evaluable", "grade", "shape")
Labels = list[dict[str, Any]]


def import_labels(store: Store, person: Person, data: bytes) -> int:
    """Takes in the labels of a CSV or JSON file as `spinelab.server.exports` writes them.

    Rows need ``case``, ``reader`` (a reader's account), ``evaluable``, ``grade``, ``shape`` and ``position``
    or ``model_level``; rows of "final" are left out. Each reader's rows of a case become a finished reading.

    Args:
        store: The database.
        person: Who imports.
        data: The file.

    Returns:
        How many labels were taken in.

    Raises:
        NotAllowedError: The account is no admin.
        InputError: A row does not fit; the message says which and why, and nothing was changed.
    """
    if person.role != ADMIN:
        raise NotAllowedError("labels are imported by admins; ask one of them")
    rows = [row for row in _parse(data) if row.get("reader") != FINAL]
    with store.writing() as session:
        grouped: dict[tuple[str, str], Labels] = defaultdict(list)
        for number, row in enumerate(rows, start=1):
            missing = [name for name in _WANTED if name not in row]
            if missing:
                raise InputError(f"row {number} lacks {', '.join(missing)}; see docs/workstation.md")
            grouped[str(row["case"]), str(row["reader"])].append({**row, "row": number})
        for (case, reader), labels in grouped.items():
            _take_in(session, person, (case, reader), labels)
    return len(rows)


def _parse(data: bytes) -> Labels:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("the file is not UTF-8 text; save it as CSV (UTF-8) or JSON") from error
    if text.lstrip()[:1] in ("{", "["):
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"the file is no valid JSON: {error}") from error
        rows = found.get("labels") if isinstance(found, dict) else found
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError('the JSON holds no list of labels; wanted {"labels": [{"case": ...}, ...]}')
        return rows
    return [dict(row) for row in csv.DictReader(io.StringIO(text))]


def _take_in(session: Session, person: Person, whose: tuple[str, str], labels: Labels) -> None:
    """Makes one finished reading of one reader's labels of one case."""
    case, reader = whose
    first = labels[0]["row"]
    scan = session.scalar(select(Scan).where(Scan.case == case, Scan.status == DONE))
    account = session.scalar(select(Account).where(Account.name == reader, Account.role == READER))
    if scan is None or scan.result is None:
        raise InputError(f"row {first}: there is no read case {case!r}; nothing was imported")
    if account is None:
        raise InputError(f"row {first}: there is no reader {reader!r}; add the account, nothing was imported")
    taken = select(Reading.id).where(Reading.account_id == account.id, Reading.scan_id == scan.id)
    if session.scalar(taken) is not None:
        raise InputError(f"row {first}: {reader} has a reading of {case} already; nothing was imported")
    now = time.time()
    reading = Reading(
        account_id=account.id,
        scan_id=scan.id,
        suggestion="hidden",
        imported=True,
        opened_at=now,
        closed_at=now,
    )
    session.add(reading)
    session.flush()
    seen: set[int] = set()
    names: dict[str, str] = {}
    for row in labels:
        vertebra = _find_vertebra(scan.result.vertebrae, row)
        if vertebra.id in seen:
            raise InputError(f"row {row['row']}: {vertebra.level} of {case} twice; nothing was imported")
        seen.add(vertebra.id)
        names[str(vertebra.id)] = _find_name(row, vertebra)
        mark = Mark(reading_id=reading.id, vertebra_id=vertebra.id, seconds=0.0)
        mark.take(_opinion(row), now)
        session.add(mark)
    reading.names = _complete_names(scan.result.vertebrae, names)
    after = {"reader": reader, "labels": len(labels)}
    session.add(
        Audit(at=now, account_id=person.id, scan_id=scan.id, action="imported", before=None, after=after)
    )


def _find_vertebra(vertebrae: Sequence[VertebraRow], row: dict[str, Any]) -> VertebraRow:
    position, name = str(row.get("position", "")), row.get("model_level") or row.get("level")
    for vertebra in vertebrae:
        if str(vertebra.position) == position or (not position and vertebra.level == name):
            return vertebra
    raise InputError(
        f"row {row['row']}: {row['case']} has no vertebra at position {position or 'unknown'} ({name}); "
        "nothing was imported"
    )


def _find_name(row: dict[str, Any], vertebra: VertebraRow) -> str:
    """Returns what the reader calls a vertebra: the column "level", or else the model's name."""
    name = str(row.get("level") or vertebra.level)
    if name not in BY_NAME:
        raise InputError(f"row {row['row']}: there is no level {name!r}; nothing was imported")
    return name


def _complete_names(vertebrae: Sequence[VertebraRow], names: dict[str, str]) -> dict[str, str] | None:
    """Returns a name for every vertebra; None where all are the model's."""
    given = {str(v.id): names.get(str(v.id), v.level) for v in vertebrae if v.level not in ("S", "Co")}
    return None if all(given[str(v.id)] == v.level for v in vertebrae if str(v.id) in given) else given


def _opinion(row: dict[str, Any]) -> Opinion:
    text = {name: str("" if row[name] is None else row[name]).strip().lower() for name in _WANTED}
    evaluable = {"true": True, "1": True, "false": False, "0": False}.get(text["evaluable"])
    if evaluable is None or (text["grade"] and not text["grade"].isdecimal()):
        raise InputError(
            f"row {row['row']}: evaluable is true or false and grade 0 to 3, found "
            f"{row['evaluable']!r} and {row['grade']!r}; nothing was imported"
        )
    grade = int(text["grade"]) if text["grade"] else None
    try:
        opinion = Opinion(evaluable, grade, text["shape"] or None)  # type: ignore[arg-type]
    except InputError as error:
        raise InputError(f"row {row['row']}: {error}; nothing was imported") from error
    if not opinion.complete:
        raise InputError(f"row {row['row']}: a grade from 1 to 3 needs a shape; nothing was imported")
    return opinion
