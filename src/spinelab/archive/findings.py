"""What of a spine goes on the work list: its worst finding, and one row a vertebra."""

from dataclasses import dataclass, replace

from spinelab.anatomy import BY_NAME
from spinelab.archive.tables import VertebraRow
from spinelab.spine import HeightLoss, Spine, Vertebra
from spinelab.tasks.fracture_cautions import DOUBTFUL_NAME

#: Loss of height in per cent at which the grades of Genant et al. 1993 (J Bone Miner Res 8:1137) begin.
GRADE_BEGINS_PERCENT = (20.0, 25.0, 40.0)
#: Of a scan in which nothing can be graded: below all others, yet not forgotten.
UNGRADED_RANK = -1.0
_FULL_GRADE_PERCENT = 60.0


@dataclass(frozen=True)
class Finding:
    """The worst of a scan.

    Attributes:
        rank: Orders the work list, the largest first: Genant grade plus probability of fracture where a
            fracture reading is there, otherwise a grade interpolated from the measured loss of height;
            -1 where nothing can be graded.
        sentence: In words, "L1, grade 2 wedge, ..."; "T11 or T12 (68 %), ..." where the name is doubtful.
        level: Where; None where there is nothing.
        probability: Of fracture; None where only heights were measured.
        grade: Genant, 0 to 3; None where only heights were measured.
        loss_percent: Loss of height there.
    """

    rank: float
    sentence: str
    level: str | None = None
    probability: float | None = None
    grade: int | None = None
    loss_percent: float | None = None


def find_worst(spine: Spine) -> Finding:
    """Returns the worst finding of a spine."""
    if not spine.vertebrae:
        return Finding(UNGRADED_RANK, "no vertebra found")
    found = [finding for vertebra in spine.vertebrae if (finding := _finding(vertebra)) is not None]
    if not found:
        return Finding(UNGRADED_RANK, "no vertebra can be graded")
    worst = max(found, key=lambda finding: finding.rank)
    name = str(worst.level)
    return replace(worst, sentence=say_name(spine, name) + worst.sentence.removeprefix(name))


def say_name(spine: Spine, name: str) -> str:
    """Returns a level's name, with its probability and what else it may be where that is below 90 %.

    Example:
        >>> say_name(Spine((Vertebra("T11", (0.0, 0.0, 0.0), 0.68),)), "T11")
        'T11 (68 %)'
    """
    sure = spine[name].probability
    if sure >= DOUBTFUL_NAME:
        return name
    other = second_name(spine, name)
    return f"{name} or {other} ({100 * sure:.0f} %)" if other else f"{name} ({100 * sure:.0f} %)"


def second_name(spine: Spine, name: str) -> str | None:
    """Returns what the second best numbering calls a vertebra; None where that is not known or the same."""
    if spine.numbering is None:
        return None
    others = [n for n in spine.numbering.runner_up if BY_NAME[n].region != "sacral"]
    levels = [v.level for v in spine.vertebrae if BY_NAME[v.level].region != "sacral"]
    for end in (0, -1):  # a vertebra seen in part beyond either end was not numbered itself
        if len(levels) > len(others) and spine[levels[end]].detection is None:
            levels.pop(end)
    if len(levels) != len(others) or name not in levels:
        return None
    other = others[levels.index(name)]
    return other if other != name else None


def rows_of(spine: Spine) -> list[VertebraRow]:
    """Returns one database row a vertebra, from the head down."""
    return [_row(place, vertebra) for place, vertebra in enumerate(spine.vertebrae)]


def largest_loss_percent(loss: HeightLoss | None) -> float | None:
    """Returns the largest of the measured losses of a vertebra; None where none could be measured.

    The measure against the neighbours counts only where no other is there: a body between two tall ones has
    not lost what they have too much.
    """
    if loss is None:
        return None
    own = [loss.anterior_percent, loss.middle_percent, loss.crush_percent]
    known = [value for value in own if value is not None]
    return max(known) if known else loss.neighbours_percent


def rank_of_loss(loss_percent: float) -> float:
    """Returns a grade from 0 to 3 that rises steadily with the loss of height.

    Example:
        >>> rank_of_loss(10.0), rank_of_loss(20.0), rank_of_loss(25.0), rank_of_loss(80.0)
        (0.5, 1.0, 2.0, 3.999)
    """
    begins = (0.0, *GRADE_BEGINS_PERCENT, _FULL_GRADE_PERCENT)
    for grade in range(len(begins) - 1):
        if loss_percent < begins[grade + 1]:
            return grade + max(0.0, loss_percent - begins[grade]) / (begins[grade + 1] - begins[grade])
    return 3.999


def _finding(vertebra: Vertebra) -> Finding | None:
    fracture = vertebra.fracture
    if fracture is None:
        return _measured(vertebra)
    if not fracture.evaluable:
        return None
    probability, grade, loss = fracture.probability, fracture.genant_grade, fracture.height_loss_percent
    said = [vertebra.level, f"grade {grade} {fracture.shape or ''}".strip() if grade else "no fracture"]
    said += [f"{loss:.0f} % height loss"] if loss is not None else []
    said += [f"probability {probability:.2f}"] if probability is not None else []
    return Finding(
        (grade or 0) + (probability or 0.0), ", ".join(said), vertebra.level, probability, grade, loss
    )


def _measured(vertebra: Vertebra) -> Finding | None:
    loss = largest_loss_percent(vertebra.height_loss)
    if loss is None or not vertebra.complete:
        return None
    sentence = f"{vertebra.level}, {loss:.0f} % height loss, not graded"
    return Finding(rank_of_loss(loss), sentence, vertebra.level, None, None, loss)


def _row(place: int, vertebra: Vertebra) -> VertebraRow:
    fracture = vertebra.fracture
    measured = largest_loss_percent(vertebra.height_loss)
    return VertebraRow(
        position=place,
        level=vertebra.level,
        level_probability=vertebra.probability,
        complete=vertebra.complete,
        evaluable=fracture.evaluable if fracture else None,
        probability=fracture.probability if fracture else None,
        grade=fracture.genant_grade if fracture else None,
        shape=fracture.shape if fracture else None,
        height_loss_percent=fracture.height_loss_percent if fracture else measured,
        density_hu=vertebra.density.mean_hu if vertebra.density else None,
    )
