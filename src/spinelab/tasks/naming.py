"""Names the column: one decision for the whole chain, with its certainty.

Every place where the chain may start and every numbering variant is a hypothesis. Each is judged by the level
vectors (read as if the network may be wrong by a level on the whole scan, and as neighbours that repeat each
other), by the distances between the bodies, and by ribs and sacrum where they were looked for. The
probabilities of all hypotheses sum to one; those that give the same names are one reading.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spinelab.anatomy import BY_NAME, levels_between
from spinelab.errors import InputError
from spinelab.spine import Numbering
from spinelab.tasks.chain import ChainOptions, TracedPoint, trace_column
from spinelab.tasks.column_prior import LOWER_SACRAL, RUNGS, SKULL, column_prior
from spinelab.tasks.level_evidence import Candidate, level_likelihood, sacral_likelihood
from spinelab.tasks.numbering import VARIANTS, find_anchors, shows_variants, state_numbering

__all__ = [
    "Candidate",
    "ChainOptions",
    "NamedColumn",
    "NamingOptions",
    "Reading",
    "TracedPoint",
    "name_column",
    "trace_column",
]

Float = NDArray[np.float64]
_STATES = tuple(RUNGS)
_PLACE = {name: place for place, name in enumerate(_STATES)}


@dataclass(frozen=True)
class NamingOptions:
    """How evidence is weighed. The defaults are calibrated by ``benchmarks/naming_simulation.py``.

    Attributes:
        blur: Width in levels at which level vectors are read.
        repetition: Correlation of the evidence of the vectors within a scan (0: each counts fully).
        temperature: Divides the evidence of the vectors; above 1 makes names less sure.
        shared_bias: Probability that the network is wrong by one level on the whole scan, and by two.
        spacing_weight: How far the distances count against the vectors.
        jitter_mm: Standard deviation of a centre, each axis; `inserted_jitter_mm` of an inserted one.
        rib_error: Probability that a rib is missed or made up at a level; at T12 and C7 three times as high.
        sacrum_error: Probability that sacrum is taken for vertebra or the reverse, also by a `sacrum` cue.

    Raises:
        InputError: A number is out of range.
    """

    blur: float = 0.8
    repetition: float = 0.05
    temperature: float = 0.5
    shared_bias: tuple[float, float] = (0.15, 0.02)
    spacing_weight: float = 0.7
    jitter_mm: float = 1.8
    inserted_jitter_mm: float = 4.0
    rib_error: float = 0.08
    sacrum_error: float = 0.05

    def __post_init__(self) -> None:
        positive = {name: getattr(self, name) for name in ("blur", "temperature", "jitter_mm")}
        shares = {"repetition": self.repetition, "sum of shared_bias": sum(self.shared_bias)}
        shares |= {"3 rib_error": 3 * self.rib_error, "sacrum_error": self.sacrum_error}
        for name, value in positive.items():
            if value <= 0:
                raise InputError(f"{name} must be above 0, found {value}")
        for name, value in shares.items():
            if not 0 <= value < 1:
                raise InputError(f"{name} must be at least 0 and below 1, found {value}")


@dataclass(frozen=True)
class Reading:
    """One way to name the chain.

    Attributes:
        levels: A name for each point of the chain; "skull" and "S2" to "S4" are no vertebrae.
        variants: Numbering variants of its likeliest hypothesis.
        probability: Of all hypotheses with these names.
        cost: Negative log of prior times evidence; lower is better, differences matter.
        shown: True when what is in view can show its variants; other readings are only doubts.
    """

    levels: tuple[str, ...]
    variants: tuple[str, ...]
    probability: float
    cost: float
    shown: bool


@dataclass(frozen=True, eq=False)
class NamedColumn:
    """A chain with names.

    Attributes:
        points: Points of the chain that bear a name; skull base and lower sacral segments are gone.
        levels: Their names from the head down; the last may be "S", the body of S1.
        probabilities: Probability of each name, over all readings.
        numbering: What fixed the count and how sure it is.
        readings: All readings from the likeliest down, for the whole chain as given.
    """

    points: tuple[TracedPoint, ...]
    levels: tuple[str, ...]
    probabilities: tuple[float, ...]
    numbering: Numbering
    readings: tuple[Reading, ...] = field(repr=False)


@dataclass(frozen=True)
class _Hypothesis:
    levels: tuple[str, ...]
    variants: tuple[str, ...]
    last_lumbar: str
    log_prior: float


def name_column(chain: Sequence[TracedPoint], options: NamingOptions = NamingOptions()) -> NamedColumn:
    """Returns the names of a chain that runs from the head down, with their certainty.

    Raises:
        InputError: The chain is empty or longer than any column.
    """
    if not chain:
        raise InputError("there is no point to name; check for an empty chain from trace_column first")
    hypotheses = _hypotheses(len(chain))
    if not hypotheses:
        raise InputError(f"a chain of {len(chain)} points is longer than any column; look at its points")
    total = np.array([h.log_prior for h in hypotheses])
    total += _vector_evidence(chain, hypotheses, options) + _spacing_evidence(chain, hypotheses, options)
    total += _anchor_evidence(chain, hypotheses, options)
    readings = _group(chain, hypotheses, total)
    best = next(reading for reading in readings if reading.shown)
    named = [k for k, name in enumerate(best.levels) if name in BY_NAME]
    marginal = [sum(r.probability for r in readings if r.levels[k] == best.levels[k]) for k in named]
    return NamedColumn(
        points=tuple(chain[k] for k in named),
        levels=tuple(best.levels[k] for k in named),
        probabilities=tuple(min(1.0, float(p)) for p in marginal),
        numbering=_numbering(chain, best, readings),
        readings=readings,
    )


def _hypotheses(count: int) -> list[_Hypothesis]:
    """Lists every start of every variant for a chain of `count` points."""
    found = []
    for variant in VARIANTS:
        thoracic, lumbar = variant.last_thoracic, variant.last_lumbar
        column = (*levels_between("C1", thoracic), *levels_between("L1", lumbar), "S", *LOWER_SACRAL)
        column = (SKULL, *column)
        for start in range(len(column) - count + 1):
            levels = column[start : start + count]
            if not set(levels) & BY_NAME.keys() or levels[0] in LOWER_SACRAL:
                continue
            rare = np.log(0.02) if SKULL in levels else 0.0
            found.append(_Hypothesis(levels, variant.names, lumbar, float(np.log(variant.prior) + rare)))
    return found


def _vector_evidence(
    chain: Sequence[TracedPoint], hypotheses: list[_Hypothesis], options: NamingOptions
) -> Float:
    """Returns (h,) log likelihood of the level vectors, the network's shared bias summed out."""
    seen = [k for k, point in enumerate(chain) if not point.inserted]
    vectors = np.array([chain[k].level_probabilities for k in seen])
    places = np.array([[_PLACE[h.levels[k]] for k in seen] for h in hypotheses])
    weight = 1.0 / (options.temperature * (1.0 + options.repetition * (len(seen) - 1)))
    one, two = (share / 2 for share in options.shared_bias)
    shares = {0: 1 - 2 * (one + two), -1: one, 1: one, -2: two, 2: two}
    terms = []
    for shift, share in shares.items():
        logs = np.log(level_likelihood(vectors, _STATES, blur=options.blur, shift=shift))
        fit = logs[np.arange(len(seen))[None, :], places].sum(axis=1)
        terms.append(np.log(max(share, 1e-9)) + weight * fit)
    sacral = np.log(sacral_likelihood(vectors, _STATES, error=options.sacrum_error))
    evidence: Float = np.logaddexp.reduce(terms, axis=0)
    evidence += sacral[np.arange(len(seen))[None, :], places].sum(axis=1)
    return evidence


