import numpy as np
import pytest

from spinelab.errors import LabelError
from spinelab.tasks.column_prior import RUNGS, column_prior, expected_spacing_mm


@pytest.mark.parametrize(
    ("upper", "lower", "low", "high"),
    [("C4", "C5", 16, 18.5), ("T4", "T5", 20.5, 22.5), ("L3", "L4", 35, 38), ("L5", "S", 32, 37)],
)
def test_spacing_of_neighbours_lies_where_anatomy_has_it(
    upper: str, lower: str, low: float, high: float
) -> None:
    mean, sd = expected_spacing_mm(upper, lower)
    assert low < mean < high
    assert 0.05 * mean < sd < 0.15 * mean


def test_steps_add_up_and_their_errors_go_together() -> None:
    (first, a), (second, b) = expected_spacing_mm("L1", "L2"), expected_spacing_mm("L2", "L3")
    mean, sd = expected_spacing_mm("L1", "L3")
    assert mean == pytest.approx(first + second)
    assert np.hypot(a, b) < sd < a + b


def test_rare_levels_count_only_when_named() -> None:
    assert expected_spacing_mm("T12", "T13")[0] == pytest.approx(
        expected_spacing_mm("T12", "L1")[0], rel=0.06
    )
    assert expected_spacing_mm("L5", "L6")[0] + expected_spacing_mm("L6", "S")[0] > 60
    assert expected_spacing_mm("L5", "S")[0] < 40


@pytest.mark.parametrize(
    ("upper", "lower", "message"),
    [
        ("L2", "L1", "L2 is not above L1; name the upper level first"),
        ("L2", "L2", "L2 is not above L2"),
        ("L5", "Co", "no spacing is known for the coccyx"),
        ("C1", "C9", "no vertebral level 'C9'"),
    ],
)
def test_levels_that_make_no_distance_are_refused(upper: str, lower: str, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        expected_spacing_mm(upper, lower)


def test_covariance_can_be_inverted_for_the_whole_column() -> None:
    rungs = np.array([rung for name, rung in RUNGS.items() if name not in {"T13", "L6"}])
    covariance = column_prior().covariance(rungs[:-1], rungs[1:])
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert covariance == pytest.approx(covariance.T)


def test_lordosis_turns_more_than_the_upper_chest() -> None:
    assert column_prior().turn(RUNGS["L4"]) > column_prior().turn(RUNGS["T6"]) > 3
