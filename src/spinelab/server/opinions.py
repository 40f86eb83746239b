"""What a reader says about one vertebra: a value, and the rules it keeps."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from spinelab.errors import InputError
from spinelab.spine import Heights

Shape = Literal["wedge", "biconcave", "crush"]
SHAPES: tuple[str, ...] = get_args(Shape)
#: The six points of morphometry, in the order they are kept.
POINTS = (
    "anterior top",
    "middle top",
    "posterior top",
    "anterior bottom",
    "middle bottom",
    "posterior bottom",
)
#: No point lies farther than this from the body's centre.
FARTHEST_MM = 80.0
#: Grades in the order the weighted kappa uses.
GRADES = (0, 1, 2, 3)
LocalPoint = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Opinion:
    """One reader's opinion on one vertebra, after Genant et al., J Bone Miner Res 1993;8:1137.

    Attributes:
        evaluable: False when the vertebra cannot be graded, None before anything was said.
        grade: 0 normal, 1 mild (20 to 25 %), 2 moderate (25 to 40 %), 3 severe; None before.
        shape: Of grades 1 to 3; None before.
        points_mm: Six endplate points as in `POINTS`, (posterior, superior) mm in the vertebra's own frame
            from its body centre; None where the reader moved none.
    """

    evaluable: bool | None = None
    grade: int | None = None
    shape: Shape | None = None
    points_mm: tuple[LocalPoint, ...] | None = None

    def __post_init__(self) -> None:
        if self.grade is not None and self.grade not in GRADES:
            raise InputError(f"a Genant grade is 0, 1, 2 or 3, found {self.grade!r}")
        if self.shape is not None and self.shape not in SHAPES:
            raise InputError(f"a shape is {', '.join(SHAPES)}, found {self.shape!r}")
        if self.grade is not None and self.evaluable is not True:
            raise InputError("a vertebra with a grade is evaluable; send evaluable: true")
        if self.shape is not None and not self.grade:
            raise InputError("only grades 1 to 3 have a shape; send the grade with it")
        if self.points_mm is not None:
            _check_points(self.points_mm)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to say: not evaluable, grade 0, or a grade with its shape."""
        return (
            self.evaluable is False or self.grade == 0 or (self.grade is not None and self.shape is not None)
        )

    @property
    def verdict(self) -> tuple[bool | None, int | None, Shape | None]:
        """What two readers are compared by."""
        return self.evaluable, self.grade, self.shape

    @property
    def heights_mm(self) -> Heights | None:
        """Heights between the reader's own points; None where none were moved."""
        return None if self.points_mm is None else heights_between(self.points_mm)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON data; `from_dict` reads it."""
        data = asdict(self)
        data["points_mm"] = None if self.points_mm is None else [list(p) for p in self.points_mm]
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Opinion":
        """Rebuilds an opinion.

        Raises:
            InputError: Values that make no opinion.
        """
        given = data.get("points_mm")
        points = None if given is None else tuple((float(p[0]), float(p[1])) for p in given)
        return cls(data.get("evaluable"), data.get("grade"), data.get("shape"), points)


def heights_between(points_mm: Sequence[LocalPoint]) -> Heights:
    """Returns the three heights between six points: the distance from each top point to its bottom one.

    Example:
        >>> heights_between([(-12, 8), (0, 9), (12, 10), (-12, -8), (0, -9), (12, -10)])
        Heights(anterior=16.0, middle=18.0, posterior=20.0)
    """
    tops, bottoms = points_mm[:3], points_mm[3:]
    gaps = [((t[0] - b[0]) ** 2 + (t[1] - b[1]) ** 2) ** 0.5 for t, b in zip(tops, bottoms, strict=True)]
    return Heights(*(round(gap, 2) for gap in gaps))


def agree(opinions: Sequence[Opinion]) -> Opinion | None:
    """Returns what all opinions say in common; None where they differ or one is not complete."""
    if not opinions or not all(opinion.complete for opinion in opinions):
        return None
    if len({opinion.verdict for opinion in opinions}) > 1:
        return None
    first = opinions[0]
    return Opinion(first.evaluable, first.grade, first.shape)


def _check_points(points: Sequence[LocalPoint]) -> None:
    if len(points) != len(POINTS):
        raise InputError(f"{len(POINTS)} points wanted ({', '.join(POINTS)}), found {len(points)}")
    if not all(abs(value) <= FARTHEST_MM for point in points for value in point):  # NaN fails too
        raise InputError(f"a point lies within {FARTHEST_MM:.0f} mm of the body's centre; found one farther")
    if any(top[1] <= bottom[1] for top, bottom in zip(points[:3], points[3:], strict=True)):
        raise InputError("a top point lies above its bottom point; found one below it")
