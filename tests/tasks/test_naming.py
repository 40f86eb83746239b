"""Columns built from the prior's own mean distances, so that every expectation can be counted by hand."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from spinelab.anatomy import levels_between
from spinelab.errors import InputError
from spinelab.tasks.column_prior import RUNGS, column_prior
from spinelab.tasks.naming import (
    Candidate,
    ChainOptions,
    NamedColumn,
    NamingOptions,
    name_column,
    trace_column,
)

Float = NDArray[np.float64]
WHOLE = (*levels_between("C1", "L5"), "S")


def vector(name: str, *, shift: float = 0.0) -> Float:
    """A smoothed one-hot of a level, moved by `shift` levels; all sacral segments share a class."""
    if RUNGS[name] >= 24:
        return np.r_[np.full(25, 0.01), 0.75]
    classes = np.array([*range(24), 23.5])
    return np.r_[np.exp(-0.5 * ((classes - RUNGS[name] - shift) / 0.6) ** 2), 0.02]


def centers(
    names: Sequence[str], tilt: Callable[[float], float] = lambda _: 0.0, *, plane: int = 0, size: float = 1.0
) -> Float:
    """(n, 3) LPS mm: steps of the prior's mean length, tilted by tilt(share of way) degrees in a plane."""
    rungs = np.array([RUNGS[name] for name in names])
    lengths = size * np.exp(column_prior().log_spacing(rungs[:-1], rungs[1:])[0])
    points = [np.zeros(3)]
    for k, length in enumerate(lengths):
        angle = np.radians(tilt(k / max(len(lengths) - 1, 1)))
        step = np.array([0.0, 0.0, -np.cos(angle)])
        step[plane] = np.sin(angle)
        points.append(points[-1] + length * step)
    return np.array(points)


def candidate(point: Float, level_vector: Float, score: float = 0.8, **cues: float) -> Candidate:
    return Candidate((float(point[0]), float(point[1]), float(point[2])), score, level_vector, **cues)


def column(names: Sequence[str], points: Float | None = None, *, shift: float = 0.0) -> list[Candidate]:
    points = centers(names) if points is None else points
    return [candidate(p, vector(n, shift=shift)) for p, n in zip(points, names, strict=True)]


def with_cues(names: Sequence[str], *, shift: float = 0.0) -> list[Candidate]:
    """A column with rib and sacrum probabilities of 0.95 where they belong and 0.05 elsewhere."""
    below = (*names[1:], "")
    return [
        replace(found, rib=0.95 if name[0] == "T" else 0.05, sacrum=0.95 if lower == "S" else 0.05)
        for found, name, lower in zip(column(names, shift=shift), names, below, strict=True)
    ]


def named(candidates: Sequence[Candidate]) -> NamedColumn:
    return name_column(trace_column(candidates))


def order(candidates: Sequence[Candidate]) -> list[int | None]:
    return [point.candidate for point in trace_column(candidates)]


# --- the chain -------------------------------------------------------------------------------------------


def test_whole_column_is_traced_from_the_head_down_in_any_order() -> None:
    found = column(WHOLE)
    shuffled = np.random.default_rng(3).permutation(len(found))
    chain = trace_column([found[k] for k in shuffled])
    assert [shuffled[p.candidate] for p in chain if p.candidate is not None] == list(range(25))


@pytest.mark.parametrize("plane", [0, 1])
def test_curve_of_ninety_degrees_is_followed(plane: int) -> None:
    names = levels_between("T1", "L5")
    points = centers(names, lambda share: 45 - 90 * share, plane=plane)
    assert order(column(names, points)) == list(range(17))


def test_oblique_column_is_followed() -> None:
    names = levels_between("T8", "L4")
    assert order(column(names, centers(names, lambda _: 60.0))) == list(range(9))


def test_child_is_found_with_every_vertebra() -> None:
    names = levels_between("T3", "L5")
    assert order(column(names, centers(names, size=0.6))) == list(range(15))


def test_false_peaks_beside_the_column_are_left_out() -> None:
    names = levels_between("T4", "L1")
    points = centers(names)
    ribs = [
        candidate(points[k] + [side * 60.0, 10, -8], vector(names[k]), 0.7)
        for k in range(8)
        for side in (-1, 1)
    ]
    assert order([*column(names, points), *ribs]) == list(range(10))


@pytest.mark.parametrize("share", [0.35, 0.5])
def test_second_peak_in_a_vertebra_or_disc_is_left_out(share: float) -> None:
    names = levels_between("T10", "L4")
    points = centers(names)
    double = candidate(points[3] + share * (points[4] - points[3]), vector(names[3]), 0.6)
    assert order([*column(names, points), double]) == list(range(7))


