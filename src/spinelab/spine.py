"""The answer everything else speaks about: vertebrae in order, how they are named, how they curve.

Points are LPS mm. JSON goes through `Spine.to_dict` and `Spine.from_dict`; its published schema is
``spinelab/spine.schema.json``. Unknown values are None, never a guess.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spinelab.anatomy import ORDER, level
from spinelab.errors import InputError

SCHEMA_VERSION = "1.3"
#: Flag of a body whose trabecular bone is sparse; apart from any fracture.
LOW_DENSITY_FLAG = "low density"
Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """A vertebra's own axes: orthonormal, right-handed unit vectors in LPS.

    Attributes:
        left: Towards the patient's left.
        posterior: Towards the back.
        superior: Along the body's axis towards the head, normal to the mean endplate.
    """

    left: Point
    posterior: Point
    superior: Point

    def matrix(self) -> NDArray[np.float64]:
        """Returns the (3, 3) rotation whose rows are left, posterior, superior.

        ``matrix() @ (p - center)`` gives local millimetres (left, posterior, superior).
        """
        return np.array([self.left, self.posterior, self.superior], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Heights:
    """Body heights in mm in one sagittal plane of the vertebra's own frame; None where unreadable."""

    anterior: float | None
    middle: float | None
    posterior: float | None


@dataclass(frozen=True, slots=True)
class Density:
    """CT density of the trabecular bone of the body, HU as scanned (not a BMD)."""

    mean_hu: float
    median_hu: float
    sd_hu: float
    volume_mm3: float


@dataclass(frozen=True, slots=True)
class HeightLoss:
    """Relative loss of body height, in per cent (0 = none); None where no reference is in view.

    Attributes:
        anterior_percent: anterior against own posterior height.
        middle_percent: middle against own posterior height.
        crush_percent: posterior height against that of the neighbours.
        neighbours_percent: the largest of anterior, middle, posterior against the mean of the same height of
            the neighbours above and below.
    """

    anterior_percent: float | None
    middle_percent: float | None
    crush_percent: float | None
    neighbours_percent: float | None


@dataclass(frozen=True, slots=True)
class Slip:
    """Displacement of the body above on this one along the disc between, in mm (anterior, left positive)."""

    above: str
    anterior_mm: float
    left_mm: float


@dataclass(frozen=True, slots=True)
class EndplateShape:
    """What the shape of a body's ends tells beside its heights, in mm; None where it cannot be read.

    Attributes:
        superior_depression_mm: How deep the upper endplate falls focally below its own smooth surface.
        inferior_depression_mm: The same of the lower endplate, into the body.
        lip_mm: How far the rims reach ahead of the anterior wall at mid-height; osteophytes make it large.
    """

    superior_depression_mm: float | None
    inferior_depression_mm: float | None
    lip_mm: float | None


@dataclass(frozen=True, slots=True)
class FractureReading:
    """What one reader alone says of a body.

    Attributes:
        probability: Probability (0 to 1) that the true height loss is at least 20 %.
        height_loss_percent: Of the height that has lost most.
        interval_percent: 90 % interval of it.
        shape: "wedge", "biconcave" or "crush", as it looks; None below 20 %.
    """

    probability: float
    height_loss_percent: float
    interval_percent: tuple[float, float]
    shape: Literal["wedge", "biconcave", "crush"] | None = None


@dataclass(frozen=True, slots=True)
class Fracture:
    """Whether a vertebral body has lost height, by how much and against what.

    Attributes:
        evaluable: False where it cannot be graded; then `reasons` says why and the rest is None.
        probability: Probability (0 to 1) that the true height loss is at least 20 %.
        genant_grade: 0 below 20 %, 1 from 20 %, 2 from 25 %, 3 from 40 % (Genant et al. 1993).
        shape: "wedge", "biconcave" or "crush"; None for grade 0.
        height_loss_percent: Of the height that has lost most, against what was expected.
        interval_percent: 90 % interval of it.
        reference: What was expected from: "own posterior height", "neighbours" or "expected profile".
        reasons: Of caution; where not evaluable, why.
        geometry: What the heights of the outline alone say; None where there is no second reader.
        network: What the fracture network alone says; None where it was not asked. Where both are there, what
            stands above is both together.
    """

    evaluable: bool
    probability: float | None = None
    genant_grade: Literal[0, 1, 2, 3] | None = None
    shape: Literal["wedge", "biconcave", "crush"] | None = None
    height_loss_percent: float | None = None
    interval_percent: tuple[float, float] | None = None
    reference: str | None = None
    reasons: tuple[str, ...] = ()
    geometry: FractureReading | None = None
    network: FractureReading | None = None


