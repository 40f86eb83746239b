"""Many readers at once: nothing is lost, nothing is doubled."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy import func, select

from spinelab.server.accounts import add_account
from spinelab.server.tables import Audit, Mark, Reading
from tests.server.cases import LEVELS, PASSWORD, make_app, sign_in, vertebra_ids

READERS, ROUNDS = 20, 3


def test_twenty_readers_saving_at_once_lose_nothing(store):
    for number in range(READERS):
        add_account(store, f"reader{number}", "reader", PASSWORD)
    app = make_app(store, readers=READERS)
    browsers = [sign_in(app, f"reader{number}") for number in range(READERS)]
    start = Barrier(READERS)

    def work(number):
        browser = browsers[number]
        start.wait()
        assert browser.post("/api/cases/1/open").status_code == 200
        ids = vertebra_ids(browser)
        for turn in range(ROUNDS):
            for place, name in enumerate(LEVELS):
                grade = (number + turn + place) % 4
                body = {
                    "evaluable": True,
                    "grade": grade,
                    "shape": "crush" if grade else None,
                    "seconds": 1.0,
                }
                answer = browser.put(f"/api/cases/1/vertebrae/{ids[name]}", json=body)
                assert answer.status_code == 200, answer.text

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(work, range(READERS)))
    ids = vertebra_ids(browsers[0])
    with store.reading() as session:
        readings = {reading.account_id: reading.id for reading in session.scalars(select(Reading))}
        marks = {(m.reading_id, m.vertebra_id): (m.grade, m.seconds) for m in session.scalars(select(Mark))}
        graded = session.scalar(select(func.count()).select_from(Audit).where(Audit.action == "graded"))
    assert len(readings) == READERS
    assert graded == READERS * ROUNDS * len(LEVELS)
    first = min(readings)
    for account, reading in readings.items():
        for place, name in enumerate(LEVELS):
            wanted = ((account - first) + ROUNDS - 1 + place) % 4
            assert marks[reading, ids[name]] == (wanted, float(ROUNDS))


def test_one_reader_in_two_windows_has_one_reading(store):
    app = make_app(store)
    browsers = [sign_in(app, "ada") for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda browser: browser.post("/api/cases/1/open"), browsers))
    assert [answer.status_code for answer in answers] == [200] * 6
    with store.reading() as session:
        assert session.scalar(select(func.count()).select_from(Reading)) == 1
