import numpy as np
import pytest

from spinelab.errors import InputError, LabelError
from spinelab.simulate.curve_model import (
    LEVELS,
    add_reading_noise,
    carry_sagittal,
    distances_between,
    load_curve_model,
    positions_of,
    profile_weights,
)


def test_positions_count_from_t1() -> None:
    places = positions_of(("C7", "T1", "T12", "T13", "L1", "L5", "L6", "S"))
    assert places.tolist() == [-1, 0, 11, 11.5, 12, 16, 16.5, 17]


@pytest.mark.parametrize("levels", [(), ("L5", "Co")])
def test_what_cannot_bear_a_curve_is_refused(levels: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=r"cannot bear a curve; name vertebrae from C1 to L6, or S"):
        positions_of(levels)


@pytest.mark.parametrize("levels", [("T2", "T1"), ("T1", "T1")])
def test_levels_out_of_order_are_refused(levels: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="not in order from the head down, each once; sort them"):
        positions_of(levels)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(LabelError, match="no vertebral level 'T14'"):
        positions_of(("T14",))


def test_profiles_interpolate_inside_and_return_to_level_outside() -> None:
    tilts = profile_weights(positions_of(("C7", "T1", "T13", "L5", "L6", "S"))) @ np.arange(17.0) + 0.0
    assert tilts == pytest.approx([0, 0, 11.5, 16, 0.65 * 16, 0.3 * 16])
    neck = profile_weights(positions_of(("C6", "C7", "T1"))) @ np.full(17, 10.0)
    assert neck == pytest.approx([4.9, 7, 10])


def test_distances_of_the_column_add_up_to_one_and_go_on_outside() -> None:
    assert distances_between(positions_of(LEVELS)).sum() == pytest.approx(1)
    outside = distances_between(positions_of(("C7", "T1", "T2", "L4", "L5", "S")))
    assert outside[0] == pytest.approx(outside[1])
    assert outside[4] == pytest.approx(outside[3])


def test_the_sacrum_leans_further_forwards_than_l5() -> None:
    assert carry_sagittal(np.full(24, -10.0), positions_of(("L4", "L5", "S"))) == pytest.approx(
        [-10, -10, -30]
    )


def test_lying_columns_are_kyphotic_above_and_lordotic_below() -> None:
    rng = np.random.default_rng(0)
    leans = np.mean([load_curve_model().draw_sagittal(rng) for _ in range(300)], axis=0)
    t4, t12, l1, l5 = leans[[10, 18, 19, 23]]
    assert 25 < t12 - t4 < 40
    assert 20 < l1 - l5 < 40


def test_the_front_turns_to_the_convex_side() -> None:
    tilts = np.interp(np.arange(17), [0, 4, 12, 16], [0, 25, -25, 0])  # convex to the right, apex T9
    rng = np.random.default_rng(0)
    turns = np.mean([load_curve_model().draw_axial(rng, tilts) for _ in range(200)], axis=0)
    assert int(np.argmin(turns)) == LEVELS.index("T9")
    assert -25 < turns.min() < -10
    mirrored = np.mean([load_curve_model().draw_axial(rng, -tilts) for _ in range(200)], axis=0)
    assert mirrored.max() > 10


def test_a_straight_column_does_not_turn() -> None:
    assert load_curve_model().draw_axial(np.random.default_rng(0), np.zeros(17)) == pytest.approx(
        np.zeros(17)
    )


def test_reading_noise_is_two_degrees_and_leaves_the_components_alone() -> None:
    model = load_curve_model()
    middle = float(np.interp(0, model.size_scores, model.size_deg))
    noise = add_reading_noise(np.random.default_rng(0), np.full((4000, 17), middle)) - middle
    assert noise.std() == pytest.approx(
        np.sqrt(np.mean(np.sum(model.reading_basis_deg**2, axis=0))), rel=0.05
    )
    assert 1.0 < noise.std() < 2.0
    assert noise @ model.components.T == pytest.approx(np.zeros((4000, len(model.components))), abs=0.1)


def test_films_differ_in_their_noise_and_large_curves_have_more_of_it() -> None:
    model = load_curve_model()
    rng = np.random.default_rng(0)
    small, large = (
        np.sqrt(np.mean((add_reading_noise(rng, np.full((3000, 17), size)) - size) ** 2, axis=1))
        for size in (6.0, 24.0)
    )
    assert np.median(large) / np.median(small) == pytest.approx(4**model.reading_grows, rel=0.04)
    assert np.log(small).std() > model.reading_varies


def test_draws_have_the_sizes_of_the_films() -> None:
    model = load_curve_model()
    drawn = model.draw_coronal(np.random.default_rng(0), 3000)
    size = np.sqrt(np.mean(drawn**2, axis=1))
    middle = float(np.interp(0, model.size_scores, model.size_deg))
    assert np.median(size) == pytest.approx(middle, rel=0.06)
    assert size.max() <= model.size_deg[-1] + 1e-9
