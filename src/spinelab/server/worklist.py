"""The work list: which cases there are, how far they are read, which one comes next."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from spinelab.anatomy import BY_NAME
from spinelab.archive.tables import DONE, Result, Scan, VertebraRow
from spinelab.server.accounts import Person
from spinelab.server.columns import is_graded
from spinelab.server.opinions import Opinion, agree
from spinelab.server.options import ServeOptions
from spinelab.server.refusals import NotAllowedError
from spinelab.server.tables import ADJUDICATOR, READER, Account, Mark, Reading
from spinelab.tasks.fracture_cautions import DOUBTFUL_NAME

NEW, OPEN, FINISHED, TAKEN, WAITING = "new", "open", "finished", "taken", "waiting"


@dataclass(frozen=True, slots=True)
class Row:
    """One case on somebody's work list; what that account may not see is None.

    Attributes:
        scan_id: Number of the scan.
        case: Its name.
        levels: First and last vertebra.
        shown: All that are to be graded, from the head down.
        named: Probability that the least sure of the names is right.
        count: Vertebrae to grade.
        done: How many of them this account has graded.
        state: Of this account: "new", "open", "finished", "taken" (the case has its readers) or "waiting"
            (an adjudicator waits for the readers).
        finished: How many readings are finished.
        model_grade: The model's worst grade.
        probability: The model's largest probability of fracture.
        finding: The model's worst finding in words.
        own_grade: This account's worst grade so far.
        disagreements: Vertebrae on which finished readings differ.
        settled: Whether an adjudication is finished.
        readers: Who has begun to read it.
        uncertainty: 0 where the model is sure of every vertebra, 1 where it cannot tell.
        rank: The archive's: the worst finding first.
    """

    scan_id: int
    case: str
    levels: str
    shown: tuple[str, ...]
    named: float
    count: int
    done: int
    state: str
    finished: int
    model_grade: int | None
    probability: float | None
    finding: str | None
    own_grade: int | None
    disagreements: int | None
    settled: bool
    readers: tuple[str, ...]
    uncertainty: float
    rank: float


@dataclass(frozen=True, slots=True)
class Filter:
    """What to show of a work list.

    Attributes:
        text: Part of the case's name or of the model's finding, or a level it shows.
        state: One of the states of `Row`; all if empty.
        grade: Least worst grade (the model's where it is shown, else the account's own); all if None.
        probability: Least probability of fracture; all if None.
        disagreement: Only cases on which readers differ.
        reader: Only cases somebody has begun to read.
        names: "sure" or "doubtful": only cases whose levels are all named for sure (90 %), or are not.
    """

    text: str = ""
    state: str = ""
    grade: int | None = None
    probability: float | None = None
    disagreement: bool = False
    reader: str = ""
    names: str = ""


def list_cases(
    session: Session, person: Person, options: ServeOptions, wanted: Filter | None = None
) -> list[Row]:
    """Returns somebody's work list: what they have begun first, then the worst findings, as the filter says.

    Within a grade, cases whose levels are named for sure come first.

    Readers see of others only how many have finished; the model's findings stay out where the protocol
    hides them, and the order is then by name.
    """
    vertebrae = _vertebrae(session)
    readings, marks = _readings(session), _marks(session)
    names = {account.id: account.name for account in session.scalars(select(Account))}
    query = (
        select(Scan.id, Scan.case, Result.finding, Result.worst_grade, Result.rank)
        .join(Result)
        .where(Scan.status == DONE, Scan.replaced_by.is_(None))
    )
    rows = []
    for scan_id, case, finding, grade, rank in session.execute(query):
        given = readings.get(scan_id, [])
        shown = vertebrae.get(scan_id, [])
        row = _describe((scan_id, case), shown, given, marks, viewer=(person, options))
        row = replace(
            row,
            model_grade=grade,
            finding=finding,
            rank=rank,
            readers=tuple(sorted(names[r.account_id] for r in given if not r.adjudicates)),
        )
        rows.append(row)
    filtered = [row for row in rows if _passes(row if person.sees_all else _blind(row, options), wanted)]
    visible = filtered if person.sees_all else [_blind(row, options) for row in filtered]
    return sorted(visible, key=_order)


def choose_next(session: Session, person: Person, options: ServeOptions) -> int | None:
    """Returns the case somebody should take next; None where nothing is left for them.

    What was begun is finished first. The order of random cases is the account's own and stays the same.
    """
    if person.role not in (READER, ADJUDICATOR):
        raise NotAllowedError("admins do not grade; sign in as a reader or an adjudicator")
    whole = Person(person.id, person.name, ADJUDICATOR, "") if person.role == READER else person
    rows = [row for row in list_cases(session, person, options) if row.state in (NEW, OPEN)]
    if person.role == ADJUDICATOR:
        rows = [row for row in rows if row.disagreements or row.state == OPEN]
    begun = [row.scan_id for row in rows if row.state == OPEN]
    if begun or not rows:
        return begun[0] if begun else None
    facts = {row.scan_id: row for row in list_cases(session, whole, options)}
    numbers = [row.scan_id for row in rows]
    if options.next_case == "random":
        return min(numbers, key=lambda n: hashlib.sha256(f"{person.id}:{n}".encode()).digest())
    if options.next_case == "finding":
        return max(numbers, key=lambda n: (facts[n].rank, -n))
    return max(numbers, key=lambda n: (facts[n].uncertainty, -n))


def measure_uncertainty(probabilities: Sequence[float | None]) -> float:
    """Returns how unsure the model is of a case's least certain vertebra: 0 sure, 1 at a probability of 0.5.

    Vertebrae nothing has graded say nothing.

    Example:
        >>> measure_uncertainty([0.01, 0.5, None])
        1.0
    """
    return max((4 * p * (1 - p) for p in probabilities if p is not None), default=0.0)


class _Seen(NamedTuple):
    """A vertebra to grade."""

    id: int
    level: str
    probability: float | None
    level_probability: float


def _vertebrae(session: Session) -> dict[int, list[_Seen]]:
    """Scan -> the vertebrae to grade, from the head down."""
    columns = [getattr(VertebraRow, name) for name in ("scan_id", *_Seen._fields)]
    found = defaultdict(list)
    for scan_id, *values in session.execute(select(*columns).order_by(VertebraRow.position)):
        seen = _Seen(*values)
        if is_graded(seen.level):
            found[scan_id].append(seen)
    return found


def _readings(session: Session) -> dict[int, list[Reading]]:
    found = defaultdict(list)
    for reading in session.scalars(select(Reading).order_by(Reading.id)):
        found[reading.scan_id].append(reading)
    return found


def _marks(session: Session) -> dict[int, dict[int, Opinion]]:
    found: dict[int, dict[int, Opinion]] = defaultdict(dict)
    columns = (Mark.reading_id, Mark.vertebra_id, Mark.evaluable, Mark.grade, Mark.shape)
    for reading_id, vertebra_id, evaluable, grade, shape in session.execute(select(*columns)):
        found[reading_id][vertebra_id] = Opinion(evaluable, grade, shape)  # type: ignore[arg-type]
    return found


def _describe(
    case: tuple[int, str],
    vertebrae: Sequence[_Seen],
    readings: Sequence[Reading],
    marks: dict[int, dict[int, Opinion]],
    *,
    viewer: tuple[Person, ServeOptions],
) -> Row:
    person, options = viewer
    own = next((r for r in readings if r.account_id == person.id), None)
    said = [marks.get(own.id, {}).get(v.id, Opinion()) for v in vertebrae] if own else []
    closed = [r for r in readings if r.closed_at is not None and not r.adjudicates]
    given = [[marks.get(r.id, {}).get(v.id, Opinion()) for r in closed] for v in vertebrae]
    differing = sum(agree(opinions) is None for opinions in given) if len(closed) > 1 else 0
    grades = [opinion.grade for opinion in said if opinion.grade is not None]
    return Row(
        scan_id=case[0],
        case=case[1],
        levels=f"{vertebrae[0].level}–{vertebrae[-1].level}" if vertebrae else "none",
        shown=tuple(v.level for v in vertebrae),
        named=min((v.level_probability for v in vertebrae), default=1.0),
        count=len(vertebrae),
        done=sum(opinion.complete for opinion in said),
        state=_state(person, options, own, readings),
        finished=len(closed),
        model_grade=None,
        probability=max((v.probability for v in vertebrae if v.probability is not None), default=None),
        finding=None,
        own_grade=max(grades, default=None),
        disagreements=differing if len(closed) > 1 else None,
        settled=any(r.adjudicates and r.closed_at is not None for r in readings),
        readers=(),
        uncertainty=measure_uncertainty([v.probability for v in vertebrae]),
        rank=0.0,
    )


def _state(person: Person, options: ServeOptions, own: Reading | None, readings: Sequence[Reading]) -> str:
    if own is not None:
        return FINISHED if own.closed_at is not None else OPEN
    begun = [r for r in readings if not r.adjudicates]
    if person.role == READER:
        return TAKEN if len(begun) >= options.readers else NEW
    ready = sum(r.closed_at is not None for r in begun) >= options.readers
    return NEW if ready else WAITING


def _blind(row: Row, options: ServeOptions) -> Row:
    """Takes out what a reader may not see: others' grades always, the model's where the protocol hides it."""
    row = replace(row, disagreements=None, readers=(), settled=False)
    if options.suggestion == "shown" or (options.suggestion == "after" and row.state == FINISHED):
        return row
    return replace(row, model_grade=None, probability=None, finding=None, uncertainty=0.0, rank=0.0)


def _passes(row: Row, wanted: Filter | None) -> bool:
    if wanted is None:
        return True
    worst = max((g for g in (row.model_grade, row.own_grade) if g is not None), default=None)
    return all(
        (
            _mentions(row, wanted.text.strip()),
            not wanted.state or row.state == wanted.state,
            wanted.grade is None or (worst is not None and worst >= wanted.grade),
            wanted.probability is None
            or (row.probability is not None and row.probability >= wanted.probability),
            not wanted.disagreement or bool(row.disagreements),
            not wanted.reader or wanted.reader in row.readers,
            not wanted.names or (row.named >= DOUBTFUL_NAME) == (wanted.names == "sure"),
        )
    )


def _mentions(row: Row, text: str) -> bool:
    """Tells whether a case shows the level, or has the text in its name or finding."""
    if text.upper() in BY_NAME:
        return text.upper() in row.shown
    return text.lower() in row.case or text.lower() in (row.finding or "").lower()


def _order(row: Row) -> tuple[int, int, bool, float, str]:
    first = {OPEN: 0, NEW: 1, WAITING: 2, FINISHED: 3, TAKEN: 4}
    grade = row.model_grade if row.model_grade is not None else int(row.rank // 1)
    return first[row.state], -grade, row.named < DOUBTFUL_NAME, -row.rank, row.case


def count_scans(session: Session) -> dict[str, int]:
    """Returns how many scans there are of each status."""
    query = select(Scan.status, func.count().label("scans")).group_by(Scan.status)
    return {row.status: row.scans for row in session.execute(query)}
