"""What goes wrong below the workstation is told, not shown as a traceback."""

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from spinelab.server import case_routes
from tests.server.cases import grade, sign_in


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (IntegrityError("INSERT", {}, Exception("unique")), 409, "at the same moment; try again"),
        (OperationalError("BEGIN", {}, Exception("locked")), 503, "busy or cannot be reached; try again"),
    ],
)
def test_the_database_in_trouble(app, monkeypatch, error, status, message):
    browser = sign_in(app, "ada")
    grade(browser, 1, {"T11": 0})

    def fail(*given, **named):
        raise error

    monkeypatch.setattr(case_routes, "undo", fail)
    answer = browser.post("/api/cases/1/undo")
    assert answer.status_code == status
    assert message in answer.json()["detail"]


def test_an_address_that_is_not_there(app):
    browser = sign_in(app, "ada")
    assert browser.get("/api/nothing").status_code == 404
    page = browser.get("/nothing")
    assert page.status_code == 404
    assert "To the work list" in page.text
    assert browser.get("/export/all.csv").status_code == 404
    assert "here is no export" in browser.get("/export/all.csv").text
