"""The same on a PostgreSQL server; set SPINELAB_TEST_POSTGRESQL to the URL of a database to be emptied."""

import os
import threading

import pytest
from sqlalchemy import select

from spinelab.archive import queue
from spinelab.archive.jobs import Reading
from spinelab.archive.queue import FoundScan
from spinelab.archive.store import open_store
from spinelab.archive.tables import Base, Scan
from spinelab.archive.worklist import list_work
from spinelab.errors import OutputError
from tests.archive.readers import spine_of

URL = os.environ.get("SPINELAB_TEST_POSTGRESQL")


@pytest.fixture
def store(tmp_path):
    if URL is None:
        pytest.skip("SPINELAB_TEST_POSTGRESQL names no database")
    opened = open_store(URL, files=tmp_path / "files")
    Base.metadata.drop_all(opened.engine)
    opened.prepare()
    yield opened
    opened.close()


def in_threads(*works):
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_many_workers_enter_claim_and_finish_each_scan_once(store):
    def enter():
        for number in range(40):
            queue.enter(store, FoundScan(f"{number:02d}", f"/scans/{number}", "volume"), now=1.0)

    in_threads(*[enter] * 4)
    assert queue.count(store)["queued"] == 40
    claimed = []

    def work(name):
        while (job := queue.claim(store, name, now=2.0)) is not None:
            claimed.append(job.scan_id)
            out = store.files / f"new-{job.case}"
            out.mkdir()
            assert queue.finish(store, job, Reading(spine_of(20 + job.scan_id % 60), {}, 1.0), out, now=3.0)

    in_threads(*[lambda name=name: work(name) for name in "abcd"])
    assert sorted(claimed) == sorted(set(claimed))
    items = list_work(store)
    assert len(items) == 40
    losses = [item.height_loss_percent for item in items]
    assert losses == sorted(losses, reverse=True)


def test_what_a_dead_worker_held_is_taken_back(store):
    queue.enter(store, FoundScan("a", "/scans/a", "volume"), now=1.0)
    queue.claim(store, "dead", now=2.0)
    assert queue.take_back(store, lambda worker: worker == "dead", now=3.0) == 1
    with store.reading() as session:
        assert session.scalars(select(Scan)).one().status == "queued"


def test_the_salt_is_that_of_the_database(store, tmp_path):
    other = open_store(URL, files=tmp_path / "elsewhere")
    assert other.case_name("key") == store.case_name("key")
    other.close()


def test_a_server_that_is_not_there_is_told_without_the_password(tmp_path):
    pytest.importorskip("psycopg", reason="the PostgreSQL driver is not installed")
    url = "postgresql+psycopg://reader:secret@127.0.0.1:1/none"
    with pytest.raises(OutputError, match="cannot open the results database postgresql") as told:
        open_store(url, files=tmp_path)
    assert "secret" not in str(told.value)
