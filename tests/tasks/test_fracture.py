"""Height loss and grades, on columns whose every height is written by hand."""

from dataclasses import replace

import numpy as np
import pytest

from spinelab.errors import InputError
from spinelab.measurement.density import CONTRAST_WARNING
from spinelab.measurement.height_profile import KINDS, height_profile
from spinelab.spine import Density, EndplateShape, Heights, Spine, Vertebra
from spinelab.tasks.fracture import (
    Calibration,
    FractureOptions,
    Loss,
    Reading,
    choose,
    gather_column,
    grade_fractures,
    grade_of,
    name_shape,
    read_heights,
)

LEVELS = ("T8", "T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4")


def expected(name, l1_mm=26.0):
    """Heights just as the profile has them."""
    return [l1_mm * float(np.exp(height_profile().expect(name, kind))) for kind in KINDS]


def column(lost=None, *, slice_mm=1.0, levels=LEVELS, **changes):
    """A column as expected but for the shares of anterior, middle, posterior height lost at some levels."""
    vertebrae = []
    for row, name in enumerate(levels):
        shares = np.array((lost or {}).get(name, (0.0, 0.0, 0.0)))
        heights = Heights(*(float(h) for h in np.array(expected(name)) * (1 - shares)))
        place = (0.0, 0.0, -30.0 * row)
        vertebrae.append(Vertebra(name, place, 1.0, heights_mm=heights, slice_mm=slice_mm, **changes))
    return Spine(tuple(vertebrae))


def grade(lost, name, **changes):
    found = grade_fractures(column(lost, **changes))[name].fracture
    assert found is not None
    return found


def test_a_column_as_expected_has_no_grade_anywhere():
    for vertebra in grade_fractures(column()).vertebrae:
        found = vertebra.fracture
        assert found.evaluable
        assert found.genant_grade == 0
        assert found.shape is None
        assert found.height_loss_percent < 1
        assert found.probability < 0.01
        assert found.interval_percent[0] == 0


@pytest.mark.parametrize("size", [0.8, 1.2])
def test_small_and_tall_people_are_as_normal(size):
    spine = column()
    vertebrae = tuple(
        replace(v, heights_mm=Heights(*(size * getattr(v.heights_mm, kind) for kind in KINDS)))
        for v in spine.vertebrae
    )
    assert all(v.fracture.genant_grade == 0 for v in grade_fractures(Spine(vertebrae)).vertebrae)


@pytest.mark.parametrize(
    ("shares", "shape", "reference"),
    [
        ((0.35, 0.18, 0.0), "wedge", {"own posterior height"}),
        ((0.1, 0.35, 0.1), "biconcave", {"neighbours", "own posterior height", "expected profile"}),
        ((0.35, 0.35, 0.35), "crush", {"neighbours", "expected profile"}),
    ],
)
def test_each_shape_is_found_with_its_loss_and_a_fitting_reference(shares, shape, reference):
    found = grade({"T12": shares}, "T12")
    assert found.genant_grade == 2
    assert found.shape == shape
    assert found.reference in reference
    assert found.height_loss_percent == pytest.approx(35, abs=4)
    assert found.interval_percent[0] < 35 < found.interval_percent[1]
    assert found.probability > 0.8


def test_neighbours_of_a_collapse_stay_normal_and_two_collapses_do_not_hide_each_other():
    lost = {"T11": (0.45, 0.45, 0.4), "T12": (0.45, 0.45, 0.4)}
    graded = grade_fractures(column(lost))
    assert [v.level for v in graded.vertebrae if v.fracture.genant_grade] == ["T11", "T12"]
    assert gather_column(column(lost)).intact == set(LEVELS) - {"T11", "T12"}


def test_a_person_who_is_wedged_throughout_is_not_alarming():
    everywhere = dict.fromkeys(LEVELS, (0.1, 0.05, 0.0))
    assert all(v.fracture.genant_grade == 0 for v in grade_fractures(column(everywhere)).vertebrae)


def test_thicker_slices_leave_more_doubt():
    sharp, blurred = (grade({"T12": (0.35, 0.2, 0.0)}, "T12", slice_mm=mm) for mm in (1.0, 5.0))
    assert np.ptp(blurred.interval_percent) > np.ptp(sharp.interval_percent)
    assert blurred.probability < sharp.probability


def test_a_focal_depression_alone_makes_no_grade_but_counts_within_a_collapse():
    pit = EndplateShape(6.0, 0.0, 0.0)

    def with_pit(lost):
        spine = column({"L2": lost})
        vertebrae = tuple(replace(v, endplates=pit) if v.level == "L2" else v for v in spine.vertebrae)
        return grade_fractures(Spine(vertebrae))["L2"].fracture

    middle = expected("L2")[1]
    alone = with_pit((0.0, 6.0 / middle, 0.0))
    assert alone.genant_grade == 0
    assert "focal depression of the superior endplate (6 mm): Schmorl node?" in alone.reasons
    collapsed = with_pit((0.3, 0.5, 0.3))
    assert collapsed.height_loss_percent == pytest.approx(50, abs=5)
    assert "focal depression of the superior endplate (6 mm): the rim is lower too" in collapsed.reasons


