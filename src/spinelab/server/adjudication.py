"""What several finished readings of a case say together: where they agree, where not, and what holds."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from spinelab.archive.tables import VertebraRow
from spinelab.server.columns import is_graded
from spinelab.server.opinions import Opinion, agree
from spinelab.server.tables import Mark, Reading


@dataclass(frozen=True, slots=True)
class Settled:
    """What holds of one vertebra in the end.

    Attributes:
        opinion: The adjudicated opinion, or the one all readers share; None while it is open.
        how: "adjudicated", "agreed", "one reader", "disagreed" or "unfinished".
        name: Level under the names that hold.
    """

    opinion: Opinion | None
    how: str
    name: str


def finished_readings(session: Session, scan_id: int) -> list[Reading]:
    """Returns the finished readings of a scan, adjudications left out, in the order they were begun."""
    query = select(Reading).where(
        Reading.scan_id == scan_id, Reading.closed_at.is_not(None), ~Reading.adjudicates
    )
    return list(session.scalars(query.order_by(Reading.id)))


def opinions_by_vertebra(session: Session, readings: Sequence[Reading]) -> dict[int, dict[int, Opinion]]:
    """Returns reading id -> vertebra id -> opinion."""
    found: dict[int, dict[int, Opinion]] = {reading.id: {} for reading in readings}
    for mark in session.scalars(select(Mark).where(Mark.reading_id.in_(list(found)))):
        found[mark.reading_id][mark.vertebra_id] = mark.opinion
    return found


def disputed(session: Session, readings: Sequence[Reading]) -> set[int]:
    """Returns the vertebrae on which finished readings of one scan do not all say the same."""
    opinions = list(opinions_by_vertebra(session, readings).values())
    if len(opinions) < 2:
        return set()
    seen = {vertebra for given in opinions for vertebra in given}
    return {v for v in seen if agree([given.get(v, Opinion()) for given in opinions]) is None}


def agree_on_names(readings: Sequence[Reading]) -> tuple[dict[str, str] | None, str | None]:
    """Returns the names and the variant all readings share; names are None where they differ.

    Readings that kept the model's names share an empty dict.
    """
    given = [reading.names or {} for reading in readings]
    if not given or any(names != given[0] for names in given):
        return None, None
    return given[0], readings[0].variant


def settle(session: Session, rows: Sequence[VertebraRow], *, readers: int) -> dict[int, Settled]:
    """Returns what holds of each vertebra of one scan.

    An adjudication that is finished goes first; else what all of at least `readers` finished readings say.

    Args:
        session: Open on the database.
        rows: The scan's vertebrae.
        readers: How many readings a case needs.
    """
    if not rows:
        return {}
    scan_id = rows[0].scan_id
    closed = finished_readings(session, scan_id)
    query = select(Reading).where(
        Reading.scan_id == scan_id, Reading.adjudicates, Reading.closed_at.is_not(None)
    )
    final = session.scalars(query.order_by(Reading.closed_at.desc())).first()
    judged = {} if final is None else opinions_by_vertebra(session, [final])[final.id]
    given = list(opinions_by_vertebra(session, closed).values())
    names = final.names if final is not None else agree_on_names(closed)[0]
    settled = {}
    for row in rows:
        name = (names or {}).get(str(row.id), row.level)
        settled[row.id] = _settle_one(row, judged.get(row.id), [g.get(row.id) for g in given], readers, name)
    return settled


def _settle_one(
    row: VertebraRow, judged: Opinion | None, given: Sequence[Opinion | None], readers: int, name: str
) -> Settled:
    if judged is not None and judged.complete:
        return Settled(judged, "adjudicated", name)
    if len(given) < readers or not is_graded(row.level):
        return Settled(None, "unfinished" if is_graded(row.level) else "not graded", name)
    shared = agree([opinion or Opinion() for opinion in given])
    if shared is None:
        return Settled(None, "disagreed", name)
    return Settled(shared, "agreed" if len(given) > 1 else "one reader", name)
