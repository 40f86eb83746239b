"""Labels out of the database: CSV, JSON, VerSe centroid files, a Genant table, the audit."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from spinelab.anatomy import LEVELS, level
from spinelab.archive.store import Store
from spinelab.archive.tables import DONE, Result, Scan, VertebraRow
from spinelab.server.accounts import Person
from spinelab.server.adjudication import Settled, settle
from spinelab.server.columns import is_graded
from spinelab.server.opinions import Opinion
from spinelab.server.options import ServeOptions
from spinelab.server.refusals import NotAllowedError
from spinelab.server.tables import ADMIN, READER, Account, Audit, Mark, Reading

#: What a final label is called in the column of readers.
FINAL = "final"
COLUMNS = (
    "case",
    "position",
    "model_level",
    "level",
    "reader",
    "how",
    "evaluable",
    "grade",
    "shape",
    "anterior_mm",
    "middle_mm",
    "posterior_mm",
    "seconds",
)
_LETTER = {"wedge": "w", "biconcave": "b", "crush": "c"}


@dataclass(frozen=True, slots=True)
class Export:
    """A file for the browser to save."""

    name: str
    media_type: str
    data: bytes


def list_labels(session: Session, person: Person, options: ServeOptions) -> list[dict[str, Any]]:
    """Returns one row a case, vertebra and reader, and for those who see all one for what holds in the end.

    Readers get their own rows alone; adjudicators those of finished readings; admins all.
    """
    names = {account.id: account.name for account in session.scalars(select(Account))}
    rows: list[dict[str, Any]] = []
    query = select(Scan).join(Result).where(Scan.status == DONE).order_by(Scan.case)
    for scan in session.scalars(query):
        readings = _visible(session, person, scan.id)
        if not readings:
            continue
        vertebrae = [v for v in scan.result.vertebrae if is_graded(v.level)] if scan.result else []
        for reading in readings:
            rows += _rows_of(session, scan.case, vertebrae, reading, names[reading.account_id])
        if person.sees_all:
            final = settle(session, vertebrae, readers=options.readers)
            rows += [_row(scan.case, v, FINAL, final[v.id].opinion, final[v.id]) for v in vertebrae]
    return rows


def export_csv(store: Store, person: Person, options: ServeOptions) -> Export:
    """Returns every label the account may see, one row a case, vertebra and reader."""
    with store.reading() as session:
        rows = list_labels(session, person, options)
    return Export("labels.csv", "text/csv", _csv(COLUMNS, rows))


def export_json(store: Store, person: Person, options: ServeOptions) -> Export:
    """Returns the rows of `export_csv` as JSON; what is unknown is null."""
    with store.reading() as session:
        rows = list_labels(session, person, options)
    text = json.dumps({"format": "spinelab labels 1", "labels": rows}, indent=1, allow_nan=False)
    return Export("labels.json", "application/json", text.encode())


def export_genant(store: Store, person: Person, options: ServeOptions) -> Export:
    """Returns one row a case and a column a level: grade and shape that hold ("2w"), "ne", or nothing yet.

    Readers get their own readings.
    """
    with store.reading() as session:
        rows = list_labels(session, person, options)
    wanted = FINAL if person.sees_all else person.name
    table: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["reader"] == wanted:
            table.setdefault(row["case"], {})[row["level"]] = _code(row)
    order = [lv.name for lv in LEVELS if any(lv.name in found for found in table.values())]
    lines = [{"case": case, **found} for case, found in table.items()]
    return Export("genant.csv", "text/csv", _csv(("case", *order), lines))


def export_verse(store: Store, person: Person, options: ServeOptions) -> Export:
    """Returns a zip with a VerSe centroid file a case, under the names that hold (or the reader's own)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, store.reading() as session:
        query = select(Scan).join(Result).where(Scan.status == DONE).order_by(Scan.case)
        for scan in session.scalars(query):
            readings = _visible(session, person, scan.id)
            if not readings or scan.result is None or "centroids" not in scan.result.files:
                continue
            rows = [v for v in scan.result.vertebrae if v.level not in ("S", "Co")]
            if person.sees_all:
                names = {key: s.name for key, s in settle(session, rows, readers=options.readers).items()}
            else:
                given = readings[0].names or {}
                names = {v.id: given.get(str(v.id), v.level) for v in rows}
            path = store.files / scan.result.folder / scan.result.files["centroids"]
            renamed = {level(v.level).label: level(names[v.id]).label for v in rows}
            archive.writestr(f"{scan.case}_ctd.json", _relabel(path, renamed))
    return Export("centroids.zip", "application/zip", stream.getvalue())


def export_audit(store: Store, person: Person, options: ServeOptions) -> Export:
    """Returns every entry of the audit, oldest first.

    Raises:
        NotAllowedError: The account is no admin.
    """
    if person.role != ADMIN:
        raise NotAllowedError("the audit is for admins; ask one of them")
    query = (
        select(Audit, Account.name, Scan.case)
        .outerjoin(Account, Account.id == Audit.account_id)
        .outerjoin(Scan, Scan.id == Audit.scan_id)
        .order_by(Audit.id)
    )
    columns = ("id", "at", "account", "case", "vertebra_id", "action", "before", "after", "undoes")
    with store.reading() as session:
        rows = [
            {
                "id": entry.id,
                "at": entry.at,
                "account": name,
                "case": case,
                "vertebra_id": entry.vertebra_id,
                "action": entry.action,
                "before": json.dumps(entry.before),
                "after": json.dumps(entry.after),
                "undoes": entry.undoes,
            }
            for entry, name, case in session.execute(query)
        ]
    return Export("audit.csv", "text/csv", _csv(columns, rows))


#: Every export by its name in the address.
EXPORTS: dict[str, Callable[[Store, Person, ServeOptions], Export]] = {
    "labels.csv": export_csv,
    "labels.json": export_json,
    "genant.csv": export_genant,
    "centroids.zip": export_verse,
    "audit.csv": export_audit,
}


def _visible(session: Session, person: Person, scan_id: int) -> list[Reading]:
    query = select(Reading).where(Reading.scan_id == scan_id).order_by(Reading.id)
    if person.role == READER:
        query = query.where(Reading.account_id == person.id)
    elif person.role != ADMIN:
        query = query.where(Reading.closed_at.is_not(None) | (Reading.account_id == person.id))
    return list(session.scalars(query))


def _rows_of(
    session: Session, case: str, vertebrae: Sequence[VertebraRow], reading: Reading, name: str
) -> list[dict[str, Any]]:
    marks = {m.vertebra_id: m for m in session.scalars(select(Mark).where(Mark.reading_id == reading.id))}
    names = reading.names or {}
    how = "finished" if reading.closed_at is not None else "open"
    how = f"imported {how}" if reading.imported else how
    rows = []
    for v in vertebrae:
        if v.id not in marks:
            continue
        settled = Settled(None, f"adjudication {how}" if reading.adjudicates else how, "")
        row = _row(case, v, name, marks[v.id].opinion, settled)
        rows.append({**row, "level": names.get(str(v.id), v.level), "seconds": round(marks[v.id].seconds, 1)})
    return rows


def _row(
    case: str, vertebra: VertebraRow, reader: str, opinion: Opinion | None, settled: Settled
) -> dict[str, Any]:
    opinion = opinion or Opinion()
    heights = opinion.heights_mm
    return {
        "case": case,
        "position": vertebra.position,
        "model_level": vertebra.level,
        "level": settled.name,
        "reader": reader,
        "how": settled.how,
        "evaluable": opinion.evaluable,
        "grade": opinion.grade,
        "shape": opinion.shape,
        "anterior_mm": None if heights is None else heights.anterior,
        "middle_mm": None if heights is None else heights.middle,
        "posterior_mm": None if heights is None else heights.posterior,
        "seconds": None,
    }


def _code(row: dict[str, Any]) -> str:
    if row["evaluable"] is False:
        return "ne"
    if row["grade"] is None:
        return ""
    return f"{row['grade']}{_LETTER.get(row['shape'], '')}"


def _csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return stream.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value


def _relabel(path: Path, renamed: dict[int, int]) -> str:
    entries = json.loads(path.read_text(encoding="utf-8"))
    for entry in entries:
        if "label" in entry:
            entry["label"] = renamed.get(entry["label"], entry["label"])
    return json.dumps(entries) + "\n"
