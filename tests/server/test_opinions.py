import pytest

from spinelab.errors import InputError
from spinelab.server.opinions import Opinion, agree, heights_between

POINTS = ((-12.0, 8.0), (0.0, 9.0), (12.0, 10.0), (-12.0, -8.0), (0.0, -9.0), (12.0, -10.0))


@pytest.mark.parametrize(
    ("values", "complete"),
    [
        ({}, False),
        ({"evaluable": False}, True),
        ({"evaluable": True}, False),
        ({"evaluable": True, "grade": 0}, True),
        ({"evaluable": True, "grade": 2}, False),
        ({"evaluable": True, "grade": 2, "shape": "crush"}, True),
    ],
)
def test_when_nothing_is_left_to_say(values, complete):
    assert Opinion(**values).complete is complete


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"evaluable": True, "grade": 4}, "a Genant grade is 0, 1, 2 or 3, found 4"),
        (
            {"evaluable": True, "grade": 1, "shape": "round"},
            "a shape is wedge, biconcave, crush, found 'round'",
        ),
        ({"grade": 1}, "a vertebra with a grade is evaluable"),
        ({"evaluable": True, "grade": 0, "shape": "wedge"}, "only grades 1 to 3 have a shape"),
        ({"points_mm": POINTS[:5]}, "6 points wanted .*, found 5"),
        ({"points_mm": ((-90.0, 8.0), *POINTS[1:])}, "within 80 mm of the body's centre"),
        ({"points_mm": ((float("nan"), 8.0), *POINTS[1:])}, "within 80 mm of the body's centre"),
        ({"points_mm": (*POINTS[3:], *POINTS[:3])}, "a top point lies above its bottom point"),
    ],
)
def test_what_is_no_opinion_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        Opinion(**values)


def test_json_and_back():
    opinion = Opinion(True, 2, "wedge", POINTS)
    assert Opinion.from_dict(opinion.to_dict()) == opinion
    assert Opinion.from_dict({}) == Opinion()


def test_heights_are_distances_between_partners():
    assert heights_between(POINTS).anterior == 16
    slanted = ((0.0, 3.0), *POINTS[1:3], (4.0, 0.0), *POINTS[4:])
    assert heights_between(slanted).anterior == 5
    assert Opinion(True, 0, None, POINTS).heights_mm.posterior == 20
    assert Opinion(True, 0).heights_mm is None


def test_readers_agree_on_the_verdict_whatever_their_points():
    one, same = Opinion(True, 2, "wedge", POINTS), Opinion(True, 2, "wedge")
    assert agree([one, same]) == same
    assert agree([one, Opinion(True, 2, "crush")]) is None
    assert agree([one, Opinion(False)]) is None
    assert agree([Opinion(True, 2), Opinion(True, 2)]) is None
    assert agree([]) is None