def _spacing_evidence(
    chain: Sequence[TracedPoint], hypotheses: list[_Hypothesis], options: NamingOptions
) -> Float:
    """Returns (h,) log likelihood of the distances (multivariate t), the person's size summed out."""
    count = len(chain) - 1
    if count < 1:
        return np.zeros(len(hypotheses))
    prior, freedom = column_prior(), 5.0
    points = np.array([point.center_mm for point in chain])
    distance = np.maximum(np.linalg.norm(np.diff(points, axis=0), axis=1), 1.0)
    jitter = np.where([p.inserted for p in chain], options.inserted_jitter_mm, options.jitter_mm)
    noise = np.diag((jitter[:-1] ** 2 + jitter[1:] ** 2) / distance**2)
    shared = -(jitter[1:-1] ** 2) / (distance[:-1] * distance[1:])
    noise += np.diag(shared, 1) + np.diag(shared, -1)
    rungs = np.array([[RUNGS[name] for name in h.levels] for h in hypotheses])
    means = np.array([prior.log_spacing(r[:-1], r[1:])[0] for r in rungs])
    # beside the adults of the tables: children and giants share one more size factor
    covariances = np.array([prior.covariance(r[:-1], r[1:]) for r in rungs]) + 0.06**2 + noise
    offset = np.log(distance)[None, :] - means
    distances = np.einsum("hi,hi->h", offset, np.linalg.solve(covariances, offset[:, :, None])[:, :, 0])
    log_det = np.linalg.slogdet(covariances)[1]
    log_t: Float = -0.5 * log_det - 0.5 * (freedom + count) * np.log1p(distances / freedom)
    return options.spacing_weight * log_t


