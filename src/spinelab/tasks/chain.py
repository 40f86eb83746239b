"""Picks the column out of candidate body centres: the best chain from the head down, or nothing.

Dynamic programming over pairs of neighbours and their likely level. A chain gains by the scores of its
points and by neighbours that lie where a column would have them; it pays for odd distances (judged by the
level and by the size of the person), for sharp turns, and for a vertebra missing in between. Points that do
not help are left out, and a chain that does not gain enough is no column.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from spinelab.errors import InputError
from spinelab.spine import Point
from spinelab.tasks.column_prior import RUNGS, column_prior
from spinelab.tasks.level_evidence import CLASSES, Candidate, level_likelihood, sacral_likelihood

Float = NDArray[np.float64]
Index = NDArray[np.intp]

#: Every level a point of the chain may be on, from the head down.
STATES = tuple(sorted(RUNGS, key=lambda name: RUNGS[name]))
_NONE = -1.0e9
#: Two missing lumbar vertebrae of a tall person.
_FARTHEST_MM = 150.0


@dataclass(frozen=True)
class ChainOptions:
    """How a chain is picked. Gains and costs are natural logarithms of likelihood ratios.

    Attributes:
        jitter_mm: Standard deviation of a centre, each axis.
        neighbour_gain: Gain of two neighbours that lie exactly as a column would have them.
        missing_cost: Cost of each missing vertebra that is bridged.
        most_missing: Only so many missing in a row are bridged; a wider gap ends the chain.
        variant_cost: Cost of a column with T13 or L6, or without T12 or L5.
        level_weight: How far level vectors count in picking (they count again in naming).
        blur: Width in levels at which level vectors are read.
        sacrum_error: Probability that the network takes sacrum for vertebra or the reverse.
        least_gain: A chain must gain this much to be a column.
        most_candidates: Only so many candidates of the highest score are looked at.

    Raises:
        InputError: A number is out of range.
    """

    jitter_mm: float = 1.6
    neighbour_gain: float = 3.0
    missing_cost: float = 0.0
    most_missing: int = 1
    variant_cost: float = 4.0
    level_weight: float = 0.8
    blur: float = 0.8
    sacrum_error: float = 0.05
    least_gain: float = 6.0
    most_candidates: int = 120

    def __post_init__(self) -> None:
        if self.most_missing not in {0, 1, 2}:
            raise InputError(f"most_missing must be 0, 1 or 2, found {self.most_missing}")
        if self.jitter_mm <= 0 or self.blur <= 0 or self.most_candidates < 2:
            raise InputError(
                "jitter_mm and blur must be above 0 and most_candidates at least 2, found "
                f"{self.jitter_mm}, {self.blur}, {self.most_candidates}"
            )


@dataclass(frozen=True, eq=False)
class TracedPoint:
    """One body of the chain.

    Attributes:
        center_mm: LPS mm.
        score: Height of the heat map; 0 where nothing was found and the point is `inserted`.
        level_probabilities: (26,) as in `Candidate`; flat when inserted.
        rib: As in `Candidate`.
        sacrum: As in `Candidate`.
        inserted: True for a point put where a vertebra is missing between two that were found.
        candidate: Place in the list of candidates; None when inserted.
    """

    center_mm: Point
    score: float
    level_probabilities: Float
    rib: float | None = None
    sacrum: float | None = None
    inserted: bool = False
    candidate: int | None = None


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Candidates that may follow each other.

    Attributes:
        upper, lower: (e,) candidates of each pair.
        distance: (e,) mm.
        slope: (e,) cost of running against the head-to-foot direction.
        after, before: (t,) pairs that share a candidate: the lower of `before` is the upper of `after`;
            sorted by after.
        angle: (t,) degrees of the turn between them.
    """

    upper: Index
    lower: Index
    distance: Float
    slope: Float
    after: Index
    before: Index
    angle: Float