@dataclass(frozen=True, slots=True)
class Corners:
    """Where the endplates end in the body's mid-sagittal plane, LPS mm.

    Attributes:
        superior_anterior: Front end of the upper endplate; the others likewise.
        sd_mm: How far each may be off (standard deviation along each axis), in the order of the fields.
    """

    superior_anterior: Point
    superior_posterior: Point
    inferior_anterior: Point
    inferior_posterior: Point
    sd_mm: tuple[float, float, float, float]

    def points(self) -> NDArray[np.float64]:
        """Returns the (4, 3) corners in the order of the fields."""
        return np.array(
            [self.superior_anterior, self.superior_posterior, self.inferior_anterior, self.inferior_posterior]
        )


@dataclass(frozen=True, slots=True)
class Disc:
    """The disc between two neighbours.

    Attributes:
        above: Level above it.
        below: Level below it; "S" for the sacrum.
        center_mm: LPS mm.
        sd_mm: How far that may be off (standard deviation along each axis).
        anterior_mm: Height at its front, between the corners about it; None where one is not known.
        posterior_mm: Height at its back.
        height_sd_mm: How far these heights may be off (standard deviation).
        angle_deg: Between the endplates about it, positive where it opens to the front.
    """

    above: str
    below: str
    center_mm: Point
    sd_mm: float
    anterior_mm: float | None = None
    posterior_mm: float | None = None
    height_sd_mm: float | None = None
    angle_deg: float | None = None


@dataclass(frozen=True, slots=True)
class Vertebra:
    """One vertebra as found.

    Attributes:
        level: "C1" ... "L6", "T13".
        center_mm: Centre of the vertebral body, LPS mm.
        probability: Probability that this vertebra bears this name (0 to 1).
        detection: Score that there is a vertebra here at all (0 to 1).
        complete: False when the field of view cuts it.
        frame: Its own axes; None before they are known.
        heights_mm: Mid-sagittal heights; `heights_left_mm` and `heights_right_mm` the planes half-way
            to the left and right edge of the body.
        slice_mm: Distance of the slices along the body's axis.
        endplates: Depressions and lips.
        fracture: Its grade; None before grading.
        center_sd_mm: How far the centre may be off (standard deviation along each axis); landmarks in MR.
        corners: Ends of its endplates; landmarks in MR.
        flags: Short reasons for caution, e.g. "cut", "metal", "thick slices".
    """

    level: str
    center_mm: Point
    probability: float
    complete: bool = True
    detection: float | None = None
    frame: Frame | None = None
    volume_mm3: float | None = None
    heights_mm: Heights | None = None
    heights_left_mm: Heights | None = None
    heights_right_mm: Heights | None = None
    height_loss: HeightLoss | None = None
    density: Density | None = None
    slip: Slip | None = None
    slice_mm: float | None = None
    endplates: EndplateShape | None = None
    fracture: Fracture | None = None
    center_sd_mm: float | None = None
    corners: Corners | None = None
    flags: tuple[str, ...] = ()

    @property
    def label(self) -> int:
        """VerSe number of the level."""
        return level(self.level).label


