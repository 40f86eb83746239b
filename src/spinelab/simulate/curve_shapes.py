"""Draws the shape of a scoliotic or straight column, as it occurs or as prescribed.

A prescribed Cobb angle, apex, side or pattern conditions the fitted model of `curve_model`: draws are kept
that come out as asked once they are brought to the angle, those that need the least change first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spinelab.errors import InputError
from spinelab.simulate.column_line import Float
from spinelab.simulate.curve_model import (
    LEVELS,
    CurveModel,
    carry_sagittal,
    load_curve_model,
    positions_of,
    profile_weights,
)
from spinelab.simulate.tilt_curves import (
    PATTERNS,
    SCOLIOSIS_DEG,
    SWING_DEG,
    Side,
    TiltCurve,
    find_tilt_curves,
    main_curve,
    name_pattern,
    region_of,
)

Severity = Literal["none", "mild", "moderate", "severe"]
#: Main Cobb angles: below 10 no scoliosis, from 25 braced, from 45 operated on (Weinstein et al., Lancet
#: 2008;371:1527-37). The films reach 95.
SEVERITIES: dict[str, tuple[float, float]] = {
    "none": (0.0, 10.0),
    "mild": (10.0, 25.0),
    "moderate": (25.0, 45.0),
    "severe": (45.0, 95.0),
}
#: Largest main curve that may be asked for.
LARGEST_DEG = 120.0
#: Other names of patterns.
ALSO_CALLED = {"lumbar": "thoracolumbar"}
#: Draws tried a round.
TRIES = 400
#: Rounds: by how many levels an apex may be moved to where it is asked for, and how far off it may end up.
ROUNDS = ((1.5, 0.0), (2.5, 0.0), (3.5, 1.0), (5.0, 1.0), (6.5, 1.0), (8.0, 1.0))
#: Standard deviation of the log of the factor that brings a draw to its angle: how much change is liked.
LIKED_CHANGE = 0.25
#: Angles are brought within this of what is asked.
CLOSE_DEG = 0.01
#: Neighbours lean apart by no more than this; 999 of 1,000 pairs of the films stay below 30.
STEEPEST_DEG = 35.0


@dataclass(frozen=True, eq=False)
class CurveShape:
    """Leans and turns of the vertebrae of a column.

    Attributes:
        levels: n names from the head down.
        coronal_deg: (n,) lean of the body axis to the patient's left.
        sagittal_deg: (n,) lean of the body axis to the back.
        axial_deg: (n,) turn about the body axis; positive moves the front to the left.
    """

    levels: tuple[str, ...]
    coronal_deg: Float
    sagittal_deg: Float
    axial_deg: Float


@dataclass(frozen=True)
class _Wish:
    """What a coronal profile must come out as; None is free."""

    cobb_deg: float | None
    apex: str | None
    side: Side | None
    pattern: str | None


def draw_shape(
    rng: np.random.Generator,
    *,
    levels: Sequence[str] = LEVELS,
    cobb_deg: float | None = None,
    apex: str | None = None,
    side: Side | None = None,
    pattern: str | None = None,
    severity: Severity | None = None,
) -> CurveShape:
    """Draws the shape of a column.

    The main curve is the largest one in view, that is over `levels`; its angle, apex (within one level) and
    side come out as asked. The pattern is that of the whole column T1 to L5, of which `levels` may be a part.
    What is not asked for is drawn as it occurs in the films of the fit, most of them of adolescents with
    idiopathic scoliosis.

    Args:
        rng: Source of randomness; the same state gives the same shape.
        levels: Names from the head down, C1 to L6 or S.
        cobb_deg: Difference of lean between the end vertebrae of the main curve, 0 to 120.
        apex: Vertebra of the main curve farthest from the line between its ends.
        side: Where the main curve is convex to.
        pattern: A name of `PATTERNS`, after Lenke et al. 2001, or "lumbar" for "thoracolumbar".
        severity: Range of the main curve (`SEVERITIES`), drawn as it occurs; not with `cobb_deg`.

    Raises:
        InputError: The wishes contradict each other, or cannot be met over these levels.
        LabelError: A level is unknown.

    Example:
        >>> shape = draw_shape(np.random.default_rng(7), cobb_deg=45, apex="T9", side="right")
        >>> round(float(np.ptp(shape.coronal_deg)))
        45
    """
    places = positions_of(levels)
    pattern = ALSO_CALLED.get(pattern, pattern) if pattern is not None else None
    wish = _Wish(cobb_deg, apex, side, pattern)
    _check_wish(wish, tuple(levels), severity)
    model = load_curve_model()
    if severity is not None:
        wish = _Wish(_draw_angle(rng, model, severity), apex, side, pattern)
    if wish == _Wish(None, None, None, None):
        profile = model.draw_coronal(rng, 1)[0]
    elif wish.cobb_deg == 0:
        profile = np.zeros(len(LEVELS))
    else:
        profile = _find_profile(rng, model, tuple(levels), wish)
    return CurveShape(
        levels=tuple(levels),
        coronal_deg=profile_weights(places) @ profile,
        sagittal_deg=carry_sagittal(model.draw_sagittal(rng), places),
        axial_deg=profile_weights(places) @ model.draw_axial(rng, profile),
    )


def _check_wish(wish: _Wish, levels: tuple[str, ...], severity: str | None) -> None:
    """Raises InputError for wishes that no column can meet."""
    shaped = [name for name in ("apex", "side", "pattern") if getattr(wish, name) is not None]
    if wish.cobb_deg is not None and not 0 <= wish.cobb_deg <= LARGEST_DEG:
        raise InputError(f"cobb_deg is {wish.cobb_deg}; ask for 0 to {LARGEST_DEG:g} degrees")
    if wish.side not in {None, "left", "right"}:
        raise InputError(f"side is {wish.side!r}; ask for 'left' or 'right'")
    if severity is not None and severity not in SEVERITIES:
        raise InputError(f"severity is {severity!r}; ask for one of {', '.join(SEVERITIES)}")
    if severity is not None and wish.cobb_deg is not None:
        raise InputError("both severity and cobb_deg are given; ask for one of them")
    if shaped and (severity == "none" or wish.cobb_deg == 0):
        raise InputError(f"a column without a curve has no {shaped[0]}; ask for a curve or leave it out")
    if wish.pattern is not None and wish.pattern not in PATTERNS:
        raise InputError(f"pattern is {wish.pattern!r}; ask for one of {', '.join(PATTERNS)} (or lumbar)")
    if wish.pattern is not None and wish.cobb_deg is not None and wish.cobb_deg < SCOLIOSIS_DEG:
        raise InputError(
            f"a curve of {wish.cobb_deg:g} degrees has no pattern; "
            f"ask for {SCOLIOSIS_DEG:g} or more, or leave the pattern free"
        )
    if (shaped or wish.cobb_deg or severity not in {None, "none"}) and len(_inner(levels)) < 1:
        raise InputError(
            f"levels {', '.join(levels)} cannot show a curve; it takes three of T1 to L5 next to each other"
        )
    if wish.apex is not None:
        _check_apex(wish.apex, wish.pattern, levels)


def _check_apex(apex: str, pattern: str | None, levels: tuple[str, ...]) -> None:
    inner = _inner(levels)
    if apex not in inner:
        raise InputError(
            f"apex {apex} cannot be seen to be one; over these levels ask for one of {', '.join(inner)}"
        )
    if pattern is not None and region_of(positions_of([apex])[0]) not in PATTERNS[pattern][1]:
        fitting = [name for name in inner if region_of(positions_of([name])[0]) in PATTERNS[pattern][1]]
        raise InputError(
            f"the main curve of pattern {pattern} has no apex at {apex}; "
            f"ask for one of {', '.join(fitting) or 'other levels'} or for another pattern"
        )


def _inner(levels: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the levels that can be an apex: T2 to L4 with a neighbour on each side."""
    places = positions_of(levels)
    return tuple(name for k, name in enumerate(levels) if 0 < k < len(levels) - 1 and 1 <= places[k] <= 15)


