"""Degeneration of a motion segment: narrowed disc, slip, osteophytes, endplate sclerosis.

The disc named by a level is the one below it, as in the numbers of labels (disc below X = 100 + X).
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from scipy import ndimage

from spinelab.anatomy import level as find_level
from spinelab.errors import GeometryError, InputError
from spinelab.measurement.bodies import Body
from spinelab.measurement.frames import build_axes
from spinelab.measurement.sacrum import SacralEndplate
from spinelab.simulate.changes import Change, Site
from spinelab.simulate.radial_map import RimBulge
from spinelab.simulate.rigid import Array, RigidMotion
from spinelab.simulate.surroundings import plane_in, survey
from spinelab.simulate.tipping import tip_plane
from spinelab.volume import Modality

Endplate = Literal["superior", "inferior", "both"]
Side = Literal["around", "anterior", "left", "right"]
#: Largest loss of disc height that can be asked for, and what stays between the bodies at least.
MOST_PERCENT, LEAST_GAP_MM = 90.0, 0.5
#: Where bodies are judged to touch: within this radius (1 = rim), beside uncinate processes in the neck. The
#: rims themselves stand out, and give way to each other as they do when discs wear.
FACING, UNCUS = 0.75, 0.6
#: Bodies slip by at most this share of their depth or half width (Meyerding 1932: the end of grade II).
MOST_SLIP = 0.5
#: Largest osteophyte.
MOST_OSTEOPHYTE_MM = 12.0
#: Directions of osteophytes: middle, half width of what is full and of what fades, degrees to the left of
#: the front. The canal and the foramina stay free.
SECTORS: dict[Side, tuple[float, float, float]] = {
    "around": (0.0, 75.0, 112.0),
    "anterior": (0.0, 25.0, 70.0),
    "left": (65.0, 20.0, 47.0),
    "right": (-65.0, 20.0, 47.0),
}
#: How far osteophytes reach along the body and into the disc, as shares of height and gap.
ALONG_BODY, INTO_DISC, INTO_DISC_MM = 0.3, 0.45, 3.0
#: Share of the radius inside which an osteophyte moves nothing; half of what is carried whole at the rim.
CORE, CARRIED_MM = 0.6, 1.8
#: A surface this far from its plane is no endplate any more.
RIM_LEAVES_MM = 3.0
#: Deepest and densest sclerosis; above this density nothing is raised.
MOST_DEPTH_MM, MOST_HU, DENSEST_HU = 15.0, 800.0, 1000.0


@dataclass(frozen=True)
class DiscNarrowing:
    """A disc that has lost height; it keeps its shape in proportion.

    Attributes:
        level: Of the vertebra above the disc.
        loss_percent: More than 0 and at most 90.

    Raises:
        InputError: The loss is none of these.
        LabelError: There is no such level.
    """

    level: str
    loss_percent: float

    def __post_init__(self) -> None:
        find_level(self.level)
        _check_range("loss of disc height", self.loss_percent, MOST_PERCENT, "%")

    def fit(self, site: Site) -> Change:
        """Returns the change: the vertebra and all above it settle.

        Raises:
            GeometryError: An endplate at the disc is not in view.
            InputError: The bodies would touch (the largest possible loss is named).
        """
        around, below = survey(site), _plane_below(site)
        heights = around.evaluate(around.lower) - around.evaluate(below)
        between = np.abs(around.x_mm[:, None]) <= UNCUS * around.half_width_mm
        rim = around.inside & (around.radius <= FACING) & between
        free = (around.bottom_mm - around.below_mm - LEAST_GAP_MM)[rim] / np.maximum(heights[rim], 1e-6)
        most = 100 * float(np.clip(np.percentile(free, 5), 0, 1))
        if self.loss_percent > most:
            raise InputError(
                f"with {self.loss_percent:g} % less disc {self.level} would touch the body below; the "
                f"largest possible loss is {np.floor(most):.0f} %"
            )
        share = self.loss_percent / 100
        gap = around.lower - below
        settle = tip_plane(
            around.lower,
            -share * gap[1:],
            y_mm=around.back_mm,
            lift_mm=-share * float(gap[0] + gap[2] * around.back_mm),
        )
        before = float(heights[rim].mean())
        facts = {"disc_before_mm": round(before, 2), "disc_mm": round((1 - share) * before, 2)}
        return Change(self.level, settle=settle, findings=({**self.to_dict(), **facts},))

    def to_dict(self) -> dict[str, Any]:
        """Returns its parameters as JSON values."""
        return {"finding": "disc narrowing", **asdict(self)}


@dataclass(frozen=True)
class Slip:
    """A vertebra that has slipped on the one below (spondylolisthesis), whole, along the disc between.

    Attributes:
        level: Of the vertebra that slips.
        anterior_mm: Forwards; negative backwards. At most half of the body's depth (Meyerding grade II).
        left_mm: To the patient's left; negative to the right. At most a quarter of the body's width.

    Raises:
        InputError: Neither is a number other than 0.
        LabelError: There is no such level.
    """

    level: str
    anterior_mm: float
    left_mm: float = 0.0

    def __post_init__(self) -> None:
        find_level(self.level)
        size = float(np.hypot(self.anterior_mm, self.left_mm))
        if not 0 < size < np.inf:
            raise InputError(
                f"found a slip of {self.anterior_mm:g} mm forwards and {self.left_mm:g} mm to the left; give "
                "at least one other than 0"
            )

    def fit(self, site: Site) -> Change:
        """Returns the change: the vertebra and all above it move along the disc below it.

        Raises:
            GeometryError: An endplate at the disc is not in view.
            InputError: The slip is too large for the body.
        """
        body, below = site.body, _plane_below(site)
        for name, wanted, size in (
            ("forwards", self.anterior_mm, body.depth_mm),
            ("to the left", self.left_mm, body.half_width_mm),
        ):
            if abs(wanted) > MOST_SLIP * size:
                raise InputError(
                    f"found a slip of {wanted:g} mm {name}; {self.level} slips by at most "
                    f"{MOST_SLIP * size:.1f} mm"
                )
        up = np.array([-below[1], -below[2], 1.0])
        upper = _lower_plane(site)
        up = up / np.linalg.norm(up)
        own = np.array([-upper[1], -upper[2], 1.0])
        axes = build_axes(up + own / np.linalg.norm(own), body.grid.axes @ _posterior_below(site))
        shift = self.left_mm * axes[0] - self.anterior_mm * axes[1]
        return Change(self.level, settle=RigidMotion(np.eye(3), shift), findings=(self.to_dict(),))

    def to_dict(self) -> dict[str, Any]:
        """Returns its parameters as JSON values."""
        return {"finding": "slip", **asdict(self)}


@dataclass(frozen=True)
class Osteophytes:
    """Bony lips on the rims of the endplates; canal and foramina stay free.

    Attributes:
        level: Of the vertebra.
        size_mm: How far they stand out, more than 0 and at most 12.
        where: "around", "anterior", "left" or "right".
        endplate: "superior", "inferior" or "both".

    Raises:
        InputError: Size, side or endplate are none of these.
        LabelError: There is no such level.
    """

    level: str
    size_mm: float
    where: Side = "around"
    endplate: Endplate = "both"

    def __post_init__(self) -> None:
        find_level(self.level)
        _check_range("osteophyte", self.size_mm, MOST_OSTEOPHYTE_MM, "mm")
        if self.where not in SECTORS:
            raise InputError(f"found where {self.where!r}; choose around, anterior, left or right")
        _check_endplate(self.endplate)

    def fit(self, site: Site) -> Change:
        """Returns the change: the rims bulge outwards.

        Raises:
            GeometryError: An endplate is not in view.
        """
        around = survey(site)
        angles = np.radians(np.arange(-180.0, 180.0, 5.0))
        middle = (around.front_mm + around.back_mm) / 2
        rims = [
            _find_rim(site.body, surface, plane, angles, middle)
            for surface, plane in (
                (site.body.top_mm, around.upper),
                (site.body.bottom_mm, around.lower),
            )
        ]
        full, fading = np.radians(SECTORS[self.where][1:])
        away = np.abs((angles - np.radians(SECTORS[self.where][0]) + np.pi) % (2 * np.pi) - np.pi)
        lips = np.cos(np.pi / 2 * np.clip((away - full) / (fading - full), 0, 1)) ** 2 * self.size_mm
        grown = [np.where(self.endplate in (name, "both"), lips, 0.0) for name in ("superior", "inferior")]
        gaps = [around.above_mm - around.top_mm, around.bottom_mm - around.below_mm]
        into = [min(INTO_DISC * float(np.median(gap[around.inside])), INTO_DISC_MM) for gap in gaps]
        bulge = RimBulge(
            y_mm=middle,
            angles=angles,
            radius_mm=np.array([rim for rim, _ in rims]),
            height_mm=np.array([height for _, height in rims]),
            size_mm=np.array(grown),
            inward_mm=ALONG_BODY * around.height_mm,
            outward_mm=(into[0], into[1]),
            core=CORE,
            carried_mm=CARRIED_MM,
        )
        return Change(self.level, map=bulge, findings=(self.to_dict(),))

    def to_dict(self) -> dict[str, Any]:
        """Returns its parameters as JSON values."""
        return {"finding": "osteophytes", **asdict(self)}


@dataclass(frozen=True)
class EndplateSclerosis:
    """Bone next to the endplates made denser (CT; MR is left as it is).

    Attributes:
        level: Of the vertebra.
        depth_mm: How deep it reaches, more than 0 and at most 15; it fades smoothly.
        hu: By how much it is denser at the endplate, more than 0 and at most 800 HU.
        endplate: "superior", "inferior" or "both".

    Raises:
        InputError: Depth, density or endplate are none of these.
        LabelError: There is no such level.
    """

    level: str
    depth_mm: float
    hu: float
    endplate: Endplate = "both"

    def __post_init__(self) -> None:
        find_level(self.level)
        _check_range("depth of sclerosis", self.depth_mm, MOST_DEPTH_MM, "mm")
        _check_range("density of sclerosis", self.hu, MOST_HU, "HU")
        _check_endplate(self.endplate)

    def fit(self, site: Site) -> Change:
        """Returns the change: nothing moves, bone at the endplates is denser.

        Raises:
            GeometryError: An endplate is not in view.
        """
        around = survey(site)
        upper, lower = (self.endplate in (name, "both") for name in ("superior", "inferior"))
        bone = around.bone_share

        def shade(intensity: Array, source_mm: Array, modality: Modality) -> Array:
            if modality != "CT":
                return intensity
            top, bottom = (around.sample(plate, source_mm) for plate in (around.top_mm, around.bottom_mm))
            share = np.zeros(len(intensity))
            for deep, used in ((top - source_mm[:, 2], upper), (source_mm[:, 2] - bottom, lower)):
                faded = np.cos(np.pi / 2 * np.clip(deep / self.depth_mm, 0, 1)) ** 2
                share = np.maximum(share, used * np.minimum(faded, np.clip(1 + deep, 0, 1)))
            risen = intensity + share * self.hu * around.sample(bone, source_mm)
            return np.asarray(np.maximum(np.minimum(risen, DENSEST_HU), intensity))

        return Change(self.level, shades=(shade,), findings=(self.to_dict(),))

    def to_dict(self) -> dict[str, Any]:
        """Returns its parameters as JSON values."""
        return {"finding": "endplate sclerosis", **asdict(self)}


def _check_range(name: str, value: float, most: float, unit: str) -> None:
    if not 0 < value <= most:
        raise InputError(
            f"found a {name} of {value:g} {unit}; choose more than 0 and at most {most:g} {unit}"
        )


def _check_endplate(endplate: str) -> None:
    if endplate not in get_args(Endplate):
        raise InputError(f"found endplate {endplate!r}; choose superior, inferior or both")


def _plane_below(site: Site) -> Array:
    """Returns (3,) the superior endplate below the disc, in the site's frame."""
    if site.plane_below is None:
        raise GeometryError(
            f"the endplate below the disc of {site.level} is not in view; choose a disc between two bodies "
            "that are in the mask"
        )
    return plane_in(site, site.plane_below)


