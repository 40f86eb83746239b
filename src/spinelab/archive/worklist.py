"""The work list: every scan that was read, the worst finding first; as rows, CSV or JSON."""

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import defer

from spinelab.archive.store import Store
from spinelab.archive.tables import DONE, STATUSES, Result, Scan, VertebraRow
from spinelab.errors import InputError
from spinelab.io.outputs import writing
from spinelab.tasks.fracture_cautions import DOUBTFUL_NAME

#: Which findings to list, by how sure the name of their level is.
NAMES = ("all", "sure", "doubtful")


@dataclass(frozen=True)
class WorkItem:
    """One scan on the work list; the fields are the columns of its CSV.

    Attributes:
        place: 1 for the worst finding.
        case: Pseudonymous name; files of the result lie in a folder of this name.
        status: "done", or what else was asked for.
        finding: The worst finding in words, or why there is none.
        level: Where it is.
        level_probability: That this name is right; below 0.9 the finding says what else it may be.
        grade: Genant grade there; None where only heights were measured.
        probability: Probability of fracture there.
        height_loss_percent: Loss of height there.
        vertebrae: How many were found.
        read_at: When, ISO 8601, UTC.
        seconds: Spent on reading.
        series: Which series was read and why.
        source: Path of the scan; None unless asked for, because paths may name patients.
    """

    place: int
    case: str
    status: str
    finding: str
    level: str | None
    level_probability: float | None
    grade: int | None
    probability: float | None
    height_loss_percent: float | None
    vertebrae: int | None
    read_at: str | None
    seconds: float | None
    series: str | None
    source: str | None


def list_work(
    store: Store,
    *,
    status: str = DONE,
    names: str = "all",
    limit: int | None = None,
    paths: bool = False,
) -> list[WorkItem]:
    """Returns the scans of a status, the worst finding first, those without a result in order of arrival.

    Within a grade, findings whose level is named for sure (90 % or more) come first.

    Args:
        store: The results database.
        status: One of `spinelab.archive.tables.STATUSES`.
        names: One of `NAMES`: all, or only findings whose level is named for sure, or only the doubtful ones.
        limit: At most so many; None for all.
        paths: Name the path of each scan, which may name the patient.

    Raises:
        InputError: No such status, no such choice of names.
    """
    if names not in NAMES:
        raise InputError(f"no findings are called {names!r}; choose one of {', '.join(NAMES)}")
    if status not in STATUSES:
        raise InputError(f"no scan has the status {status!r}; choose one of {', '.join(STATUSES)}")
    found = select(func.count()).where(VertebraRow.scan_id == Scan.id).scalar_subquery()
    named = (
        select(VertebraRow.level_probability)
        .where(VertebraRow.scan_id == Scan.id, VertebraRow.level == Result.worst_level)
        .limit(1)
        .correlate(Scan, Result)
        .scalar_subquery()
    )
    query = (
        select(Scan, Result, found, named)
        .outerjoin(Result, Result.scan_id == Scan.id)
        .options(defer(Result.spine), defer(Scan.files))
        .where(Scan.status == status, Scan.replaced_by.is_(None))
        .order_by(_grade().desc(), (named >= DOUBTFUL_NAME).desc(), Result.rank.desc(), Scan.id)
        .limit(limit)
    )
    if names != "all":
        query = query.where(named >= DOUBTFUL_NAME if names == "sure" else named < DOUBTFUL_NAME)
    with store.reading() as session:
        rows = session.execute(query)
        return [_item(place, *row, paths=paths) for place, row in enumerate(rows, start=1)]


def _grade() -> ColumnElement[int]:
    """Returns the worst grade, or what the measured loss of height stands for; -1 where there is none."""
    begun = [(Result.rank >= grade, grade) for grade in (3, 2, 1, 0)]
    return func.coalesce(Result.worst_grade, case(*begun, else_=-1))


def _item(
    place: int, scan: Scan, result: Result | None, vertebrae: int, named: float | None, *, paths: bool
) -> WorkItem:
    done = scan.finished_at
    loss = result.worst_loss_percent if result else None
    return WorkItem(
        place=place,
        case=scan.case,
        status=scan.status,
        finding=result.finding if result else scan.reason or "",
        level=result.worst_level if result else None,
        level_probability=None if named is None else round(named, 3),
        grade=result.worst_grade if result else None,
        probability=result.worst_probability if result else None,
        height_loss_percent=None if loss is None else round(loss, 1),
        vertebrae=vertebrae if result else None,
        read_at=datetime.fromtimestamp(done, UTC).isoformat(timespec="seconds") if done else None,
        seconds=result.seconds if result else None,
        series=scan.choice,
        source=scan.source if paths else None,
    )


def write_worklist(items: Sequence[WorkItem], path: Path, *, draft: Path | None = None) -> None:
    """Writes a work list as CSV or JSON, after the ending; who reads the file meanwhile sees the old one.

    Args:
        items: The rows.
        path: The file.
        draft: Where it is written before it takes its place, on the same file system; beside it if None.

    Raises:
        InputError: Another ending.
        OutputError: The file cannot be written.
    """
    if path.suffix.lower() not in (".csv", ".json"):
        raise InputError(f"a work list is written as .csv or .json, found {path.name!r}; choose one of these")
    draft = draft or path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        try:
            with draft.open("w", encoding="utf-8", newline="") as stream:
                if path.suffix.lower() == ".json":
                    json.dump([asdict(item) for item in items], stream, indent=2, allow_nan=False)
                    stream.write("\n")
                else:
                    table = csv.DictWriter(stream, [field.name for field in fields(WorkItem)])
                    table.writeheader()
                    table.writerows(asdict(item) for item in items)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