@dataclass(frozen=True, eq=False)
class _Best:
    """Best chain that ends with each pair on each state.

    Attributes:
        gain: (states, e).
        pair: (states, e) pair before, -1 where the chain starts.
        state: (states, e) state of the upper candidate of the pair.
        bridged: (states, e) how many vertebrae are missing inside the pair.
    """

    gain: Float
    pair: Index
    state: Index
    bridged: Index


def trace_column(
    candidates: Sequence[Candidate], options: ChainOptions = ChainOptions()
) -> tuple[TracedPoint, ...]:
    """Returns the column among the candidates from the head down, or nothing where there is none.

    Candidates may come in any order. The chain may start and end anywhere and run in any shape that does not
    climb towards the head; it may end in sacral points. A column has at least two points.
    """
    kept = sorted(range(len(candidates)), key=lambda k: -candidates[k].score)[: options.most_candidates]
    chosen = [candidates[k] for k in kept]
    if len(chosen) < 2:
        return ()
    points = np.array([c.center_mm for c in chosen], dtype=np.float64)
    pairs = _pair_up(points)
    if len(pairs.upper) == 0:
        return ()
    unary = _unary_gain(chosen, options)
    turn = _turn_cost(pairs, options)
    best = _solve(pairs, unary, turn, options, size=0.0, spread=0.17)
    if best.gain.max() < 0:
        return ()
    chain = _walk_back(pairs, best)
    size = _size(points, chain)
    best = _solve(pairs, unary, turn, options, size=size, spread=0.11)
    if best.gain.max() < options.least_gain + 0.5 * (size / 0.12) ** 2:
        return ()
    return _as_points(chosen, kept, _walk_back(pairs, best), points)


def _pair_up(points: Float) -> _Pairs:
    """Lists pairs at a plausible distance whose lower one is not clearly nearer to the head."""
    step = points[None, :, :] - points[:, None, :]
    length = np.linalg.norm(step, axis=2)
    down = -step[:, :, 2] / np.maximum(length, 1e-6)
    upper, lower = np.nonzero((length > 5.0) & (length < _FARTHEST_MM) & (down > -0.25))
    distance, cosine = length[upper, lower], down[upper, lower]
    # free up to 60 degrees from the body axis, then dearer: a thorax may well lie that oblique
    slope = 4.0 * np.clip(0.5 - cosine, 0, None) ** 2
    direction = step[upper, lower] / distance[:, None]
    by_lower = [np.nonzero(lower == k)[0] for k in range(len(points))]
    before_each = [by_lower[k] for k in upper]
    counts = [len(pairs) for pairs in before_each]
    before = np.concatenate(before_each) if len(upper) else np.zeros(0, dtype=np.intp)
    after = np.repeat(np.arange(len(upper)), counts)
    cosines = np.einsum("ij,ij->i", direction[before], direction[after])
    angle = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    keep = angle < 75
    return _Pairs(upper, lower, distance, slope, after[keep], before[keep], angle[keep])


def _unary_gain(chosen: list[Candidate], options: ChainOptions) -> Float:
    """Returns (n, states): log odds of the score and how well the level vector fits."""
    score = np.clip([c.score for c in chosen], 0.02, 0.98)
    vectors = np.array([c.level_probabilities for c in chosen])
    fit = np.log(level_likelihood(vectors, STATES, blur=options.blur))
    fit += np.log(sacral_likelihood(vectors, STATES, error=options.sacrum_error))
    gain: Float = np.log(score / (1 - score))[:, None] + options.level_weight * np.clip(fit + 1.5, -2.5, 1.5)
    return gain


def _turn_cost(pairs: _Pairs, options: ChainOptions) -> Float:
    """Returns (states, t) cost of each turn at the middle candidate being on each state, heavy-tailed."""
    prior = column_prior()
    shorter = np.minimum(pairs.distance[pairs.before], pairs.distance[pairs.after])
    noise = np.degrees(options.jitter_mm * np.sqrt(3.0) / shorter)
    usual = np.array([max(8.0, min(prior.turn(RUNGS[name]), 16.0)) for name in STATES])
    ratio = pairs.angle[None, :] ** 2 / (usual[:, None] ** 2 + noise[None, :] ** 2)
    cost: Float = 3.0 * np.log1p(ratio / 5.0)
    return cost