def test_one_missing_vertebra_is_inserted_where_it_was() -> None:
    names = levels_between("T8", "L4")
    points = centers(names, lambda share: 20 - 40 * share)
    found = column(names, points)
    chain = trace_column(found[:4] + found[5:])
    assert [point.inserted for point in chain] == [False] * 4 + [True] + [False] * 4
    assert np.linalg.norm(np.array(chain[4].center_mm) - points[4]) < 1.5
    assert chain[4].score == 0
    assert chain[4].candidate is None


def test_two_missing_vertebrae_end_the_chain() -> None:
    names = levels_between("T1", "L5")
    found = column(names)
    assert order(found[:4] + found[6:]) == list(range(4, 15))


def test_two_missing_vertebrae_are_inserted_where_that_is_allowed() -> None:
    names = levels_between("T1", "L5")
    points = centers(names)
    found = column(names, points)
    chain = trace_column(found[:4] + found[6:], ChainOptions(most_missing=2))
    assert [k for k, point in enumerate(chain) if point.inserted] == [4, 5]
    assert np.array([p.center_mm for p in chain[4:6]]) == pytest.approx(points[4:6], abs=1.5)


def test_no_gap_is_bridged_where_none_is_allowed() -> None:
    found = column(levels_between("T1", "L5"))
    chain = trace_column(found[:4] + found[5:], ChainOptions(most_missing=0))
    assert [point.candidate for point in chain] == list(range(4, 16))


def test_weak_peak_of_a_cut_vertebra_at_the_end_is_kept() -> None:
    names = levels_between("T9", "L3")
    found = column(names)
    found[-1] = replace(found[-1], score=0.2)
    assert order(found) == list(range(7))


def test_scan_without_a_spine_gives_nothing() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        points = rng.uniform((0, 0, 0), (300, 250, 300), (6, 3))
        guesses = rng.dirichlet(np.full(26, 0.3), 6)
        assert (
            trace_column(
                [candidate(p, g, rng.uniform(0.05, 0.7)) for p, g in zip(points, guesses, strict=True)]
            )
            == ()
        )


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_candidates_are_no_column(count: int) -> None:
    assert trace_column(column(["L1"])[:count]) == ()


def test_candidates_far_apart_are_no_column() -> None:
    assert trace_column([candidate(np.array([0, 0, z]), vector("L1")) for z in (0.0, 200.0, 400.0)]) == ()


# --- the names -------------------------------------------------------------------------------------------


def test_whole_column_is_named_and_anchored() -> None:
    answer = named(with_cues(WHOLE))
    assert answer.levels == WHOLE
    assert answer.numbering.anchors == ("C2", "first rib", "last rib", "sacrum")
    assert answer.numbering.anchored
    assert answer.numbering.variants == ()
    assert answer.numbering.probability > 0.95
    assert "rests on C2, the first rib, the last rib and the sacrum: C1 to S1" in answer.numbering.statement


def test_readings_sum_to_one_and_carry_the_marginals() -> None:
    answer = named(column(levels_between("T5", "T10")))
    assert sum(reading.probability for reading in answer.readings) == pytest.approx(1)
    first = sum(r.probability for r in answer.readings if r.levels[0] == answer.levels[0])
    assert answer.probabilities[0] == pytest.approx(first)
    costs = [reading.cost for reading in answer.readings]
    assert costs == sorted(costs)


def test_nothing_in_view_to_count_from_is_said_so() -> None:
    answer = named(column(levels_between("T5", "T10")))
    assert answer.levels == levels_between("T5", "T10")
    assert answer.numbering.anchors == ()
    assert not answer.numbering.anchored
    assert answer.numbering.probability < 0.95
    assert answer.numbering.runner_up in {levels_between("T4", "T9"), levels_between("T6", "T11")}
    assert answer.numbering.statement.startswith("Nothing in view fixes the count (neither C2")


def test_sacrum_overrules_vectors_that_are_one_level_off() -> None:
    names = (*levels_between("T12", "L5"), "S")
    answer = named(column(names, shift=-1.0))
    assert answer.levels == names
    assert answer.numbering.anchors == ("sacrum",)


def test_sacrum_seen_below_the_last_point_is_an_anchor() -> None:
    names = levels_between("T12", "L5")
    found = [
        replace(c, sacrum=0.95 if n == "L5" else 0.05) for c, n in zip(column(names), names, strict=True)
    ]
    answer = named(found)
    assert answer.levels == names
    assert answer.numbering.anchors == ("sacrum",)
    assert answer.numbering.probability > named(column(names)).numbering.probability