def _draw_angle(rng: np.random.Generator, model: CurveModel, severity: str) -> float:
    """Draws the main angle within a severity as the model has it; evenly where it has few."""
    low, high = SEVERITIES[severity]
    angles = np.ptp(model.draw_coronal(rng, TRIES), axis=1)
    inside = angles[(angles >= low) & (angles < high)]
    return float(rng.choice(inside)) if len(inside) >= 20 else float(rng.uniform(low, high))


def _find_profile(rng: np.random.Generator, model: CurveModel, levels: tuple[str, ...], wish: _Wish) -> Float:
    """Returns a (17,) profile T1 ... L5 that is as wished over the levels in view.

    Raises:
        InputError: No draw came out as wished.
    """
    weights = profile_weights(positions_of(levels))
    for reach in ROUNDS:
        for profile in _candidates(rng, model, weights, wish):
            found = _fit_to_wish(profile, levels, weights, wish, reach)
            if found is not None:
                return found
    asked = ", ".join(f"{key} {value}" for key, value in vars(wish).items() if value is not None)
    most = _largest_angle(rng, model, weights)
    if wish.cobb_deg is not None and wish.cobb_deg > most:
        advice = (
            f"at most about {np.floor(most):.0f} degrees are possible there: ask for no more, or more levels"
        )
    else:
        advice = "ask for a smaller angle, more levels, or leave apex or pattern free"
    raise InputError(f"no column with {asked} over {levels[0]} to {levels[-1]} was found; {advice}")