def _steps_to(name: str, most_missing: int) -> list[tuple[str, int, float]]:
    """Lists (state above, vertebrae missing between, times the variant cost) from which `name` is reached."""
    usual = [state for state in STATES if state not in {"T13", "L6"}]
    rare = {"T13": ("T12", "T11"), "L6": ("L5", "L4")}
    if name in rare:
        above, two_above = rare[name]
        return [(above, 0, 1.0), (two_above, 1, 1.0)][: 1 + most_missing]
    place = usual.index(name)
    steps = [(usual[place - 1 - gap], gap, 0.0) for gap in range(min(most_missing + 1, place))]
    steps += {
        "L1": [("T13", 0, 0.0), ("T11", 0, 1.0)],
        "L2": [("T13", 1, 0.0)],
        "S": [("L6", 0, 0.0), ("L4", 0, 1.0)],
    }.get(name, [])
    return [step for step in steps if step[1] <= most_missing]


def _solve(
    pairs: _Pairs, unary: Float, turn: Float, options: ChainOptions, *, size: float, spread: float
) -> _Best:
    """Fills the best gain for each pair and state, states from the head down.

    Args:
        size: Log of the person's size against the mean.
        spread: Standard deviation of a log distance beside the jitter.
    """
    count = len(pairs.upper)
    best = _Best(
        np.full((len(STATES), count), _NONE),
        np.full((len(STATES), count), -1, dtype=np.intp),
        np.full((len(STATES), count), -1, dtype=np.intp),
        np.zeros((len(STATES), count), dtype=np.intp),
    )
    log_distance = np.log(pairs.distance)
    noise = 2 * (options.jitter_mm / pairs.distance) ** 2
    for state, name in enumerate(STATES):
        for above_name, missing, variant in _steps_to(name, options.most_missing):
            above = STATES.index(above_name)
            expected = _expected_log(above_name, name, missing=missing) + size
            z = (log_distance - expected) / np.sqrt(spread**2 + noise)
            away = np.abs(z)
            fixed = options.neighbour_gain - np.where(away < 3, 0.5 * z**2, 3 * away - 4.5) - pairs.slope
            # a gap that is not clearly so many vertebrae wide would shift every name below it
            fixed[away > 2.0 if missing else z > 3.5] = _NONE
            fixed -= variant * options.variant_cost + missing * options.missing_cost
            fixed -= options.neighbour_gain * (missing > 0)
            value, before = _extend(pairs, best.gain[above], unary[pairs.upper, above], turn[above])
            value = value + fixed + unary[pairs.lower, state]
            better = value > best.gain[state]
            best.gain[state][better] = value[better]
            best.pair[state][better] = before[better]
            best.state[state][better] = above
            best.bridged[state][better] = missing
    return best


def _expected_log(above: str, name: str, *, missing: int) -> float:
    """Returns the mean log distance (mm) between two states, over as many missing ones."""
    prior = column_prior()
    rungs = np.linspace(RUNGS[above], RUNGS[name], missing + 2)
    return float(np.log(np.exp(prior.log_spacing(rungs[:-1], rungs[1:])[0]).sum()))


