"""Why a body is not graded, and each reason for caution by itself."""

import pytest

from spinelab.spine import EndplateShape, Frame, Heights, Vertebra
from spinelab.tasks.fracture_cautions import list_cautions, refuse

HEIGHTS = Heights(24.0, 23.0, 25.0)


def vertebra(name="L1", **changes):
    return Vertebra(name, (0.0, 0.0, 0.0), 0.99, **({"heights_mm": HEIGHTS, "slice_mm": 1.0} | changes))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (vertebra("C5"), "cervical levels are not graded"),
        (vertebra("S"), "sacral levels are not graded"),
        (vertebra(complete=False), "cut by the field of view"),
        (vertebra(flags=("no mask",)), "no outline"),
        (vertebra(flags=("small mask",)), "outline too small"),
        (vertebra(flags=("body not found",)), "no body found in the outline"),
        (vertebra(heights_mm=None), "heights not readable"),
        (vertebra(heights_mm=Heights(24.0, None, 25.0)), "heights not readable"),
        (vertebra(slice_mm=7.0), "slices 7.0 mm apart; at most 6 mm are graded"),
    ],
)
def test_what_cannot_be_graded_says_why(found, why):
    assert refuse(found) == why


def test_a_whole_body_is_graded():
    assert refuse(vertebra(flags=("posterior elements cut",))) is None


def cautions(found, interval=(0.0, 10.0), *, alone=False):
    return list_cautions(found, interval, alone=alone)


def test_a_plain_body_calls_for_no_caution():
    assert cautions(vertebra()) == ()


LEANING = Frame((0.94, 0.0, -0.342), (0.0, 1.0, 0.0), (0.342, 0.0, 0.94))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"slice_mm": 5.0}, "thick slices (5.0 mm)"),
        ({"slice_mm": None}, "slice distance unknown"),
        ({"flags": ("metal",)}, "metal"),
        (
            {"endplates": EndplateShape(0.0, 4.2, 1.0)},
            "focal depression of the inferior endplate (4 mm): Schmorl node?",
        ),
        ({"endplates": EndplateShape(None, None, 7.6)}, "osteophytes (rims reach 8 mm forward)"),
        ({"frame": LEANING}, "tilted sideways by 20 degrees"),
        (
            {"heights_left_mm": Heights(24.0, 24.0, 24.0), "heights_right_mm": Heights(18.0, 18.0, 18.0)},
            "left and right side differ in height",
        ),
    ],
)
def test_each_reason_for_caution(changes, reason):
    assert cautions(vertebra(**changes)) == (reason,)


def test_levels_names_and_borders_call_for_caution_too():
    assert cautions(vertebra("T2")) == ("outside T4 to L4, where grading is established",)
    doubtful = Vertebra("L1", (0.0, 0.0, 0.0), 0.6, heights_mm=HEIGHTS, slice_mm=1.0)
    assert cautions(doubtful) == ("level name doubtful",)
    assert cautions(vertebra(), (12.0, 22.0)) == ("borderline: the interval includes 20 %",)
    assert cautions(vertebra(), alone=True) == ("no intact vertebra to compare with",)


def test_a_shallow_pit_in_thick_slices_is_not_believed():
    pit = EndplateShape(2.5, 0.0, 0.0)
    assert cautions(vertebra(endplates=pit, slice_mm=5.0)) == ("thick slices (5.0 mm)",)