def _largest_angle(rng: np.random.Generator, model: CurveModel, weights: Float) -> float:
    """Returns the largest angle that a draw may be scaled to before neighbours lean too far apart."""
    drawn = model.draw_coronal(rng, TRIES)
    steepest = np.abs(np.diff(drawn, axis=1)).max(axis=1)
    return float((STEEPEST_DEG * np.ptp(drawn @ weights.T, axis=1) / steepest).max())


def _candidates(rng: np.random.Generator, model: CurveModel, weights: Float, wish: _Wish) -> Iterator[Float]:
    """Yields draws in random order, those near the wished angle sooner; then their mirror images."""
    drawn = model.draw_coronal(rng, TRIES)
    angles = np.ptp(drawn @ weights.T, axis=1)
    change = np.zeros(TRIES) if wish.cobb_deg is None else np.log(np.maximum(angles, 1) / wish.cobb_deg)
    keys = -0.5 * (change / LIKED_CHANGE) ** 2 + rng.gumbel(size=TRIES)
    order = np.argsort(-keys)
    yield from drawn[order]
    if wish.side is not None:
        yield from -drawn[order]


def _fit_to_wish(
    profile: Float, levels: tuple[str, ...], weights: Float, wish: _Wish, reach: tuple[float, float]
) -> Float | None:
    """Returns the profile moved and scaled so that its main curve is as wished, or None."""
    target = wish.cobb_deg
    if target is not None:
        profile = profile * target / max(float(np.ptp(weights @ profile)), 1.0)
    swing = SWING_DEG if target is None else min(SWING_DEG, 0.2 * target)
    main = main_curve(find_tilt_curves(weights @ profile, levels, swing_deg=swing))
    if main is None or (wish.side is not None and main.side != wish.side):
        return None
    if wish.apex is not None and wish.apex != main.apex:
        goal, now = positions_of([wish.apex])[0], positions_of([main.apex])[0]
        if abs(goal - now) > reach[0]:
            return None
        profile = _move_along(profile, float(now), float(goal))
        main = main_curve(find_tilt_curves(weights @ profile, levels, swing_deg=swing))
    if target is not None and main is not None:
        profile = profile * target / main.angle_deg
        main = main_curve(find_tilt_curves(weights @ profile, levels, swing_deg=swing))
    if main is None or not _is_as_wished(main, wish, reach[1]) or not _has_pattern(profile, wish.pattern):
        return None
    return profile if np.abs(np.diff(profile)).max() <= STEEPEST_DEG else None


def _move_along(profile: Float, now: float, goal: float) -> Float:
    """Returns the profile with what was at place `now` at `goal`, the ends staying where they are."""
    end = len(profile) - 1.0
    return np.interp(
        np.interp(np.arange(len(profile)), (0, goal, end), (0, now, end)), np.arange(len(profile)), profile
    )


def _is_as_wished(main: TiltCurve, wish: _Wish, apex_off: float) -> bool:
    if wish.side is not None and main.side != wish.side:
        return False
    if wish.cobb_deg is not None and abs(main.angle_deg - wish.cobb_deg) > CLOSE_DEG:
        return False
    if wish.cobb_deg is None and main.angle_deg < SCOLIOSIS_DEG:
        return False
    return wish.apex is None or abs(positions_of([main.apex])[0] - positions_of([wish.apex])[0]) <= apex_off


def _has_pattern(profile: Float, pattern: str | None) -> bool:
    """Says whether the whole column shows the pattern, its major curve being the largest."""
    if pattern is None:
        return True
    curves = find_tilt_curves(profile)
    main = main_curve(curves)
    return name_pattern(curves) == pattern and main is not None and main.region in PATTERNS[pattern][1]
