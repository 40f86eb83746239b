"""Grading one case through the page's own requests."""

import pytest
from sqlalchemy import select

from spinelab.server.tables import Audit, Mark, Reading
from tests.server.cases import LEVELS, grade, make_app, read_whole, sign_in, vertebra_ids

POINTS = [[-12, 8], [0, 9], [12, 10], [-12, -8], [0, -9], [12, -10]]


@pytest.fixture
def ada(app):
    return sign_in(app, "ada")


def actions(store):
    with store.reading() as session:
        return list(session.scalars(select(Audit.action).where(Audit.scan_id == 1).order_by(Audit.id)))


def marks(store):
    with store.reading() as session:
        return {
            m.vertebra_id: (m.evaluable, m.grade, m.shape, m.seconds) for m in session.scalars(select(Mark))
        }


def test_what_is_graded_is_in_the_database_and_comes_back(ada, store):
    grade(ada, 1, {"T11": 0, "T12": (2, "wedge"), "L1": None})
    ids = vertebra_ids(ada)
    assert marks(store) == {
        ids["T11"]: (True, 0, None, 2.0),
        ids["T12"]: (True, 2, "wedge", 2.0),
        ids["L1"]: (False, None, None, 2.0),
    }
    shown = {v["level"]: v for v in ada.get("/api/cases/1").json()["vertebrae"]}
    assert [shown[name]["complete"] for name in LEVELS] == [True, True, True, False]
    assert shown["T12"]["opinion"]["shape"] == "wedge"


def test_time_adds_up_and_is_capped(ada, store):
    grade(ada, 1, {"T11": 0})
    vertebra = vertebra_ids(ada)["T11"]
    body = {"evaluable": True, "grade": 1, "shape": "crush", "seconds": 5000}
    ada.put(f"/api/cases/1/vertebrae/{vertebra}", json=body)
    assert marks(store)[vertebra][3] == 302.0


def test_undo_goes_back_step_by_step_also_after_loading_anew(app, ada, store):
    grade(ada, 1, {"T11": 0})
    grade(ada, 1, {"T11": (3, "crush")})
    other = sign_in(app, "ada")
    vertebra = vertebra_ids(other)["T11"]
    first = other.post("/api/cases/1/undo").json()
    assert first["undone"]
    assert first["vertebra"]["opinion"]["grade"] == 0
    assert other.post("/api/cases/1/undo").json()["vertebra"]["opinion"]["grade"] is None
    assert other.post("/api/cases/1/undo").json()["undone"] is False
    assert marks(store)[vertebra][:3] == (None, None, None)
    assert actions(store) == ["opened", "graded", "graded", "undone", "undone"]


def test_saving_the_same_again_leaves_no_trace(ada, store):
    grade(ada, 1, {"T11": 0})
    grade(ada, 1, {"T11": 0})
    assert actions(store) == ["opened", "graded"]


def test_points_are_kept_beside_the_grade_and_undone_alone(ada, store):
    grade(ada, 1, {"T12": (2, "wedge")})
    vertebra = vertebra_ids(ada)["T12"]
    body = {"evaluable": True, "grade": 2, "shape": "wedge", "points_mm": POINTS}
    answer = ada.put(f"/api/cases/1/vertebrae/{vertebra}", json=body).json()
    assert answer["opinion"]["points_mm"] == POINTS
    assert answer["heights_mm"] == {"anterior": 16.0, "middle": 18.0, "posterior": 20.0}
    assert actions(store)[-1] == "measured"
    undone = ada.post("/api/cases/1/undo").json()["vertebra"]["opinion"]
    assert undone["points_mm"] is None
    assert undone["grade"] == 2


def test_the_column_is_renamed_at_once_and_back(ada):
    grade(ada, 1, {"T11": 0})
    ids = vertebra_ids(ada)
    answer = ada.post("/api/cases/1/names", json={"vertebra_id": ids["L1"], "name": "L2"}).json()
    assert list(answer["names"].values()) == ["T12", "L1", "L2", "L3"]
    body = {"vertebra_id": ids["L1"], "name": "L1", "variant": "T13"}
    answer = ada.post("/api/cases/1/names", json=body).json()
    assert list(answer["names"].values()) == ["T12", "T13", "L1", "L2"]
    assert answer["variant"] == "T13"
    assert list(ada.post("/api/cases/1/undo").json()["names"].values()) == ["T12", "L1", "L2", "L3"]
    assert list(ada.post("/api/cases/1/undo").json()["names"].values()) == list(LEVELS)


def test_finishing_wants_everything_said(ada, store):
    grade(ada, 1, {"T11": 0, "T12": 2, "L1": 0})
    answer = ada.post("/api/cases/1/finish")
    assert answer.status_code == 400
    assert "left to grade: T12, L2" in answer.json()["detail"]
    grade(ada, 1, {"T12": (2, "wedge"), "L2": None})
    assert ada.post("/api/cases/1/finish").json()["finished"]
    with store.reading() as session:
        assert session.scalars(select(Reading)).one().closed_at is not None


def test_nothing_changes_in_a_finished_reading_until_it_is_opened_again(ada):
    read_whole(ada)
    vertebra = vertebra_ids(ada)["T11"]
    requests = (
        ("PUT", f"vertebrae/{vertebra}", {"evaluable": False}),
        ("POST", "undo", None),
        ("POST", "names", {"vertebra_id": vertebra, "name": "T10"}),
        ("POST", "finish", None),
    )
    for method, path, body in requests:
        answer = ada.request(method, f"/api/cases/1/{path}", json=body)
        assert answer.status_code == 403
        assert "this reading is finished" in answer.json()["detail"]
    assert ada.post("/api/cases/1/reopen").json()["open"]
    grade(ada, 1, {"T11": None})
    assert "no finished reading" in ada.post("/api/cases/1/reopen").json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"evaluable": True, "grade": 7}, 400, "a Genant grade is 0, 1, 2 or 3"),
        ({"evaluable": True, "grade": "2"}, 422, "the request makes no sense at body.grade"),
        ({"evaluable": True, "grade": True}, 422, "body.grade"),
        ({"grade": 1, "reader": "ben"}, 422, "body.reader"),
        ({"evaluable": True, "points_mm": [[1, 2]]}, 400, "6 points wanted"),
        ({"seconds": -1}, 422, "body.seconds"),
    ],
)
def test_nonsense_is_refused_with_its_reason(ada, body, status, message):
    ada.post("/api/cases/1/open")
    answer = ada.put(f"/api/cases/1/vertebrae/{vertebra_ids(ada)['T11']}", json=body)
    assert answer.status_code == status
    assert message in answer.json()["detail"]


def test_a_case_has_room_for_so_many_readers(store):
    app = make_app(store, readers=1)
    assert sign_in(app, "ada").post("/api/cases/1/open").status_code == 200
    answer = sign_in(app, "ben").post("/api/cases/1/open")
    assert answer.status_code == 403
    assert "already has its 1 readers" in answer.json()["detail"]


def test_what_is_not_there_is_said(ada):
    assert "there is no read case 99" in ada.post("/api/cases/99/open").json()["detail"]
    assert ada.get("/api/cases/99").status_code == 404
    grade(ada, 1, {"T11": 0})
    ada.post("/api/cases/2/open")
    foreign = vertebra_ids(ada, 2)["T11"]
    answer = ada.put(f"/api/cases/1/vertebrae/{foreign}", json={"evaluable": False})
    assert answer.status_code == 404
    assert f"no vertebra {foreign} in this case" in answer.json()["detail"]
    assert ada.get(f"/api/cases/1/vertebrae/{foreign}/picture.png").status_code == 404
