"""Many readers grade one case at once, each over a connection of their own; part of `workstation.py`."""

import json
import statistics
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from spinelab.archive.store import Store
from spinelab.server.accounts import add_account, find_person, sign_in
from spinelab.server.security import COOKIE
from spinelab.server.tables import Audit, Mark, Reading

PASSWORD = "only for the benchmark"
_WAIT_S = 60.0
#: Readers who save at once, and how often each grades every vertebra.
READERS, ROUNDS = 20, 3


@dataclass(frozen=True)
class AtOnce:
    """What came of many readers saving at once.

    Attributes:
        readers: How many.
        saved: Answers "saved" they got.
        lost: Of their last grades, those the database does not hold.
        doubled: Changes in the audit beyond those that were answered.
        seconds: From the first to the last.
        median_ms, slowest_ms: Of one save, from asking to the answer.
    """

    readers: int
    saved: int
    lost: int
    doubled: int
    seconds: float
    median_ms: float
    slowest_ms: float


class Caller:
    """A reader's own connection, without a browser."""

    def __init__(self, store: Store, address: str, name: str) -> None:
        token = sign_in(store, name, PASSWORD, address=name, hours=1)
        person = find_person(store, token)
        assert person is not None
        self.address, self.account = address, person.id
        self._headers = {
            "Cookie": f"{COOKIE}={token}",
            "X-CSRF-Token": person.csrf,
            "Content-Type": "application/json",
        }

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Returns what the workstation answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, self._headers, method=method)
        with urllib.request.urlopen(request, timeout=_WAIT_S) as answer:
            return json.loads(answer.read())


def save_at_once(store: Store, address: str, scan_id: int) -> AtOnce:
    """Has many readers grade one case at the same time; counts what the database holds afterwards.

    Args:
        store: The results database.
        address: Of a workstation that serves it and lets so many read one case.
        scan_id: The case.
    """
    names = [f"reader{number}" for number in range(READERS)]
    for name in names:
        add_account(store, name, "reader", PASSWORD)
    callers = [Caller(store, address, name) for name in names]
    before = _count_graded(store)
    start, began = threading.Barrier(READERS), time.perf_counter()
    with ThreadPoolExecutor(READERS) as pool:
        work = [pool.submit(_grade_by_calls, caller, scan_id, start) for caller in callers]
        given = {caller.account: w.result() for caller, w in zip(callers, work, strict=True)}
    seconds = time.perf_counter() - began
    times = [ms for _, several in given.values() for ms in several]
    query = select(Reading.account_id, Mark.vertebra_id, Mark.grade).join(Mark, Mark.reading_id == Reading.id)
    with store.reading() as session:
        kept = {(account, number): grade for account, number, grade in session.execute(query)}
    lost = sum(kept.get((a, n)) != g for a, (last, _) in given.items() for n, g in last.items())
    doubled = _count_graded(store) - before - len(times)
    middle = round(statistics.median(times))
    return AtOnce(READERS, len(times), lost, doubled, round(seconds, 1), middle, round(max(times)))


def _grade_by_calls(
    caller: Caller, scan_id: int, start: threading.Barrier
) -> tuple[dict[int, int], list[float]]:
    """Grades every vertebra again and again; returns the last grades and the milliseconds of each save."""
    start.wait()
    caller.ask("POST", f"/api/cases/{scan_id}/open")
    shown = caller.ask("GET", f"/api/cases/{scan_id}")["vertebrae"]
    last, times = {}, []
    for turn in range(ROUNDS):
        for place, vertebra in enumerate(v for v in shown if v["graded"]):
            grade = (caller.account + turn + place) % 4
            body = {"evaluable": True, "grade": grade, "shape": "crush" if grade else None, "seconds": 1.0}
            asked = time.perf_counter()
            caller.ask("PUT", f"/api/cases/{scan_id}/vertebrae/{vertebra['id']}", body)
            times.append(1000 * (time.perf_counter() - asked))
            last[vertebra["id"]] = grade
    return last, times


def _count_graded(store: Store) -> int:
    with store.reading() as session:
        return session.scalar(select(func.count()).select_from(Audit).where(Audit.action == "graded")) or 0
