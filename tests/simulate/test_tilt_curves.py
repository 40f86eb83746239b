import numpy as np
import pytest

from spinelab.simulate.curve_model import LEVELS
from spinelab.simulate.tilt_curves import (
    PATTERNS,
    TiltCurve,
    find_tilt_curves,
    main_curve,
    name_pattern,
    region_of,
)


def profile(**turns: float) -> np.ndarray:
    """A profile of straight pieces through the named leans."""
    places = [LEVELS.index(name) for name in turns]
    return np.interp(np.arange(len(LEVELS)), places, list(turns.values()))


def curve(region: str, angle: float) -> TiltCurve:
    return TiltCurve("T1", "T5", "T3", angle, "left", region)  # type: ignore[arg-type]


def test_a_right_thoracic_and_a_left_lumbar_curve_are_found() -> None:
    found = find_tilt_curves(profile(T1=0, T5=20, T11=-20, L4=12, L5=12))
    assert [(c.upper, c.lower, c.angle_deg, c.side, c.region) for c in found] == [
        ("T1", "T5", 20, "left", "proximal_thoracic"),
        ("T5", "T11", 40, "right", "main_thoracic"),
        ("T11", "L4", 32, "left", "thoracolumbar"),
    ]
    assert found[1].apex == "T8"


def test_swings_below_the_threshold_are_no_curves() -> None:
    assert find_tilt_curves(profile(T1=0, T8=4, L5=0)) == ()
    assert [c.angle_deg for c in find_tilt_curves(profile(T1=0, T8=4, L5=0), swing_deg=3)] == [4, 4]


def test_two_vertebrae_make_no_curve() -> None:
    assert find_tilt_curves(np.array([0.0, 30.0]), ("T8", "T9")) == ()


def test_curves_are_found_over_a_part_of_the_column_with_a_thirteenth_rib() -> None:
    levels = ("T11", "T12", "T13", "L1", "L2")
    (found,) = find_tilt_curves(np.array([-20.0, -12, 0, 12, 20]), levels)
    assert (found.upper, found.lower, found.apex, found.side) == ("T11", "L2", "T13", "left")


def test_the_largest_curve_is_the_main_one_and_the_lower_of_equals() -> None:
    curves = [curve("main_thoracic", 30), curve("thoracolumbar", 40), curve("thoracolumbar", 40)]
    assert main_curve(curves) is curves[2]
    assert main_curve([]) is None


@pytest.mark.parametrize(
    ("apex", "region"),
    [
        ("T5", "proximal_thoracic"),
        ("T6", "main_thoracic"),
        ("T11", "main_thoracic"),
        ("T12", "thoracolumbar"),
    ],
)
def test_regions_end_at_t5_and_t11(apex: str, region: str) -> None:
    assert region_of(LEVELS.index(apex)) == region


@pytest.mark.parametrize(
    ("proximal", "thoracic", "lumbar", "pattern"),
    [
        (20, 50, 20, "thoracic"),
        (40, 50, 20, "double_thoracic"),
        (20, 50, 40, "double_major"),
        (40, 50, 40, "triple_major"),
        (40, 40, 50, "triple_major"),
        (20, 20, 50, "thoracolumbar"),
        (20, 40, 50, "thoracolumbar_thoracic"),
        (40, 20, 50, "thoracolumbar"),
        (5, 9, 8, None),
        (50, 0, 0, None),
    ],
)
def test_patterns_follow_the_structural_curves(
    proximal: float, thoracic: float, lumbar: float, pattern: str | None
) -> None:
    curves = [
        curve("proximal_thoracic", proximal),
        curve("main_thoracic", thoracic),
        curve("thoracolumbar", lumbar),
    ]
    assert name_pattern(curves) == pattern


def test_there_are_the_six_types_of_lenke() -> None:
    assert len(PATTERNS) == 6
