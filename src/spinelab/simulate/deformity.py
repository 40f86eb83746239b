"""What a spine shall be deformed to: angles a level, prescribed or drawn, and findings.

A `Deformity` holds the angles that are added to those of the scan. `CurveRequest` says what is wanted of a
curve; `draw_deformity` turns it into a `Deformity` of one column with exactly the angle asked for.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from spinelab.anatomy import level
from spinelab.errors import InputError, LabelError
from spinelab.measurement.curvature import measure_curvature
from spinelab.simulate.changes import Finding
from spinelab.simulate.column import SACRUM, SourceColumn
from spinelab.simulate.curve_shapes import CurveShape, Severity, draw_shape
from spinelab.simulate.posture import MOST_BEND_DEG, largest_bend_deg, pose_column
from spinelab.simulate.rigid import Array
from spinelab.simulate.tilt_curves import Side
from spinelab.spine import Curvature, Curve

#: Shapes drawn before a request is refused.
DRAWS = 30
_ANGLES = ("coronal_deg", "sagittal_deg", "axial_deg")
_SHIFTS = ("shift_left_mm", "shift_posterior_mm", "shift_superior_mm")


@dataclass(frozen=True)
class Deformity:
    """How a column is to be deformed.

    Attributes:
        coronal_deg: Level -> lean to the patient's left, added to that of the scan.
        sagittal_deg: Level -> lean to the back, added.
        axial_deg: Level -> turn about the body axis, added; positive moves the front to the left.
        shift_mm: Level -> displacement (left, posterior, superior) against the vertebra below; all above
            follow.
        findings: Collapses, slips and the like (`spinelab.simulate.collapse`, `.degeneration`).
    """

    coronal_deg: Mapping[str, float] = field(default_factory=dict)
    sagittal_deg: Mapping[str, float] = field(default_factory=dict)
    axial_deg: Mapping[str, float] = field(default_factory=dict)
    shift_mm: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns its parameters as JSON values."""
        angles = {name: {k: round(v, 4) for k, v in getattr(self, name).items()} for name in _ANGLES}
        shifts = {name: [round(x, 4) for x in shift] for name, shift in self.shift_mm.items()}
        findings = [finding.to_dict() for finding in self.findings]
        return {**angles, "shift_mm": shifts, "findings": findings}


def read_deformity(path: Path, findings: Sequence[Finding] = ()) -> Deformity:
    """Reads angles a level from a CSV file.

    Columns: ``level``, and any of ``coronal_deg``, ``sagittal_deg``, ``axial_deg``, ``shift_left_mm``,
    ``shift_posterior_mm``, ``shift_superior_mm``; empty cells are 0. Levels between two named ones get angles
    between theirs.

    Raises:
        InputError: No such file, columns or numbers.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}; give a CSV file with a column level") from error
    columns = list(rows[0]) if rows else []
    strange = [name for name in columns if name not in ("level", *_ANGLES, *_SHIFTS)]
    if "level" not in columns or strange:
        raise InputError(
            f"{path} has the columns {', '.join(map(str, columns)) or 'none'}; wanted level and any of "
            f"{', '.join((*_ANGLES, *_SHIFTS))}"
        )
    try:
        names = [level(row["level"].strip()).name for row in rows]
        values = {c: [float(row[c] or 0) for row in rows] for c in (*_ANGLES, *_SHIFTS) if c in columns}
    except (LabelError, ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}; wanted a level and numbers in every row") from error
    angles = {c: dict(zip(names, values[c], strict=True)) for c in _ANGLES if c in values}
    nothing = [0.0] * len(names)
    shifts = zip(*[values.get(c, nothing) for c in _SHIFTS], strict=True)
    moved = {name: (x, y, z) for name, (x, y, z) in zip(names, shifts, strict=True) if any((x, y, z))}
    return Deformity(**angles, shift_mm=moved, findings=tuple(findings))


@dataclass(frozen=True)
class CurveRequest:
    """What is wanted of the curve.

    Attributes:
        cobb_deg: Angle of the main curve; none: as it comes.
        apex: Level of its apex.
        side: Side it is convex to, left or right.
        pattern: Shape of the whole column: thoracic, double_thoracic, double_major, triple_major,
            thoracolumbar (also called lumbar) or thoracolumbar_thoracic.
        severity: Draw the angle from a range: none, mild, moderate or severe.
        posture: How much of the sagittal shape is drawn too, 0 (as scanned) to 1.
    """

    cobb_deg: float | None = None
    apex: str | None = None
    side: Side | None = None
    pattern: str | None = None
    severity: Severity | None = None
    posture: float = 0.0


def draw_deformity(
    column: SourceColumn,
    request: CurveRequest,
    rng: np.random.Generator,
    *,
    findings: Sequence[Finding] = (),
) -> Deformity:
    """Draws a deformity whose main curve has exactly the angle, and about the apex, asked for.

    The coronal leans of the scan are replaced by those drawn; axial rotation is added, and of the sagittal
    shape the share asked for.

    Args:
        column: Of the scan; with findings, as they leave it (`spinelab.simulate.deformation.settle`).
        request: What is wanted.
        rng: Source of randomness; the same state gives the same deformity.
        findings: Added to the deformity as they are.

    Raises:
        InputError: The curve cannot be had over the vertebrae in view, or would fold the tissue; the
            message tells the largest angle possible.
    """
    movable = [name for name in column.levels if name != SACRUM]
    refusal = InputError("")
    for _ in range(DRAWS):
        shape = draw_shape(
            rng,
            levels=movable,
            cobb_deg=request.cobb_deg,
            apex=request.apex,
            side=request.side,
            pattern=request.pattern,
            severity=request.severity,
        )
        shape = _center(column, shape, request)
        try:
            share = _find_share(column, shape, request)
        except InputError as error:
            refusal = error
            continue
        return Deformity(
            coronal_deg=_named(movable, share * shape.coronal_deg - column.tilts_deg()[: len(movable), 0]),
            sagittal_deg=_named(movable, shape.sagittal_deg),
            axial_deg=_named(movable, share * shape.axial_deg),
            findings=tuple(findings),
        )
    raise refusal


def _center(column: SourceColumn, shape: CurveShape, request: CurveRequest) -> CurveShape:
    """Returns the shape without a lean of the whole column, its sagittal leans as what is to be added.

    With the sacrum in view the column stands on it and may lean as drawn.
    """
    own = column.tilts_deg()[: len(shape.levels), 1]
    sagittal = request.posture * (shape.sagittal_deg - shape.sagittal_deg.mean() - own + own.mean())
    lean = 0.0 if column.levels[-1] == SACRUM else float(shape.coronal_deg.mean())
    return replace(shape, coronal_deg=shape.coronal_deg - lean, sagittal_deg=sagittal)


def _named(names: Sequence[str], values: Array) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _find_share(column: SourceColumn, shape: CurveShape, request: CurveRequest) -> float:
    """Finds the amplitude at which the angle between the endplates is the one asked for, or drawn."""
    wanted = request.cobb_deg
    if request.severity is not None or wanted is None:
        return _check_bend(column, shape, 1.0)
    if wanted == 0:
        return 1.0

    def main_angle(share: float) -> float:
        curve = main_curve(curvature_of(column, _leans(column, shape, share)))
        return 0.0 if curve is None else curve.angle_deg

    shares = np.linspace(0.2, 2.0, 19)
    angles = [main_angle(share) for share in shares]
    above = next((i for i, angle in enumerate(angles) if angle >= wanted), None)
    if above is None:
        raise InputError(
            f"a curve of {wanted:g} degrees cannot be had over {shape.levels[0]} to {shape.levels[-1]}; "
            f"at most {max(angles):.0f} degrees"
        )
    low = shares[above - 1] if above else 0.0
    return _check_bend(column, shape, _bisect(main_angle, wanted, float(low), float(shares[above])))


def _bisect(angle_of: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Returns the smallest share known to give at least the angle wanted; angles may jump."""
    for _ in range(24):
        middle = (low + high) / 2
        if angle_of(middle) >= wanted:
            high = middle
        else:
            low = middle
    return high


