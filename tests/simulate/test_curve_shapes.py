import numpy as np
import pytest

from spinelab.errors import InputError, LabelError
from spinelab.simulate.curve_model import LEVELS
from spinelab.simulate.curve_shapes import SEVERITIES, CurveShape, draw_shape
from spinelab.simulate.tilt_curves import PATTERNS, TiltCurve, find_tilt_curves, main_curve, name_pattern


def draw(seed: int = 0, **wishes: object) -> CurveShape:
    return draw_shape(np.random.default_rng(seed), **wishes)  # type: ignore[arg-type]


def main_of(shape: CurveShape, swing: float = 2.0) -> TiltCurve:
    found = main_curve(find_tilt_curves(shape.coronal_deg, shape.levels, swing_deg=swing))
    assert found is not None
    return found


def test_the_same_seed_gives_the_same_shape_and_another_seed_another() -> None:
    first, again, other = (draw(seed, cobb_deg=40) for seed in (3, 3, 4))
    assert first.coronal_deg.tolist() == again.coronal_deg.tolist()
    assert first.sagittal_deg.tolist() == again.sagittal_deg.tolist()
    assert first.axial_deg.tolist() == again.axial_deg.tolist()
    assert np.abs(first.coronal_deg - other.coronal_deg).max() > 1


@pytest.mark.parametrize("cobb", [3.0, 10.0, 45.0, 90.0, 120.0])
def test_the_angle_comes_out_as_asked(cobb: float) -> None:
    for seed in range(5):
        assert main_of(draw(seed, cobb_deg=cobb), swing=min(5.0, 0.2 * cobb)).angle_deg == pytest.approx(
            cobb, abs=0.011
        )


def test_no_angle_is_a_straight_column_with_its_sagittal_shape() -> None:
    shape = draw(cobb_deg=0)
    assert shape.coronal_deg.tolist() == [0.0] * 17
    assert shape.axial_deg == pytest.approx(np.zeros(17))
    assert np.ptp(shape.sagittal_deg) > 10


@pytest.mark.parametrize("apex", ["T3", "T9", "T12", "L4"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_apex_and_side_come_out_as_asked(apex: str, side: str) -> None:
    for seed in range(3):
        found = main_of(draw(seed, cobb_deg=45, apex=apex, side=side), swing=5)
        assert found.side == side
        assert abs(LEVELS.index(found.apex) - LEVELS.index(apex)) <= 1


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_pattern_comes_out_as_asked_its_major_curve_being_the_largest(pattern: str) -> None:
    for seed in range(3):
        shape = draw(seed, cobb_deg=50, pattern=pattern)
        curves = find_tilt_curves(shape.coronal_deg)
        assert name_pattern(curves) == pattern
        assert main_of(shape, swing=5).region in PATTERNS[pattern][1]


def test_lumbar_is_another_name_of_thoracolumbar() -> None:
    shape = draw(cobb_deg=40, pattern="lumbar")
    assert name_pattern(find_tilt_curves(shape.coronal_deg)) == "thoracolumbar"


@pytest.mark.parametrize("severity", SEVERITIES)
def test_severities_keep_their_ranges(severity: str) -> None:
    low, high = SEVERITIES[severity]
    for seed in range(8):
        shape = draw(seed, severity=severity)
        curves = find_tilt_curves(shape.coronal_deg, swing_deg=0.5)
        angle = max((c.angle_deg for c in curves), default=0.0)
        assert low - 0.02 <= angle <= high


def test_apex_alone_is_a_scoliosis_of_any_size() -> None:
    found = [main_of(draw(seed, apex="L2"), swing=5) for seed in range(5)]
    assert all(f.angle_deg >= 10 for f in found)
    assert len({round(f.angle_deg) for f in found}) > 1


def test_most_thoracic_curves_are_convex_to_the_right_as_in_adolescents() -> None:
    rng = np.random.default_rng(0)
    sides = [main_of(draw_shape(rng, pattern="thoracic", severity="severe"), 5).side for _ in range(40)]
    assert sides.count("right") >= 28


@pytest.mark.parametrize(
    "levels",
    [("C7", *LEVELS[:14]), LEVELS[:10], ("T12", "L1", "L2", "L3", "L4", "L5", "S"), ("L1", "L2", "L3", "L4")],
)
def test_a_column_partly_in_view_shows_the_curve_asked_for(levels: tuple[str, ...]) -> None:
    shape = draw(levels=levels, cobb_deg=40)
    assert shape.levels == levels
    assert len(shape.coronal_deg) == len(shape.sagittal_deg) == len(shape.axial_deg) == len(levels)
    assert main_of(shape, swing=5).angle_deg == pytest.approx(40, abs=0.011)


def test_the_neck_returns_to_level() -> None:
    shape = draw(levels=("C5", "C6", "C7", *LEVELS), cobb_deg=60)
    top = np.abs(shape.coronal_deg[:4])
    assert top[0] <= top[1] <= top[2] <= top[3]


def test_neighbours_never_lean_apart_by_more_than_the_films_show() -> None:
    for seed in range(10):
        assert np.abs(np.diff(draw(seed, cobb_deg=110).coronal_deg)).max() <= 35


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"cobb_deg": -1}, r"cobb_deg is -1; ask for 0 to 120 degrees"),
        ({"cobb_deg": 121}, r"cobb_deg is 121; ask for 0 to 120 degrees"),
        ({"cobb_deg": float("nan")}, r"cobb_deg is nan; ask for 0 to 120 degrees"),
        ({"side": "up"}, r"side is 'up'; ask for 'left' or 'right'"),
        ({"severity": "bad"}, r"severity is 'bad'; ask for one of none, mild, moderate, severe"),
        ({"severity": "mild", "cobb_deg": 20}, r"both severity and cobb_deg are given; ask for one of them"),
        ({"severity": "none", "side": "left"}, r"a column without a curve has no side; ask for a curve"),
        ({"cobb_deg": 0, "apex": "T9"}, r"a column without a curve has no apex; ask for a curve"),
        ({"pattern": "Lenke 1"}, r"pattern is 'Lenke 1'; ask for one of thoracic, .* \(or lumbar\)"),
        ({"pattern": "thoracic", "cobb_deg": 8}, r"a curve of 8 degrees has no pattern; ask for 10 or more"),
        ({"cobb_deg": 30, "levels": ("L4", "L5")}, r"levels L4, L5 cannot show a curve; it takes three"),
        ({"cobb_deg": 30, "levels": ("C3", "C4", "C5")}, r"levels C3, C4, C5 cannot show a curve"),
        ({"apex": "T1"}, r"apex T1 cannot be seen to be one; over these levels ask for one of T2, T3"),
        (
            {"apex": "T9", "levels": LEVELS[11:]},
            r"apex T9 cannot be seen to be one; .* one of L1, L2, L3, L4",
        ),
        (
            {"apex": "L3", "pattern": "thoracic"},
            r"the main curve of pattern thoracic has no apex at L3; ask for one of T6, T7, T8, T9, T10, T11",
        ),
        (
            {"cobb_deg": 120, "levels": ("L1", "L2", "L3")},
            r"no column with cobb_deg 120 over L1 to L3 was found; at most about [56]\d degrees",
        ),
    ],
)
def test_wishes_no_column_can_meet_are_refused(wishes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw(**wishes)


def test_an_unknown_apex_is_refused() -> None:
    with pytest.raises(InputError, match="apex T99 cannot be seen to be one"):
        draw(apex="T99")


def test_unknown_levels_are_refused() -> None:
    with pytest.raises(LabelError, match="no vertebral level 'Q1'"):
        draw(levels=("Q1", "T1"))
