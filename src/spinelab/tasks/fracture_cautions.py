"""Why a body cannot be graded, and what calls for caution where it can."""

import numpy as np

from spinelab.anatomy import ORDER, level
from spinelab.spine import Vertebra

#: Slices farther apart than this give no grade (mm); above the second they are a reason for caution.
TOO_THICK_MM, THICK_MM = 6.0, 3.0
#: A focal depression from here is likely a Schmorl node: mm, and slices.
DEPRESSION_MM, DEPRESSION_SLICES = 2.0, 0.6
#: Rims reaching this far ahead of the anterior wall are osteophytes (mm); healthy ones reach 1 to 4.
LIP_MM = 6.0
#: Tilt of a body to one side, and difference of its two sides' heights, that bend the mid-sagittal reading.
TILT_DEG, UNEVEN_SHARE = 15.0, 0.15
#: Below this probability a name is doubtful.
DOUBTFUL_NAME = 0.9
#: Between these levels Genant's grading is established.
ESTABLISHED = ("T4", "L4")
BORDERLINE = "borderline: the interval includes 20 %"
#: Flags of a vertebra that exclude grading, and what is said.
_EXCLUDING = {
    "no mask": "no outline",
    "cut": "cut by the field of view",
    "small mask": "outline too small",
    "body not found": "no body found in the outline",
}


def refuse(vertebra: Vertebra) -> str | None:
    """Returns why a vertebra cannot be graded, None if it can."""
    region = level(vertebra.level).region
    if region in ("cervical", "sacral"):
        return f"{region} levels are not graded"
    for flag, words in _EXCLUDING.items():
        if flag in vertebra.flags:
            return words
    if not vertebra.complete:
        return _EXCLUDING["cut"]
    heights = vertebra.heights_mm
    if heights is None or not all((heights.anterior, heights.middle, heights.posterior)):
        return "heights not readable"
    if vertebra.slice_mm is not None and vertebra.slice_mm > TOO_THICK_MM:
        return f"slices {vertebra.slice_mm:.1f} mm apart; at most {TOO_THICK_MM:.0f} mm are graded"
    return None


def list_cautions(
    vertebra: Vertebra, interval_percent: tuple[float, float], *, alone: bool, rims_kept: bool = True
) -> tuple[str, ...]:
    """Returns what a reader should look at before believing a grade.

    Args:
        vertebra: The one graded.
        interval_percent: Of its height loss.
        alone: Whether no other body could serve as reference.
        rims_kept: Whether anterior and posterior height are those to be expected: a Schmorl node leaves them.
    """
    found = [
        (interval_percent[0] < 20 <= interval_percent[1], BORDERLINE),
        (alone, "no intact vertebra to compare with"),
        (not _is_established(vertebra.level), "outside T4 to L4, where grading is established"),
        (vertebra.probability < DOUBTFUL_NAME, "level name doubtful"),
        (vertebra.slice_mm is None, "slice distance unknown"),
        ((vertebra.slice_mm or 0) > THICK_MM, f"thick slices ({vertebra.slice_mm or 0:.1f} mm)"),
        ("metal" in vertebra.flags, "metal"),
        *_look_at_endplates(vertebra, rims_kept=rims_kept),
        *_look_at_curve(vertebra),
    ]
    return tuple(words for raised, words in found if raised)


def _is_established(name: str) -> bool:
    return ORDER[ESTABLISHED[0]] <= ORDER[name] <= ORDER[ESTABLISHED[1]]


def find_depressions(vertebra: Vertebra) -> list[tuple[str, float]]:
    """Returns (side, depth in mm) of the focal depressions of a body, as Schmorl nodes make."""
    if vertebra.endplates is None:
        return []
    plates = vertebra.endplates
    limit = max(DEPRESSION_MM, DEPRESSION_SLICES * (vertebra.slice_mm or 0.0))
    depths = (("superior", plates.superior_depression_mm), ("inferior", plates.inferior_depression_mm))
    return [(side, depth) for side, depth in depths if depth is not None and depth >= limit]


def _look_at_endplates(vertebra: Vertebra, *, rims_kept: bool) -> list[tuple[bool, str]]:
    meaning = "Schmorl node?" if rims_kept else "the rim is lower too"
    found = [
        (True, f"focal depression of the {side} endplate ({depth:.0f} mm): {meaning}")
        for side, depth in find_depressions(vertebra)
    ]
    lip = 0.0 if vertebra.endplates is None else vertebra.endplates.lip_mm or 0.0
    return [*found, (lip >= LIP_MM, f"osteophytes (rims reach {lip:.0f} mm forward)")]


def _look_at_curve(vertebra: Vertebra) -> list[tuple[bool, str]]:
    found = []
    if vertebra.frame is not None:
        left, _, up = vertebra.frame.superior
        tilt = abs(float(np.degrees(np.arctan2(left, up))))
        found.append((tilt >= TILT_DEG, f"tilted sideways by {tilt:.0f} degrees"))
    sides = [
        h.middle for h in (vertebra.heights_left_mm, vertebra.heights_right_mm) if h is not None and h.middle
    ]
    uneven = len(sides) == 2 and abs(sides[0] - sides[1]) > UNEVEN_SHARE * max(sides)
    found.append((uneven, "left and right side differ in height"))
    return found
