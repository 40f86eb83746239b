import pytest

from spinelab.server.opinions import Opinion
from spinelab.server.study import compare_readers, measure_agreement, measure_progress
from tests.server.cases import make_app, read_whole, sign_in

NORMAL, WEDGE, CRUSH, NONE = (
    Opinion(True, 0),
    Opinion(True, 2, "wedge"),
    Opinion(True, 2, "crush"),
    Opinion(False),
)


def test_two_readers_counted_by_hand():
    pairs = [[NORMAL, NORMAL], [NORMAL, WEDGE], [WEDGE, WEDGE], [CRUSH, WEDGE], [NONE, NONE], [NONE, NORMAL]]
    found = compare_readers(("a", "b"), pairs)
    # categories n, 0, 2: first 2, 2, 2; second 1, 2, 3; alike 4/6; chance (2 + 4 + 6)/36
    assert found.kappa == pytest.approx((4 / 6 - 1 / 3) / (1 - 1 / 3))
    # graded by both: 0-0, 0-2, 2-2, 2-2; yes/no alike 3/4, chance (2*1 + 2*3)/16
    assert found.fracture == pytest.approx((0.75 - 0.5) / 0.5)
    assert found.weighted == pytest.approx(0.5)
    # shapes: wedge-wedge, crush-wedge: alike 1/2, chance 1/2
    assert found.shape == 0
    assert found.vertebrae == 6


def test_without_anything_shared_nothing_is_claimed():
    found = compare_readers(("a", "b"), [[NONE, NORMAL]])
    assert (found.weighted, found.fracture, found.shape) == (None, None, None)


def test_three_readers_are_compared_two_by_two_and_all_together(store):
    app = make_app(store, readers=3)
    for name, verdict in (("ada", (2, "wedge")), ("ben", (2, "wedge")), ("eve", 0)):
        read_whole(sign_in(app, name), 1, T12=verdict)
    with store.reading() as session:
        found = measure_agreement(session)
    assert [one.who for one in found] == [
        ("ada", "ben"),
        ("ada", "eve"),
        ("ben", "eve"),
        ("ada", "ben", "eve"),
    ]
    assert found[0].kappa == 1
    # T12: 2 of 3 alike; the others all: P = (3 + 1/3)/4; shares 10/12 and 2/12
    chance = (10 / 12) ** 2 + (2 / 12) ** 2
    assert found[3].kappa == pytest.approx(((3 + 1 / 3) / 4 - chance) / (1 - chance))
    assert found[3].weighted is None


def test_progress_counts_finished_vertebrae_and_their_time(app, store):
    read_whole(sign_in(app, "ada"), 1)
    sign_in(app, "ada").post("/api/cases/2/open")
    with store.reading() as session:
        found = {one.name: one for one in measure_progress(session)}
    assert set(found) == {"ada", "ben", "eve", "jo"}
    ada = found["ada"]
    assert (ada.finished, ada.begun, ada.vertebrae, ada.median_seconds) == (1, 1, 4, 2.0)
    assert found["ben"].median_seconds is None
