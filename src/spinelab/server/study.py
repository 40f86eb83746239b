"""How a labelling study goes: who has read how much, how long it takes, how far readers agree."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from sqlalchemy import select
from sqlalchemy.orm import Session

from spinelab.archive.tables import VertebraRow
from spinelab.server.agreement import cohen_kappa, fleiss_kappa
from spinelab.server.columns import is_graded
from spinelab.server.opinions import GRADES, Opinion
from spinelab.server.tables import Account, Mark, Reading


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one account is.

    Attributes:
        name: The account.
        role: Its role.
        finished: Finished readings (adjudications for an adjudicator).
        begun: Readings begun and not finished.
        vertebrae: Vertebrae graded in finished readings.
        median_seconds: Median time a vertebra was in front of them; None before the first.
    """

    name: str
    role: str
    finished: int
    begun: int
    vertebrae: int
    median_seconds: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two readers, or all, agree on the vertebrae they have both finished.

    Attributes:
        who: The readers' names.
        vertebrae: How many they share.
        kappa: On the grade with "not evaluable" as a category of its own: Cohen's for two, Fleiss' for more.
        weighted: Cohen's with quadratic weights, on vertebrae both graded; None for more than two.
        fracture: On grade 1 and above against grade 0, on vertebrae all graded.
        shape: On the shape, where all gave grade 1 or above.
    """

    who: tuple[str, ...]
    vertebrae: int
    kappa: float | None
    weighted: float | None
    fracture: float | None
    shape: float | None


def measure_progress(session: Session, *, account_id: int | None = None) -> list[Progress]:
    """Returns how far every account that grades is, or one account alone."""
    query = select(Account).where(Account.role != "admin").order_by(Account.name)
    if account_id is not None:
        query = query.where(Account.id == account_id)
    found = []
    for account in session.scalars(query):
        readings = list(session.scalars(select(Reading).where(Reading.account_id == account.id)))
        closed = [r.id for r in readings if r.closed_at is not None]
        marks = list(session.scalars(select(Mark).where(Mark.reading_id.in_(closed))))
        marks = [mark for mark in marks if mark.opinion.complete]
        times = [mark.seconds for mark in marks if mark.seconds > 0]
        found.append(
            Progress(
                account.name,
                account.role,
                len(closed),
                len(readings) - len(closed),
                len(marks),
                round(median(times), 1) if times else None,
            )
        )
    return found


def measure_agreement(session: Session) -> list[Agreement]:
    """Returns the agreement of every pair of readers who share finished cases, then that of all readers.

    All readers together: the vertebrae read by as many readers as most vertebrae are (Fleiss' kappa wants
    equally many each), where that is more than two.
    """
    opinions = _finished_opinions(session)
    shared = {key: given for key, given in opinions.items() if len(given) > 1}
    names = sorted({name for given in shared.values() for name in given})
    pairs = []
    for pair in combinations(names, 2):
        both = [[given[name] for name in pair] for given in shared.values() if set(pair) <= set(given)]
        if both:
            pairs.append(compare_readers(pair, both))
    counts = [len(given) for given in shared.values()]
    usual = max(sorted(set(counts)), key=counts.count, default=0)
    if usual > 2:
        rest = [list(given.values()) for given in shared.values() if len(given) == usual]
        pairs.append(compare_readers(tuple(names), rest))
    return pairs


def compare_readers(who: tuple[str, ...], opinions: Sequence[Sequence[Opinion]]) -> Agreement:
    """Compares readers on the vertebrae they share.

    Args:
        who: Their names.
        opinions: For each vertebra what each of them said, complete; equally many each.
    """
    everything = [["n" if o.evaluable is False else str(o.grade) for o in given] for given in opinions]
    graded = [[o.grade for o in given] for given in opinions if all(o.grade is not None for o in given)]
    yes_no = [[bool(grade) for grade in given] for given in graded]
    shapes = [[o.shape for o in given] for given in opinions if all(o.shape is not None for o in given)]
    two = bool(opinions) and len(opinions[0]) == 2
    return Agreement(
        who,
        len(opinions),
        _kappa(everything),
        cohen_kappa([g[0] for g in graded], [g[1] for g in graded], order=GRADES) if two else None,
        _kappa(yes_no),
        _kappa(shapes),
    )


def _kappa(ratings: Sequence[Sequence[object]]) -> float | None:
    if not ratings:
        return None
    if len(ratings[0]) == 2:
        return cohen_kappa([r[0] for r in ratings], [r[1] for r in ratings])
    return fleiss_kappa(ratings)


def _finished_opinions(session: Session) -> dict[int, dict[str, Opinion]]:
    """Vertebra -> reader -> complete opinion, of finished readings that are no adjudications."""
    query = (
        select(Mark, Account.name, VertebraRow.level)
        .join(Reading, Reading.id == Mark.reading_id)
        .join(Account, Account.id == Reading.account_id)
        .join(VertebraRow, VertebraRow.id == Mark.vertebra_id)
        .where(Reading.closed_at.is_not(None), ~Reading.adjudicates)
        .order_by(Mark.vertebra_id, Reading.id)
    )
    found: dict[int, dict[str, Opinion]] = defaultdict(dict)
    for mark, name, level in session.execute(query):
        if mark.opinion.complete and is_graded(level):
            found[mark.vertebra_id][name] = mark.opinion
    return found
