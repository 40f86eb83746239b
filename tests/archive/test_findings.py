"""What goes on the work list, and in which order."""

import pytest

from spinelab.archive.findings import find_worst, largest_loss_percent, rank_of_loss, rows_of, say_name
from spinelab.spine import Density, Fracture, HeightLoss, Numbering, Spine, Vertebra

HERE = (0.0, 0.0, 0.0)


def vertebra(level, fracture=None, **changes):
    return Vertebra(level, HERE, 0.9, fracture=fracture, **changes)


def graded(grade, probability, loss=30.0, shape="wedge"):
    return Fracture(True, probability, grade, shape if grade else None, loss)


def test_the_highest_grade_is_the_worst_finding():
    spine = Spine(
        (vertebra("T11", graded(1, 0.99)), vertebra("T12", graded(3, 0.6)), vertebra("L1", graded(2, 0.9)))
    )
    worst = find_worst(spine)
    assert (worst.level, worst.grade, worst.probability, worst.loss_percent) == ("T12", 3, 0.6, 30.0)
    assert worst.rank == pytest.approx(3.6)
    assert worst.sentence == "T12, grade 3 wedge, 30 % height loss, probability 0.60"


def test_among_equal_grades_the_surer_one_is_worse():
    spine = Spine((vertebra("T11", graded(0, 0.2, 8.0)), vertebra("T12", graded(0, 0.4, 7.0))))
    assert find_worst(spine).sentence == "T12, no fracture, 7 % height loss, probability 0.40"


def column(names, runner_up, *, probability=0.68, unseen=()):
    vertebrae = tuple(
        Vertebra(name, HERE, probability, detection=None if name in unseen else 0.9, fracture=graded(2, 0.9))
        for name in names
    )
    return Spine(vertebrae, Numbering((), probability, runner_up, 0.25, False))


def test_a_doubtful_name_says_what_else_it_may_be():
    assert find_worst(column(("T11",), ("T12",))).sentence.startswith("T11 or T12 (68 %), grade 2 wedge,")
    assert say_name(column(("T11", "T12"), ("T12", "L1", "S")), "T12") == "T12 or L1 (68 %)"
    assert say_name(column(("T11", "T12"), ("T12", "L1"), probability=0.93), "T12") == "T12"
    assert say_name(column(("T11", "T12"), ("T11", "T13")), "T11") == "T11 (68 %)"


def test_a_vertebra_beyond_the_numbered_ones_does_not_shift_the_other_names():
    spine = column(("T10", "T11", "T12", "L1"), ("T10", "T11"), unseen=("T10", "L1"))
    assert say_name(spine, "T12") == "T12 or T11 (68 %)"
    assert say_name(spine, "L1") == "L1 (68 %)"
    assert say_name(column(("T11", "T12"), ("T12",)), "T11") == "T11 (68 %)"


def test_what_cannot_be_graded_is_no_finding():
    spine = Spine((vertebra("T11", Fracture(False, reasons=("cut",))),))
    assert find_worst(spine).sentence == "no vertebra can be graded"
    assert find_worst(spine).rank == find_worst(Spine(())).rank == -1.0
    assert find_worst(Spine(())).sentence == "no vertebra found"


def test_without_a_fracture_reading_measured_loss_ranks():
    spine = Spine(
        (
            vertebra("T11", height_loss=HeightLoss(12.0, 22.5, None, 40.0)),
            vertebra("T12", height_loss=HeightLoss(80.0, 80.0, 80.0, 80.0), complete=False),
            vertebra("L1"),
        )
    )
    worst = find_worst(spine)
    assert (worst.level, worst.loss_percent, worst.grade) == ("T11", 22.5, None)
    assert worst.rank == pytest.approx(1.5)
    assert worst.sentence == "T11, 22 % height loss, not graded"


@pytest.mark.parametrize(
    ("loss", "rank"),
    [(-5.0, 0.0), (0.0, 0.0), (19.0, 0.95), (20.0, 1.0), (25.0, 2.0), (40.0, 3.0), (99.0, 3.999)],
)
def test_the_rank_of_a_loss_passes_the_grades_where_they_begin(loss, rank):
    assert rank_of_loss(loss) == pytest.approx(rank)


def test_neighbours_count_only_alone():
    assert largest_loss_percent(HeightLoss(5.0, None, None, 40.0)) == 5.0
    assert largest_loss_percent(HeightLoss(None, None, None, 40.0)) == 40.0
    assert largest_loss_percent(HeightLoss(None, None, None, None)) is None
    assert largest_loss_percent(None) is None


def test_a_row_a_vertebra_from_the_head_down():
    density = Density(120.0, 118.0, 20.0, 900.0)
    first, second, third = rows_of(
        Spine(
            (
                vertebra("T11", graded(2, 0.8), density=density),
                vertebra("T12", Fracture(False, reasons=("cut",)), complete=False),
                vertebra("L1", height_loss=HeightLoss(10.0, 5.0, None, None)),
            )
        )
    )
    assert (first.position, first.level, first.grade, first.probability, first.shape) == (
        0,
        "T11",
        2,
        0.8,
        "wedge",
    )
    assert (first.height_loss_percent, first.density_hu, first.evaluable) == (30.0, 120.0, True)
    assert (second.position, second.evaluable, second.complete, second.grade) == (1, False, False, None)
    assert (third.evaluable, third.height_loss_percent, third.density_hu) == (None, 10.0, None)
