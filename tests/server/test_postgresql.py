"""The workstation on PostgreSQL; set SPINELAB_TEST_POSTGRESQL to the URL of a database to be emptied."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DatabaseError

from spinelab.server.tables import Audit, Mark
from tests.server.cases import LEVELS, grade, make_app, make_store, read_whole, sign_in, vertebra_ids

URL = os.environ.get("SPINELAB_TEST_POSTGRESQL")


@pytest.fixture
def store(tmp_path):
    if URL is None:
        pytest.skip("SPINELAB_TEST_POSTGRESQL names no database")
    made = make_store(tmp_path, url=URL)
    yield made
    made.close()


def test_two_readers_and_an_adjudicator(store):
    app = make_app(store)
    for name, verdict in (("ada", (2, "wedge")), ("ben", (1, "wedge"))):
        read_whole(sign_in(app, name), T12=verdict)
    jo = sign_in(app, "jo")
    grade(jo, 1, {"T12": 0})
    assert jo.post("/api/cases/1/undo").json()["undone"]
    grade(jo, 1, {"T12": (3, "crush")})
    assert jo.post("/api/cases/1/finish").json()["finished"]
    assert ",T12,T12,final,adjudicated,true,3,crush," in jo.get("/export/labels.csv").text


def test_the_audit_is_append_only_here_too(store):
    grade(sign_in(make_app(store), "ada"), 1, {"T11": 0})
    for statement in ("UPDATE audit SET action = 'x'", "DELETE FROM audit", "TRUNCATE audit CASCADE"):
        with pytest.raises(DatabaseError, match="append-only"), store.writing() as session:
            session.connection().exec_driver_sql(statement)


def test_saving_at_once_loses_nothing(store):
    app = make_app(store, readers=3)
    browsers = [sign_in(app, name) for name in ("ada", "ben", "eve")]

    def work(browser):
        assert browser.post("/api/cases/1/open").status_code == 200
        ids = vertebra_ids(browser)
        for name in LEVELS * 3:
            body = {"evaluable": False, "seconds": 1.0}
            assert browser.put(f"/api/cases/1/vertebrae/{ids[name]}", json=body).status_code == 200

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, browsers))
    with store.reading() as session:
        assert [mark.seconds for mark in session.scalars(select(Mark))] == [3.0] * 12
        graded = select(func.count()).select_from(Audit).where(Audit.action == "graded")
        assert session.scalar(graded) == 12