def _lower_plane(site: Site) -> Array:
    """Returns (3,) the inferior endplate of the site's body."""
    if site.body.inferior is None:
        raise GeometryError(
            f"the inferior endplate of {site.level} is not in view; choose a vertebra whose body is whole"
        )
    return plane_in(site, site.body.inferior)


def _posterior_below(site: Site) -> Array:
    """Returns (3,) the posterior direction of what lies below, LPS."""
    below = site.below
    assert below is not None
    return np.asarray(below.axes[1] if isinstance(below, SacralEndplate) else below.grid.axes[1])


def _find_rim(body: Body, surface: Array, plane: Array, angles: Array, y_mm: float) -> tuple[Array, Array]:
    """Returns (a,) distance and height of an endplate's rim in each direction from (0, y_mm).

    On each ray from well inside the rim is where the surface ends or leaves its plane by more than 3 mm.
    """
    grid = body.grid
    step = grid.x_mm[1] - grid.x_mm[0]
    flat = plane[0] + plane[1] * grid.x_mm[:, None] + plane[2] * grid.y_mm[None, :]
    on_plate = np.isfinite(surface) & (np.abs(surface - flat) <= RIM_LEAVES_MM)
    half_depth = body.depth_mm / 2
    shares = np.arange(0.6, 1.4, 0.02)
    across, along = np.sin(angles)[:, None], -np.cos(angles)[:, None]
    usual = 1 / np.hypot(across / body.half_width_mm, along / half_depth)
    rays = usual * shares
    i = np.clip(np.round((across * rays - grid.x_mm[0]) / step).astype(int), 0, len(grid.x_mm) - 1)
    j = np.clip(np.round((y_mm + along * rays - grid.y_mm[0]) / step).astype(int), 0, len(grid.y_mm) - 1)
    beyond = ~on_plate[i, j]
    ends = np.where(beyond.any(axis=1), shares[beyond.argmax(axis=1)], shares[-1])
    ends = ndimage.median_filter(ends, size=5, mode="wrap")
    radius = np.maximum(usual[:, 0] * ends, half_depth * 0.8)
    height = plane[0] + plane[1] * radius * across[:, 0] + plane[2] * (y_mm + radius * along[:, 0])
    return radius, height
