"""The report's sentences and table cells: every figure in words or as a rounded number, a dash if unknown."""

from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from spinelab.report.curve_drawing import describe_curve
from spinelab.report.pictures import DOUBTFUL_BELOW, level_color
from spinelab.spine import LOW_DENSITY_FLAG, Fracture, HeightLoss, Slip, Spine, Vertebra

DASH = "–"
#: Genant et al. 1993 (J Bone Miner Res 8:1137): a height loss from 20 % counts as a deformity.
LOSS_TO_NOTE_PERCENT = 20.0
#: Below this a displacement is within what position and measurement vary by.
SLIP_TO_NOTE_MM = 3.0
#: Cobb angle from which a coronal curve is called scoliosis.
CURVE_TO_NOTE_DEG = 10.0
_KIND_FROM_PERCENT = 10.0
_RIVAL_FROM = 0.1
_CHANCE_FROM = 0.01


@dataclass(frozen=True)
class Row:
    """One vertebra's line of the table, ready to print.

    Attributes:
        level, color: Name and the colour it has in the pictures.
        probability, complete, anterior, middle, posterior, loss, loss_kind, readers, grade, chance, density,
            flags: Cell texts.
        slip: (side, mm) of each displacement; empty if not measured.
        doubtful, cut, collapsed, slipped: Whether the cell is to stand out.
    """

    level: str
    color: str
    probability: str
    complete: str
    anterior: str
    middle: str
    posterior: str
    loss: str
    loss_kind: str
    readers: str
    grade: str
    chance: str
    density: str
    slip: list[tuple[str, str]]
    flags: str
    doubtful: bool
    cut: bool
    collapsed: bool
    slipped: bool


def write_headline(spine: Spine) -> str:
    """Returns what was seen: "T1 to L2, 14 vertebrae"."""
    if not spine.vertebrae:
        return "No vertebra was found"
    if len(spine.vertebrae) == 1:
        return f"{spine.vertebrae[0].level}, one vertebra"
    levels = spine.levels
    return f"{levels[0]} to {levels[-1]}, {len(levels)} vertebrae"


def write_numbering(spine: Spine) -> str:
    """Returns how the names were fixed and how sure they are, in one or two sentences."""
    numbering = spine.numbering
    if not spine.vertebrae:
        return "The pictures show the middle of the scan. Check that the spine is in the field of view."
    if numbering is None:
        return "How sure the numbering is was not determined."
    if numbering.statement:
        return numbering.statement
    sure = f"Probability that every name is right: {write_percent(numbering.probability)}."
    if not numbering.anchored:
        return f"Nothing in view fixes the count, so the names are a guess. {sure}"
    if not numbering.anchors:
        return sure
    return f"Numbering anchored by {_join(numbering.anchors)}. {sure}"


def list_findings(spine: Spine) -> list[tuple[str, str, bool]]:
    """Returns (subject, finding, stands out) of what a reader looks for first."""
    if not spine.vertebrae:
        return []
    findings = [_find_losses(spine), *_find_curves(spine), _find_slips(spine), _find_density(spine)]
    return [*findings, *find_numbering(spine)]


def build_row(vertebra: Vertebra) -> Row:
    """Returns the table line of a vertebra."""
    heights = vertebra.heights_mm
    loss, kind = write_loss(vertebra)
    return Row(
        level=vertebra.level,
        color=level_color(vertebra.level),
        probability=write_percent(vertebra.probability),
        complete="yes" if vertebra.complete else "cut",
        anterior=write_number(heights.anterior if heights else None),
        middle=write_number(heights.middle if heights else None),
        posterior=write_number(heights.posterior if heights else None),
        loss=loss,
        loss_kind=kind,
        readers=write_readers(vertebra.fracture),
        grade=write_grade(vertebra.fracture),
        chance=write_chance(vertebra.fracture),
        density=write_number(vertebra.density.mean_hu if vertebra.density else None, digits=0),
        slip=[] if vertebra.slip is None else split_slip(vertebra.slip) or [("", "0.0")],
        flags=", ".join(list_remarks(vertebra)),
        doubtful=vertebra.probability < DOUBTFUL_BELOW,
        cut=not vertebra.complete,
        collapsed=is_collapsed(vertebra),
        slipped=_is_slipped(vertebra.slip),
    )


def write_loss(vertebra: Vertebra) -> tuple[str, str]:
    """Returns height loss in per cent and its interval; ungraded, the largest measured one and which."""
    found = vertebra.fracture
    if found is not None:
        if found.height_loss_percent is None:
            return DASH, ""
        low, high = found.interval_percent or (None, None)
        return f"{found.height_loss_percent:.0f}", "" if low is None else f"{low:.0f} to {high:.0f}"
    loss, kind = largest_loss(vertebra.height_loss)
    if loss is None:
        return DASH, ""
    return f"{max(loss, 0.0):.0f}", kind if loss >= _KIND_FROM_PERCENT else ""