def test_ribs_overrule_vectors_that_are_one_level_off() -> None:
    names = levels_between("T9", "L3")
    assert named(with_cues(names, shift=1.0)).levels == names
    assert named(with_cues(names, shift=1.0)).numbering.anchors == ("last rib",)


def test_lower_sacral_segments_are_no_vertebrae() -> None:
    answer = named(column(("L2", "L3", "L4", "L5", "S", "S2", "S3")))
    assert answer.levels == ("L2", "L3", "L4", "L5", "S")
    assert len(answer.points) == len(answer.probabilities) == 5


@pytest.mark.parametrize(
    ("names", "variant", "words"),
    [
        ((*levels_between("T6", "L6"), "S"), "L6", "a sixth lumbar vertebra (L6)"),
        ((*levels_between("T6", "L4"), "S"), "L4 last", "four lumbar vertebrae"),
        ((*levels_between("C5", "T12"), "T13", *levels_between("L1", "L5"), "S"), "T13", "(T13)"),
        ((*levels_between("C5", "T11"), *levels_between("L1", "L5"), "S"), "T11 last", "eleven thoracic"),
    ],
)
def test_variant_with_both_sides_in_view_is_named(names: tuple[str, ...], variant: str, words: str) -> None:
    answer = named(with_cues(names))
    assert answer.levels == names
    assert answer.numbering.variants == (variant,)
    assert words in answer.numbering.statement


def test_variant_that_nothing_shows_stays_a_doubt() -> None:
    answer = named(column(("L2", "L3", "L4", "L5", "L6", "S")))
    assert "L6" not in answer.levels
    assert answer.levels[-2:] == ("L5", "S")
    doubts = [reading for reading in answer.readings if "L6" in reading.levels]
    assert doubts
    assert not any(reading.shown for reading in doubts)
    assert max(reading.probability for reading in doubts) < 0.1


def test_single_point_can_be_named() -> None:
    chain = trace_column(column(("C2", "C3")))
    assert name_column(chain[:1]).levels == ("C2",)


# --- refusals --------------------------------------------------------------------------------------------


def test_empty_chain_is_refused() -> None:
    with pytest.raises(InputError, match="there is no point to name; check for an empty chain"):
        name_column(())


def test_chain_longer_than_a_column_is_refused() -> None:
    point = trace_column(column(("L1", "L2")))[0]
    with pytest.raises(InputError, match="a chain of 40 points is longer than any column"):
        name_column([point] * 40)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level_probabilities": np.zeros(25)}, r"must be 26 finite numbers.*found shape \(25,\)"),
        ({"level_probabilities": -np.ones(26)}, "must be 26 finite numbers"),
        ({"score": 1.2}, "score must lie between 0 and 1, found 1.2"),
        ({"rib": -0.1}, "rib must lie between 0 and 1, found -0.1"),
        ({"sacrum": float("nan")}, "sacrum must lie between 0 and 1, found nan"),
        ({"center_mm": (0.0, float("inf"), 0.0)}, "center_mm must be three finite LPS mm"),
    ],
)
def test_candidate_out_of_range_is_refused(change: dict[str, object], message: str) -> None:
    good: dict[str, object] = {"center_mm": (0.0, 0.0, 0.0), "score": 0.5, "level_probabilities": np.ones(26)}
    with pytest.raises(InputError, match=message):
        Candidate(**(good | change))  # type: ignore[arg-type]


def test_candidate_vector_is_normalised() -> None:
    assert candidate(np.zeros(3), np.full(26, 2.0)).level_probabilities.sum() == pytest.approx(1)
    assert candidate(np.zeros(3), np.zeros(26)).level_probabilities == pytest.approx(np.full(26, 1 / 26))


def test_gap_of_more_than_two_cannot_be_asked_for() -> None:
    with pytest.raises(InputError, match="most_missing must be 0, 1 or 2, found 3"):
        ChainOptions(most_missing=3)


def test_chain_options_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="jitter_mm and blur must be above 0 and most_candidates at least 2"):
        ChainOptions(jitter_mm=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0, found 0.0"),
        ({"shared_bias": (0.9, 0.2)}, "sum of shared_bias must be at least 0 and below 1, found 1.1"),
        ({"repetition": -0.1}, "repetition must be at least 0 and below 1, found -0.1"),
    ],
)
def test_naming_options_out_of_range_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NamingOptions(**change)  # type: ignore[arg-type]