def test_a_body_alone_is_judged_by_itself_with_a_word_of_caution():
    found = grade({"L1": (0.4, 0.2, 0.0)}, "L1", levels=("L1",))
    assert found.reference == "own posterior height"
    assert found.genant_grade >= 2
    assert "no intact vertebra to compare with" in found.reasons


def test_a_crush_far_from_the_only_intact_body_is_still_read_against_it():
    lost = dict.fromkeys(("T8", "T9", "T10", "T11"), (0.5, 0.5, 0.5))
    spine = column(lost, levels=("T8", "T9", "T10", "T11", "L2"))
    low = replace(spine["L2"], heights_mm=Heights(*expected("L2")))
    intact = gather_column(replace(spine, vertebrae=(*spine.vertebrae[:-1], low)))
    readings = read_heights(replace(intact, intact=frozenset({"L2"})), "T8", height_profile())
    assert [reading.reference for reading in readings] == ["own posterior height", "expected profile"]
    assert choose(readings).percent == pytest.approx(50, abs=3)


def test_what_cannot_be_graded_says_why_and_nothing_else():
    spine = column()
    spine = replace(spine, vertebrae=(replace(spine.vertebrae[0], complete=False), *spine.vertebrae[1:]))
    found = grade_fractures(spine)["T8"].fracture
    assert found.reasons == ("cut by the field of view",)
    assert not found.evaluable
    assert {found.probability, found.genant_grade, found.height_loss_percent, found.reference} == {None}


def density(median_hu):
    return Density(median_hu, median_hu, 20.0, 5000.0)


def test_low_density_is_flagged_apart_and_not_with_contrast_medium():
    spine = column(density=density(80.0))
    graded = grade_fractures(spine)
    assert [v.level for v in graded.vertebrae if "low density" in v.flags] == ["T12", "L1", "L2", "L3", "L4"]
    assert all(v.fracture.genant_grade == 0 for v in graded.vertebrae)
    enhanced = grade_fractures(spine.with_warnings(CONTRAST_WARNING))
    assert not any("low density" in v.flags for v in enhanced.vertebrae)
    dense = grade_fractures(column(density=density(150.0)))
    assert not any("low density" in v.flags for v in dense.vertebrae)


def test_json_keeps_the_grades():
    graded = grade_fractures(column({"T12": (0.4, 0.2, 0.0)}))
    assert Spine.from_dict(graded.to_dict()) == graded


def itself(anterior):
    return Reading("own posterior height", {"anterior": (anterior, 0.05), "middle": (0.0, 0.05)})


def against_column(anterior, posterior=0.0):
    off = {"anterior": (anterior, 0.05), "middle": (0.0, 0.05), "posterior": (posterior, 0.05)}
    return Reading("expected profile", off)


def test_the_later_reference_is_named_where_it_shows_clearly_more_loss():
    assert choose([itself(-0.30), against_column(-0.31)]).reference == "own posterior height"
    assert choose([itself(-0.30), against_column(-0.40)]).reference == "expected profile"


def test_what_body_and_column_say_is_averaged():
    loss = choose([itself(-0.30), against_column(-0.40)])
    assert loss.kind == "anterior"
    assert loss.log == pytest.approx(-0.35)
    # two readings of 0.05 that are half alike: 0.05 * sqrt(0.75)
    assert loss.sd == pytest.approx(0.0433, abs=1e-4)


def test_a_body_whose_posterior_height_sank_too_is_no_reference_for_itself():
    loss = choose([itself(-0.05), against_column(-0.40, posterior=-0.35)])
    assert loss.log == pytest.approx(-0.40)
    assert loss.posterior_log == pytest.approx(-0.35)


def test_a_low_posterior_height_makes_a_crush():
    assert name_shape(Loss(-0.5, 0.05, "anterior", -0.3, "neighbours")) == "crush"
    assert name_shape(Loss(-0.5, 0.05, "anterior", -0.1, "neighbours")) == "wedge"
    assert name_shape(Loss(-0.5, 0.05, "middle", 0.0, "neighbours")) == "biconcave"


@pytest.mark.parametrize(("percent", "wanted"), [(0, 0), (19.9, 0), (20, 1), (24.9, 1), (25, 2), (40, 3)])
def test_grades_begin_where_genant_put_them(percent, wanted):
    assert grade_of(percent) == wanted


def test_probability_is_a_half_where_the_curve_crosses():
    curves = Calibration(grave=(2.0, -3.0), any=(1.0, -2.0))
    twenty = float(np.log(0.8))
    loss = Loss(twenty - 1.5 * 0.1, 0.1, "anterior", 0.0, "neighbours")
    assert loss.score == pytest.approx(1.5)
    assert curves.estimate_probability(loss) == pytest.approx(0.5)
    half = Loss(-0.2, 0.1, "anterior", 0.0, "neighbours")
    assert curves.expect_percent(half) == pytest.approx(half.percent / 2)


def test_an_impossible_interval_is_refused():
    with pytest.raises(InputError, match=r"interval is 1.0; give a probability between 0 and 1, as 0.9"):
        FractureOptions(interval=1.0)