def write_grade(fracture: Fracture | None) -> str:
    """Returns the grade with its shape: "2 wedge"."""
    if fracture is None or _is_beyond(fracture):
        return DASH
    if fracture.genant_grade is None:
        return "not evaluable"
    if fracture.genant_grade == 0:
        return "0"
    return f"{fracture.genant_grade} {fracture.shape}"


def _is_beyond(fracture: Fracture) -> bool:
    """Tells whether such levels are never graded, which needs no remark."""
    return any(reason.endswith("levels are not graded") for reason in fracture.reasons)


def write_caption(vertebra: Vertebra) -> str:
    """Returns what stands below the picture of a body that may have collapsed."""
    found = vertebra.fracture
    assert found is not None
    low, high = found.interval_percent or (0.0, 0.0)
    loss = f"{found.height_loss_percent or 0.0:.0f} % ({low:.0f} to {high:.0f}) against {found.reference}"
    grade = f"Genant grade {found.genant_grade}" + (f", {found.shape}" if found.shape else "")
    chance = f"probability of 20 % or more: {write_percent(found.probability or 0.0)}"
    readers = write_readers(found)
    loss += f" ({readers})" if readers else ""
    return "; ".join([f"height loss {loss}", grade, chance, *found.reasons])


def write_readers(fracture: Fracture | None) -> str:
    """Returns the loss in per cent each reader alone tells: "outline 8, scan 12"; empty if one read."""
    if fracture is None or fracture.geometry is None or fracture.network is None:
        return ""
    readings = (("outline", fracture.geometry), ("scan", fracture.network))
    return ", ".join(f"{name} {reading.height_loss_percent:.0f}" for name, reading in readings)


def write_chance(fracture: Fracture | None) -> str:
    """Returns the probability that at least 20 % are missing, empty where it is below 1 %."""
    if fracture is None or fracture.probability is None or fracture.probability < _CHANCE_FROM:
        return ""
    return write_percent(fracture.probability)


def list_remarks(vertebra: Vertebra) -> list[str]:
    """Returns flags, and why the body was not graded; other reasons stand below its picture."""
    remarks = [flag for flag in vertebra.flags if flag != "cut"]
    found = vertebra.fracture
    if found is None or found.evaluable or _is_beyond(found):
        return remarks
    told = set(remarks) | ({"cut by the field of view"} if not vertebra.complete else set())
    return remarks + [reason for reason in found.reasons if reason not in told]


def is_collapsed(vertebra: Vertebra) -> bool:
    """Tells whether the loss of height is to stand out: by its grade, or ungraded by the largest one."""
    if vertebra.fracture is not None:
        return bool(vertebra.fracture.genant_grade)
    loss, _ = largest_loss(vertebra.height_loss)
    return loss is not None and loss >= LOSS_TO_NOTE_PERCENT


def largest_loss(loss: HeightLoss | None) -> tuple[float | None, str]:
    """Returns the largest of the height losses in per cent and which one it is."""
    if loss is None:
        return None, ""
    kinds = {
        "anterior": loss.anterior_percent,
        "middle": loss.middle_percent,
        "posterior": loss.crush_percent,
        "to neighbours": loss.neighbours_percent,
    }
    known = [(value, kind) for kind, value in kinds.items() if value is not None]
    return max(known, key=lambda pair: pair[0]) if known else (None, "")


def write_slip(slip: Slip) -> str:
    """Returns the displacement of the body above with its unit, e.g. "4.1 mm forward"."""
    return ", ".join(f"{mm} mm {side}" for side, mm in split_slip(slip)) or "0.0 mm"


def split_slip(slip: Slip) -> list[tuple[str, str]]:
    """Returns (side, mm) forward or back, and to the left or right where that is marked too."""
    parts = []
    if abs(slip.anterior_mm) >= 0.05:
        parts.append(("forward" if slip.anterior_mm > 0 else "back", f"{abs(slip.anterior_mm):.1f}"))
    if abs(slip.left_mm) >= SLIP_TO_NOTE_MM:
        parts.append(("left" if slip.left_mm > 0 else "right", f"{abs(slip.left_mm):.1f}"))
    return parts