@dataclass(frozen=True, slots=True)
class Numbering:
    """How sure the count is.

    Attributes:
        anchors: What fixed the count: any of "C2", "first rib", "last rib", "sacrum".
        probability: Probability that every name is right.
        runner_up: Levels of the second best numbering from the top down (usually shifted by one); empty if
            there is none.
        runner_up_probability: Its probability.
        anchored: False when nothing in view fixes the count; then the names are a guess and say so.
        variants: Numbering variants chosen, any of "T13", "T11 last", "L6", "L4 last".
        statement: One sentence for the reader.
    """

    anchors: tuple[str, ...]
    probability: float
    runner_up: tuple[str, ...]
    runner_up_probability: float
    anchored: bool
    variants: tuple[str, ...] = ()
    statement: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve of the column between two end vertebrae.

    Attributes:
        plane: "coronal" or "sagittal".
        upper: Upper end vertebra; the angle is taken at its superior endplate.
        lower: Lower end vertebra; at its inferior endplate.
        apex: Vertebra farthest from the line between the ends.
        angle_deg: Cobb angle, positive.
        convex: Side the curve bulges to: "left" or "right" (coronal), "posterior" (kyphosis) or
            "anterior" (lordosis).
    """

    plane: Literal["coronal", "sagittal"]
    upper: str
    lower: str
    apex: str
    angle_deg: float
    convex: Literal["left", "right", "posterior", "anterior"]


@dataclass(frozen=True, slots=True)
class Curvature:
    """Curves of the column.

    Attributes:
        coronal: Every coronal curve of at least 5 degrees, from the top down; none is looked for where only
            corners of the mid-sagittal plane are known (`Vertebra.corners`).
        kyphosis: Thoracic kyphosis between T4 and T12, or what of it is visible (then the ends differ).
        lordosis: Lumbar lordosis between L1 and S1, or what of it is visible.
    """

    coronal: tuple[Curve, ...] = ()
    kyphosis: Curve | None = None
    lordosis: Curve | None = None


@dataclass(frozen=True, slots=True)
class Spine:
    """Everything found in one scan.

    Attributes:
        vertebrae: From the head down.
        numbering: How the names were fixed and how sure they are; None when nothing was found.
        curvature: None before measuring.
        warnings: Sentences for the reader.
        manifest: Versions, weights hash, options, seconds a stage.
        discs: Between neighbours, from the head down; landmarks in MR.
    """

    vertebrae: tuple[Vertebra, ...]
    numbering: Numbering | None = None
    curvature: Curvature | None = None
    warnings: tuple[str, ...] = ()
    manifest: dict[str, Any] = field(default_factory=dict)
    discs: tuple[Disc, ...] = ()

    def __post_init__(self) -> None:
        order = [ORDER[level(v.level).name] for v in self.vertebrae]
        if order != sorted(set(order)):
            names = [v.level for v in self.vertebrae]
            raise InputError(f"vertebrae must run from the head down, each level once: {names}")

    def __getitem__(self, name: str) -> Vertebra:
        """Returns the vertebra of a level name; KeyError if it is not there."""
        for vertebra in self.vertebrae:
            if vertebra.level == name:
                return vertebra
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(vertebra.level == name for vertebra in self.vertebrae)

    @property
    def levels(self) -> tuple[str, ...]:
        """Level names from the head down."""
        return tuple(vertebra.level for vertebra in self.vertebrae)

    @property
    def centers_mm(self) -> NDArray[np.float64]:
        """(n, 3) body centres, LPS mm, from the head down."""
        return np.array([v.center_mm for v in self.vertebrae], dtype=np.float64).reshape(-1, 3)

    def with_warnings(self, *sentences: str) -> "Spine":
        """Returns the spine with more warnings, each kept once."""
        return replace(self, warnings=tuple(dict.fromkeys((*self.warnings, *sentences))))

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON data following ``spine.schema.json``."""
        data = asdict(self)
        for entry, vertebra in zip(data["vertebrae"], self.vertebrae, strict=True):
            entry["label"] = vertebra.label
        return {"schema_version": SCHEMA_VERSION, "frame": "LPS mm", **data}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Spine":
        """Rebuilds a spine from `to_dict` output.

        Raises:
            InputError: Not such data, or written by a newer major version.
        """
        version = str(data.get("schema_version", "none"))
        if version.split(".", maxsplit=1)[0] != SCHEMA_VERSION.split(".", maxsplit=1)[0]:
            raise InputError(f"spine JSON of schema {version}; this version reads {SCHEMA_VERSION}")
        try:
            return cls(
                vertebrae=tuple(_vertebra(entry) for entry in data["vertebrae"]),
                numbering=_tuples(Numbering, data.get("numbering")),
                curvature=_curvature(data.get("curvature")),
                discs=tuple(_tuples(Disc, disc) for disc in data.get("discs", ())),
                warnings=tuple(data.get("warnings", ())),
                manifest=dict(data.get("manifest", {})),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"not a spinelab spine JSON: {error}") from error


def _tuples(kind: type, data: dict[str, Any] | None) -> Any:
    """Builds a flat dataclass from JSON data, lists becoming tuples; None stays None."""
    if data is None:
        return None
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})


def _vertebra(data: dict[str, Any]) -> Vertebra:
    fields = {key: value for key, value in data.items() if key != "label"}
    parts: dict[str, type] = {
        "frame": Frame,
        "heights_mm": Heights,
        "heights_left_mm": Heights,
        "heights_right_mm": Heights,
        "height_loss": HeightLoss,
        "density": Density,
        "slip": Slip,
        "endplates": EndplateShape,
        "corners": Corners,
    }
    for key, kind in parts.items():
        fields[key] = _tuples(kind, fields.get(key))
    fields["fracture"] = _fracture(fields.get("fracture"))
    vertebra: Vertebra = _tuples(Vertebra, fields)
    return vertebra


def _fracture(data: dict[str, Any] | None) -> Fracture | None:
    if data is None:
        return None
    readers = {key: _tuples(FractureReading, data.get(key)) for key in ("geometry", "network")}
    found: Fracture = _tuples(Fracture, {**data, **readers})
    return found


def _curvature(data: dict[str, Any] | None) -> Curvature | None:
    if data is None:
        return None
    return Curvature(
        coronal=tuple(_tuples(Curve, curve) for curve in data["coronal"]),
        kyphosis=_tuples(Curve, data["kyphosis"]),
        lordosis=_tuples(Curve, data["lordosis"]),
    )