def _check_bend(column: SourceColumn, shape: CurveShape, share: float) -> float:
    """Returns the share if no disc is bent too much by it."""
    leans = _leans(column, shape, share)
    bend = largest_bend_deg(pose_column(column, leans, np.zeros((len(leans), 3))))
    if bend > MOST_BEND_DEG:
        curve = main_curve(curvature_of(column, leans))
        angle = 0.0 if curve is None else curve.angle_deg
        raise InputError(
            f"a curve of {angle:.0f} degrees over {shape.levels[0]} to {shape.levels[-1]} bends one disc by "
            f"{bend:.0f} degrees and would fold the tissue; at most about {angle * MOST_BEND_DEG / bend:.0f} "
            "degrees"
        )
    return share


def _leans(column: SourceColumn, shape: CurveShape, share: float) -> Array:
    tilts = column.tilts_deg()
    count = len(shape.levels)
    tilts[:count, 0] = share * shape.coronal_deg
    tilts[:count, 1] += shape.sagittal_deg
    tilts[:count, 2] += share * shape.axial_deg
    return tilts


def curvature_of(column: SourceColumn, tilts_deg: Array) -> Curvature:
    """Returns the curves of a column brought to these leans, (n, 3) degrees."""
    motions = pose_column(column, tilts_deg, np.zeros((len(column.levels), 3)))
    return measure_curvature(column.moved(motions).endplates)


def main_curve(curvature: Curvature) -> Curve | None:
    """Returns the largest coronal curve."""
    return max(curvature.coronal, key=lambda curve: curve.angle_deg, default=None)


def reach_tilts(column: SourceColumn, deformity: Deformity) -> tuple[Array, Array]:
    """Returns the (n, 3) leans to be reached and the (n, 3) shifts in LPS mm.

    Levels a deformity does not name get angles between those of the nearest named ones; the sacrum keeps its
    own unless it is named.

    Raises:
        InputError: It names levels that are not in the mask.
    """
    tilts = column.tilts_deg()
    places = np.arange(len(column.levels))
    for axis, name in enumerate(_ANGLES):
        angles: Mapping[str, float] = getattr(deformity, name)
        if not angles:
            continue
        given = {column.index(key): value for key, value in angles.items()}
        if column.levels[-1] == SACRUM:
            given.setdefault(len(places) - 1, 0.0)
        known = sorted(given)
        tilts[:, axis] += np.interp(places, known, [given[i] for i in known])
    shift = np.zeros((len(places), 3))
    for key, local in deformity.shift_mm.items():
        place = column.index(key)
        shift[place] = np.asarray(local) @ column.axes[place]
    return tilts, shift


def request_to_dict(request: CurveRequest) -> dict[str, Any]:
    """Returns what was asked for, without what was left open."""
    return {key: value for key, value in asdict(request).items() if value not in (None, 0.0)}
