"""Which series of a study to read, and why: for reading without anybody to ask.

A series is worth its length along the body, less what thick slices, a sharp kernel and contrast medium cost:
the more of the column is in view the more is found, but height loss cannot be told on slices as thick as a
third of a body, and density not after a sharp kernel.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spinelab.io.dicom_grid import find_problem
from spinelab.io.dicom_series import Series

#: Distance between slices up to, in mm -> what a millimetre of such a series is worth.
STEP_WORTH = ((0.45, 0.95), (1.55, 1.0), (2.55, 0.9), (3.3, 0.7), (5.1, 0.5), (8.0, 0.2))
KERNEL_WORTH = {"soft": 1.0, "unnamed": 0.97, "bone": 0.96, "sharp": 0.8}
_CONTRAST_WORTH, _DERIVED_WORTH = 0.99, 0.9
#: A shorter series shows hardly a vertebra and its neighbours.
_LEAST_EXTENT_MM = 60.0
_LEAST_UPRIGHT = 0.8
_PROJECTIONS = ("MIP", "MINIP", "MIN_IP", "MAX_IP", "VOLREN", "VRT", "PROJECTION", "SCREEN", "PASTED")
_SHARP = re.compile(r"lung|edge|ultra|^y[c-e]$|^l$|^fc(5\d|8[3-6])", re.I)
_BONE = re.compile(r"bone|detail|high|^d$|^yb$|^fc(3\d|8[0-2])", re.I)
_SOFT = re.compile(r"stand|soft|smooth|body|^[abc]$|^ya$|^fc[01246]\d", re.I)
#: Siemens: a letter or two for the region, then the sharpness from 10 (smooth) to 90.
_SIEMENS = re.compile(r"^(?:[a-z]|[a-z]{2})(\d\d)[a-z]?(?:\\\d)?$", re.I)


@dataclass(frozen=True)
class Choice:
    """The series to read, and what to say about it.

    Attributes:
        series: None where no series of the study can be read.
        sentence: Why this one and why not the others; holds no identifiers.
    """

    series: Series | None
    sentence: str


def choose_to_read(found: Sequence[Series]) -> Choice:
    """Chooses the series of a study that shows most of the column well; never asks.

    Args:
        found: All series of one study.
    """
    fit, unfit = [], []
    for part in found:
        reason = why_unfit(part)
        if reason is None:
            fit.append(part)
        else:
            unfit.append(f"{part.name} ({reason})")
    if not fit:
        listed = "; ".join(unfit) or "there is none"
        return Choice(None, f"no series can be read as an axial CT: {listed}")
    best = max(fit, key=lambda part: (round(worth(part), 3), len(part.slices), -_number(part)))
    others = [f"{part.name} ({_why_less(part, best)})" for part in fit if part is not best]
    sentence = f"series {best.describe()}, {best.extent_mm:.0f} mm of the body"
    if others or unfit:
        sentence += f"; passed over: {'; '.join([*others, *unfit])}"
    return Choice(best, sentence)


def why_unfit(part: Series) -> str | None:
    """Returns why a series cannot be read as an axial CT, in few words; None if it can."""
    return next((reason for rule in _RULES if (reason := rule(part)) is not None), None)


def _no_ct(part: Series) -> str | None:
    return None if part.modality == "CT" else f"modality {part.modality}"


def _no_slices(part: Series) -> str | None:
    words = set(re.split(r"[\\ ]", part.slices[0].facts.get("ImageType", "").upper()))
    if "LOCALIZER" in words:
        return "localizer"
    return "projection or picture" if words & set(_PROJECTIONS) else None


def _no_place(part: Series) -> str | None:
    if not part.placed:
        return "its images do not say where they lie"
    upright = abs(float(part.slices[0].normal[2])) >= _LEAST_UPRIGHT
    return None if upright else "not axial"


def _no_length(part: Series) -> str | None:
    if len(part.slices) >= 2 and part.extent_mm >= _LEAST_EXTENT_MM:
        return None
    return f"{len(part.slices)} slices over {part.extent_mm:.0f} mm"


def _no_stack(part: Series) -> str | None:
    problem = find_problem(part.slices)
    if problem is not None:
        return problem.sentence
    return f"slices {part.step_mm:.1f} mm apart" if part.step_mm > STEP_WORTH[-1][0] else None


_RULES: tuple[Callable[[Series], str | None], ...] = (_no_ct, _no_slices, _no_place, _no_length, _no_stack)


def worth(part: Series) -> float:
    """Returns how much of the column a series shows how well, in millimetres of a perfect one."""
    value = part.extent_mm * _step_worth(part) * KERNEL_WORTH[kernel_of(part)]
    if part.slices[0].facts.get("Contrast"):
        value *= _CONTRAST_WORTH
    if part.slices[0].facts.get("ImageType", "").upper().startswith("DERIVED"):
        value *= _DERIVED_WORTH
    return float(value)


def kernel_of(part: Series) -> str:
    """Returns "soft", "bone", "sharp" or "unnamed" for the kernel a series was reconstructed with."""
    name = part.slices[0].facts.get("ConvolutionKernel", "").strip()
    graded = _SIEMENS.match(name)
    if graded and not name.lower().startswith("fc"):
        sharpness = int(graded[1])
        return "soft" if sharpness <= 48 else "bone" if sharpness < 67 else "sharp"
    for word, pattern in (("sharp", _SHARP), ("bone", _BONE), ("soft", _SOFT)):
        if pattern.search(name):
            return word
    return "unnamed"


def _step_worth(part: Series) -> float:
    return next((value for limit, value in STEP_WORTH if part.step_mm <= limit), 0.0)


def _why_less(part: Series, best: Series) -> str:
    if part.extent_mm < 0.9 * best.extent_mm:
        return f"shorter, {part.extent_mm:.0f} mm"
    if _step_worth(part) < _step_worth(best):
        return f"slices {part.step_mm:.2f} mm apart"
    if KERNEL_WORTH[kernel_of(part)] < KERNEL_WORTH[kernel_of(best)]:
        return f"{kernel_of(part)} kernel"
    if part.slices[0].facts.get("ImageType", "").upper().startswith("DERIVED"):
        return "derived"
    return "no better"


def _number(part: Series) -> float:
    digits = re.match(r"\d+", part.name)
    return float(digits[0]) if digits else float("inf")