def _anchor_evidence(
    chain: Sequence[TracedPoint], hypotheses: list[_Hypothesis], options: NamingOptions
) -> Float:
    """Returns (h,) log likelihood of ribs and sacrum where they were looked for."""
    evidence = np.zeros(len(hypotheses))
    for k, point in enumerate(chain):
        names = np.array([h.levels[k] for h in hypotheses])
        if point.rib is not None:
            error = options.rib_error * np.where(np.isin(names, ("C7", "T12", "T13")), 3.0, 1.0)
            evidence += np.log(_agreement(point.rib, np.char.startswith(names, "T"), error))
        if point.sacrum is not None:
            error = np.full(len(names), options.sacrum_error)
            last = names == np.array([h.last_lumbar for h in hypotheses])
            agreement = _agreement(point.sacrum, last, error)
            if k + 1 == len(chain):
                # at the lower end of the scan the sacrum may be there and still out of view
                unseen = _agreement(point.sacrum, np.zeros_like(last), error)
                agreement = np.where(last, (agreement + unseen) / 2, agreement)
            evidence += np.where(np.isin(names, ("S", *LOWER_SACRAL)), 0.0, np.log(agreement))
    return evidence


def _agreement(probability: float, expected: NDArray[np.bool_], error: Float) -> Float:
    likelihood: Float = error + (1 - 2 * error) * np.where(expected, probability, 1 - probability)
    return likelihood


def _group(chain: Sequence[TracedPoint], hypotheses: list[_Hypothesis], total: Float) -> tuple[Reading, ...]:
    """Joins hypotheses with the same names and returns the readings from the likeliest down."""
    members: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, hypothesis in enumerate(hypotheses):
        members[hypothesis.levels].append(place)
    plainest = {
        levels: min(places, key=lambda k: len(hypotheses[k].variants)) for levels, places in members.items()
    }
    joint = {levels: float(np.logaddexp.reduce(total[places])) for levels, places in members.items()}
    shown = {levels: shows_variants(chain, levels, hypotheses[k].variants) for levels, k in plainest.items()}
    # what nothing in view can show is no likelier, against the best reading, than it is in people
    usual = max(h.log_prior for h in hypotheses)
    ceiling = max(value for levels, value in joint.items() if shown[levels]) - usual
    for levels, k in plainest.items():
        if not shown[levels]:
            joint[levels] = min(joint[levels], ceiling + hypotheses[k].log_prior)
    whole = np.logaddexp.reduce(list(joint.values()))
    readings = [
        Reading(
            levels,
            hypotheses[k].variants,
            float(np.exp(joint[levels] - whole)),
            -joint[levels],
            shown[levels],
        )
        for levels, k in plainest.items()
    ]
    return tuple(sorted(readings, key=lambda reading: reading.cost))


def _numbering(chain: Sequence[TracedPoint], best: Reading, readings: tuple[Reading, ...]) -> Numbering:
    vertebrae = tuple(name for name in best.levels if name in BY_NAME)
    alternative = next((r for r in readings if r.levels != best.levels), None)
    anchors = find_anchors(chain, best.levels)
    runner_up = tuple(n for n in alternative.levels if n in BY_NAME) if alternative else ()
    runner_up_probability = alternative.probability if alternative else 0.0
    numbering = Numbering(
        anchors=anchors,
        probability=best.probability,
        runner_up=runner_up,
        runner_up_probability=runner_up_probability,
        anchored=bool(anchors),
        variants=best.variants,
    )
    return state_numbering(numbering, vertebrae)