def flatten_manifest(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns (name, value) for every leaf of the manifest; of a path only its last part is kept."""
    rows: list[tuple[str, str]] = []
    for key, value in manifest.items():
        name = str(key).replace("_", " ")
        if isinstance(value, dict):
            rows += [(f"{name}: {inner}", text) for inner, text in flatten_manifest(value)]
        else:
            rows.append((name, _show_value(value)))
    return rows


def _show_value(value: Any) -> str:
    if value is None:
        return DASH
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_show_value(item) for item in value) or DASH
    text = str(value)
    for kind in (PurePosixPath, PureWindowsPath):
        if kind(text).is_absolute():
            return kind(text).name
    return text


def _find_losses(spine: Spine) -> tuple[str, str, bool]:
    subject = f"Height loss of {LOSS_TO_NOTE_PERCENT:.0f} % or more"
    graded = [
        (v.level, v.fracture) for v in spine.vertebrae if v.fracture is not None and v.fracture.evaluable
    ]
    if graded:
        worst = [f"{name} {_tell_grade(found)}" for name, found in graded if found.genant_grade]
        return subject, "; ".join(worst) or f"none of {len(graded)} graded", bool(worst)
    losses = [(v.level, *largest_loss(v.height_loss)) for v in spine.vertebrae]
    known = [(name, loss, kind) for name, loss, kind in losses if loss is not None]
    if not known:
        return subject, "not measured", False
    found = [f"{name} {loss:.0f} % ({kind})" for name, loss, kind in known if loss >= LOSS_TO_NOTE_PERCENT]
    return subject, ", ".join(found) or f"none of {_count(len(known))}", bool(found)


def _tell_grade(found: Fracture) -> str:
    """Returns "31 % against neighbours, grade 2 biconcave"."""
    grade = f"grade {found.genant_grade} {found.shape}"
    return f"{found.height_loss_percent:.0f} % against {found.reference}, {grade}"


def _find_curves(spine: Spine) -> list[tuple[str, str, bool]]:
    if spine.curvature is None:
        return [("Curvature", "not measured", False)]
    coronal = spine.curvature.coronal
    texts = [describe_curve(curve).removeprefix("Coronal curve ") for curve in coronal]
    large = any(curve.angle_deg >= CURVE_TO_NOTE_DEG for curve in coronal)
    return [("Coronal curve", "; ".join(texts) or "none of 5° or more", large), *find_sagittal_curves(spine)]


def find_sagittal_curves(spine: Spine) -> list[tuple[str, str, bool]]:
    """Returns (subject, finding, stands out) of kyphosis and lordosis, of those that were measured."""
    if spine.curvature is None:
        return []
    both = (("Kyphosis", spine.curvature.kyphosis), ("Lordosis", spine.curvature.lordosis))
    return [
        (subject, describe_curve(curve).removeprefix(f"{subject} "), False)
        for subject, curve in both
        if curve is not None
    ]


def _find_slips(spine: Spine) -> tuple[str, str, bool]:
    subject = f"Slip of {SLIP_TO_NOTE_MM:.0f} mm or more"
    known = [v for v in spine.vertebrae if v.slip is not None]
    if not known:
        return subject, "not measured", False
    found = [
        f"{v.slip.above} on {v.level} {write_slip(v.slip)}"
        for v in known
        if v.slip is not None and _is_slipped(v.slip)
    ]
    return subject, "; ".join(found) or f"none of {_count(len(known))}", bool(found)


def _find_density(spine: Spine) -> tuple[str, str, bool]:
    known = [(v.density.mean_hu, v.level) for v in spine.vertebrae if v.density is not None and v.complete]
    if not known:
        return "Density", "not measured", False
    lowest = f"lowest {min(known)[0]:.0f} HU ({min(known)[1]})"
    first = [f"L1 {hu:.0f} HU" for hu, name in known if name == "L1"]
    sparse = [v.level for v in spine.vertebrae if LOW_DENSITY_FLAG in v.flags]
    low = [f"low at {' '.join(sparse)}"] if sparse else []
    return "Density", ", ".join([*first, lowest, *low]), bool(sparse)


def find_numbering(spine: Spine) -> list[tuple[str, str, bool]]:
    """Returns (subject, finding, stands out) of numbering variants and the next likely names."""
    numbering = spine.numbering
    if numbering is None:
        return []
    lines = []
    if numbering.variants:
        lines.append(("Numbering variant", ", ".join(numbering.variants), True))
    if numbering.runner_up:
        first, last = numbering.runner_up[0], numbering.runner_up[-1].replace("S", "S1")
        names = first if first == last else f"{first} to {last}"
        chance = numbering.runner_up_probability
        lines.append(("Next likely numbering", f"{names}, {write_percent(chance)}", chance >= _RIVAL_FROM))
    return lines


def _is_slipped(slip: Slip | None) -> bool:
    return slip is not None and max(abs(slip.anterior_mm), abs(slip.left_mm)) >= SLIP_TO_NOTE_MM


def _count(number: int) -> str:
    return "1 measured" if number == 1 else f"{number} measured"


def _join(words: tuple[str, ...]) -> str:
    named = [word if word == "C2" else f"the {word}" for word in words]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def write_percent(probability: float) -> str:
    """Returns whole per cent; never "100 %" for what is not certain, nor "0 %" for what is not impossible."""
    if 0.995 <= probability < 1.0:
        return "> 99 %"
    if 0.0 < probability < 0.005:
        return "< 1 %"
    return f"{100 * probability:.0f} %"


def write_number(value: float | None, *, digits: int = 1) -> str:
    """Returns a number, or a dash for what is not known."""
    return DASH if value is None else f"{value:.{digits}f}"