def _extend(pairs: _Pairs, gain: Float, start: Float, turn: Float) -> tuple[Float, Index]:
    """Returns for each pair the best gain up to its upper candidate and the pair before (-1: none)."""
    value, before = start.copy(), np.full(len(start), -1, dtype=np.intp)
    if len(pairs.after) == 0:
        return value, before
    through = gain[pairs.before] - turn
    firsts = np.flatnonzero(np.r_[True, pairs.after[1:] != pairs.after[:-1]])
    highest = np.maximum.reduceat(through, firsts)
    # the first transition of each group that reaches the group's highest value
    group = np.repeat(np.arange(len(firsts)), np.diff(np.r_[firsts, len(through)]))
    winners = np.flatnonzero(through == highest[group])
    _, first_of_group = np.unique(group[winners], return_index=True)
    winners = winners[first_of_group]
    after = pairs.after[firsts]
    better = highest > value[after]
    value[after[better]] = highest[better]
    before[after[better]] = pairs.before[winners[better]]
    return value, before


@dataclass(frozen=True)
class _Link:
    """A candidate on the chain, its state, and how many vertebrae are missing above it."""

    candidate: int
    state: int
    bridged: int


def _walk_back(pairs: _Pairs, best: _Best) -> list[_Link]:
    """Returns the best chain from the head down."""
    state, pair = (int(k) for k in np.unravel_index(int(best.gain.argmax()), best.gain.shape))
    links = []
    while True:
        links.append(_Link(int(pairs.lower[pair]), state, int(best.bridged[state, pair])))
        above, before = int(best.state[state, pair]), int(best.pair[state, pair])
        if before < 0:
            links.append(_Link(int(pairs.upper[pair]), above, 0))
            return links[::-1]
        state, pair = above, before


def _size(points: Float, chain: list[_Link]) -> float:
    """Returns the log of the person's size against the mean, from the chain's distances, shrunk towards 0."""
    ratios = [
        float(np.log(np.linalg.norm(points[b.candidate] - points[a.candidate])))
        - _expected_log(STATES[a.state], STATES[b.state], missing=b.bridged)
        for a, b in pairwise(chain)
    ]
    return float(np.clip(np.median(ratios), -0.6, 0.25)) * len(ratios) / (len(ratios) + 1.5)


def _as_points(
    chosen: list[Candidate], kept: list[int], chain: list[_Link], points: Float
) -> tuple[TracedPoint, ...]:
    traced: list[TracedPoint] = []
    for place, link in enumerate(chain):
        for center in _between(points, chain, place):
            traced.append(TracedPoint(center, 0.0, np.full(CLASSES, 1 / CLASSES), inserted=True))
        found = chosen[link.candidate]
        traced.append(
            TracedPoint(
                found.center_mm,
                found.score,
                found.level_probabilities,
                found.rib,
                found.sacrum,
                candidate=kept[link.candidate],
            )
        )
    return tuple(traced)


def _between(points: Float, chain: list[_Link], place: int) -> list[Point]:
    """Returns the points (LPS mm) missing above `chain[place]`, on the curve through its neighbours."""
    if not chain[place].bridged:
        return []
    upper, lower = points[chain[place - 1].candidate], points[chain[place].candidate]
    chord = lower - upper
    ends = (RUNGS[STATES[chain[place - 1].state]], RUNGS[STATES[chain[place].state]])
    rungs = np.linspace(*ends, chain[place].bridged + 2)
    steps = np.exp(column_prior().log_spacing(rungs[:-1], rungs[1:])[0])
    start = upper - points[chain[place - 2].candidate] if place >= 2 else chord
    end = points[chain[place + 1].candidate] - lower if place + 1 < len(chain) else chord
    # a Hermite arc: both ends leave along the mean of chord and neighbouring step, as long as the chord
    length = np.linalg.norm(chord)
    tangents = [chord / length + step / np.linalg.norm(step) for step in (start, end)]
    first, last = (length * tangent / np.linalg.norm(tangent) for tangent in tangents)
    centers: list[Point] = []
    for s in np.cumsum(steps[:-1]) / steps.sum():
        center = (2 * s**3 - 3 * s**2 + 1) * upper + (s**3 - 2 * s**2 + s) * first
        center = center + (3 * s**2 - 2 * s**3) * lower + (s**3 - s**2) * last
        centers.append((float(center[0]), float(center[1]), float(center[2])))
    return centers
