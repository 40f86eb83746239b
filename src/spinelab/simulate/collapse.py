"""Collapse of a vertebral body: wedge, biconcave or crush, by a chosen loss of height.

The three shapes and the heights they are judged by are those of Genant et al. (1993): wedge, the anterior
against the own posterior height; biconcave, the middle against the own posterior height; crush, the posterior
height against that of the neighbours, the others falling in proportion.

The endplates move along the body's axis, carried whole with the bone and cartilage next to them; the
cancellous bone between them is squeezed evenly and the disc beside them stretched. Canal and arch stay; only
of a crush, which lowers the posterior wall, the motion fades out in the first millimetres behind that wall.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from scipy.optimize import brentq

from spinelab.anatomy import level as find_level
from spinelab.errors import GeometryError, InputError
from spinelab.measurement.bodies import Body
from spinelab.measurement.heights import compare_heights, measure_heights
from spinelab.simulate.axial_map import AxialMap
from spinelab.simulate.changes import Change, Shade, Site
from spinelab.simulate.prediction import predict_heights
from spinelab.simulate.rigid import Array, RigidMotion
from spinelab.simulate.surroundings import Surroundings, survey
from spinelab.simulate.tipping import tip_plane
from spinelab.spine import Heights
from spinelab.volume import Modality

Shape = Literal["wedge", "biconcave", "crush"]
Endplate = Literal["superior", "inferior", "both"]
#: Which endplates give way where nothing else is asked for.
USUAL_ENDPLATE: dict[Shape, Endplate] = {"wedge": "superior", "biconcave": "both", "crush": "both"}
#: Largest loss that can be asked for.
MOST_PERCENT = 70.0
#: Bone next to an endplate that is carried whole, and disc beside it, as shares of height and gap.
CARRIED_BONE, CARRIED_DISC, CARRIED_MM = 0.08, 0.3, 1.5
#: Where in the disc nothing moves any more, as a share of its height.
FAR_END = 0.9
#: Smallest share of its height that cancellous bone may be squeezed to.
DENSEST = 0.12
#: Over which distance the motion fades out to the sides, ahead and (crush only) behind.
FADE_ASIDE_MM, FADE_AHEAD_MM, FADE_BEHIND_MM = 10.0, 12.0, 6.0
#: Radius, 1 on the rim, within which a biconcave endplate is dented; from where on the rim carries a disc.
DENT_RADIUS, RIM_RADIUS = 0.8, 0.9
#: How far from the middle, as a share of the depth, the rim carries what rests on it.
RESTS_FROM = 0.3
#: Between which shares of the depth a wedged endplate bends down, and levels out again in front.
HINGE, LEVEL = (0.7, 1.0), (-0.05, 0.25)
#: Radius within which cancellous bone may not be squeezed further than allowed; beyond, it gives what it can.
JUDGED_RADIUS = 0.8
#: Steps in which the amplitude is searched, so that heights stay readable on the way.
SEARCH_STEPS = 8
#: Over which distance from the squeezed bone its higher density fades.
DENSE_FADE_MM = 2.0
#: HU of marrow, which gives way; how many times denser bone becomes at most, and up to which HU.
MARROW_HU, MOST_DENSE, DENSEST_HU = 0.0, 4.0, 1000.0


@dataclass(frozen=True)
class Collapse:
    """A vertebral body that has lost height.

    Attributes:
        level: Of the vertebra.
        shape: "wedge", "biconcave" or "crush".
        loss_percent: The loss it shall have, more than 0 and at most 70: a wedge anterior against posterior,
            biconcave middle against posterior, crush posterior against the neighbours (where none is in view,
            against itself before).
        endplate: "superior", "inferior" or "both"; None for the usual one of the shape.

    Raises:
        InputError: Shape, loss or endplate are none of these.
        LabelError: There is no such level.
    """

    level: str
    shape: Shape
    loss_percent: float
    endplate: Endplate | None = None

    def __post_init__(self) -> None:
        find_level(self.level)
        if self.shape not in get_args(Shape):
            raise InputError(f"found shape {self.shape!r}; choose wedge, biconcave or crush")
        if self.endplate is not None and self.endplate not in get_args(Endplate):
            raise InputError(f"found endplate {self.endplate!r}; choose superior, inferior or both")
        if not 0 < self.loss_percent <= MOST_PERCENT:
            raise InputError(
                f"found a height loss of {self.loss_percent:g} %; choose more than 0 and at most "
                f"{MOST_PERCENT:g} %"
            )

    def fit(self, site: Site) -> Change:
        """Returns the change that leaves the vertebra with exactly this loss.

        Raises:
            GeometryError: An endplate or a height it is judged by is not in view.
            InputError: The body has lost more already, or would fold (the largest possible loss is named).
        """
        around = survey(site)
        upper, lower = self._profiles(around)

        def make(amplitude_mm: float) -> Change:
            return _make(self, around, amplitude_mm * upper, amplitude_mm * lower, site.cancellous_hu)

        column = _measure_column(site)

        def lose(amplitude_mm: float) -> float:
            return self._loss_percent(predict_heights(site.body, make(amplitude_mm)), column)

        present, largest = lose(0.0), _largest_amplitude(around, upper + lower)
        if present > self.loss_percent:
            raise InputError(
                f"{self.level} as it is has lost {present:.0f} % as a {self.shape}, asked for "
                f"{self.loss_percent:g} %; ask for more, or choose another vertebra"
            )
        low = possible = 0.0
        for high in np.linspace(0, largest, SEARCH_STEPS + 1)[1:]:
            possible = lose(float(high))
            if possible >= self.loss_percent:
                break
            low = float(high)
        else:
            raise InputError(
                f"a {self.shape} of {self.loss_percent:g} % would fold {self.level}; the largest possible is "
                f"{np.floor(possible):.0f} %"
            )
        amplitude = brentq(lambda a: lose(a) - self.loss_percent, low, float(high), xtol=1e-4)
        return make(float(amplitude))

    def _profiles(self, around: Surroundings) -> tuple[Array, Array]:
        """Returns (x, y) how much the superior and the inferior endplate give way, at most about 1 in all."""
        profile = _PROFILES[self.shape](around)
        endplate = self.endplate or USUAL_ENDPLATE[self.shape]
        share = {"superior": 1.0, "both": 0.5, "inferior": 0.0}[endplate]
        return share * profile, (1 - share) * profile

    def _loss_percent(self, heights: Heights, column: list[Heights | None]) -> float:
        """Returns the loss the shape is judged by, were these the heights of the middle one of a column."""
        loss = compare_heights([*column[:2], heights, *column[3:]])[2]
        found = None
        if loss is not None:
            found = {
                "wedge": loss.anterior_percent,
                "biconcave": loss.middle_percent,
                "crush": loss.crush_percent,
            }[self.shape]
        before = None if column[2] is None else column[2].posterior
        if self.shape == "crush" and found is None and heights.posterior and before:
            found = 100 * (1 - heights.posterior / before)
        if found is None:
            raise GeometryError(
                f"the heights of {self.level} that a {self.shape} is judged by cannot be read; choose a "
                "vertebra whose body is whole"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Returns its parameters as JSON values."""
        return {"finding": "collapse", **asdict(self)}


def _measure_column(site: Site) -> list[Heights | None]:
    """Returns the heights of a vertebra, the third, and of two above and below it."""
    below = site.below if isinstance(site.below, Body) else None
    bodies = (site.farther[0], site.above, site.body, below, site.farther[1])
    return [None if body is None else measure_heights(body) for body in bodies]


def _fade(distance: Array, length_mm: float) -> Array:
    """Returns 1 up to distance 0, 0 from `length_mm` on, smooth between."""
    return np.asarray(np.cos(np.pi / 2 * np.clip(distance / length_mm, 0, 1)) ** 2)


def _fade_out(around: Surroundings) -> Array:
    """Returns (x, y) 1 over the body, 0 well to its sides and ahead of it."""
    aside = _fade(np.abs(around.x_mm) - around.half_width_mm - 2, FADE_ASIDE_MM)
    ahead = _fade(around.front_mm - 3 - around.y_mm, FADE_AHEAD_MM)
    return np.asarray(aside[:, None] * ahead[None, :])


def _wedge(around: Surroundings) -> Array:
    """Endplates tip: bent smoothly ahead of the posterior wall, which stays, and levelling out in front."""
    share = around.depth_share
    tipped = sum(HINGE) / 2 - share
    behind = np.clip(HINGE[1] - share, 0, None) ** 2 / (2 * (HINGE[1] - HINGE[0]))
    excess = np.clip(LEVEL[1] - np.maximum(share, LEVEL[0]), 0, None)
    ahead = sum(HINGE) / 2 - np.maximum(share, LEVEL[0]) - excess**2 / (2 * (LEVEL[1] - LEVEL[0]))
    profile = np.select([share > HINGE[0], share < LEVEL[1]], [behind, ahead], tipped)
    return np.asarray(_fade_out(around) * profile)


def _dent(around: Surroundings) -> Array:
    """Endplates give way in the middle, their rims stay."""
    return np.asarray(np.clip(1 - (around.radius / DENT_RADIUS) ** 3, 0, None) ** 2)


def _crush(around: Surroundings) -> Array:
    """All heights fall in proportion."""
    height = around.evaluate(around.upper) - around.evaluate(around.lower)
    behind = _fade(around.y_mm - around.back_mm - 1, FADE_BEHIND_MM)
    return np.asarray(_fade_out(around) * behind * np.clip(height / around.height_mm, 0.3, 1.7))


_PROFILES: dict[Shape, Callable[[Surroundings], Array]] = {
    "wedge": _wedge,
    "biconcave": _dent,
    "crush": _crush,
}


def _carried(around: Surroundings) -> tuple[Array, Array, Array]:
    """Returns (x, y) what is carried with an endplate: bone, disc above, disc below, mm."""
    bone = np.minimum(CARRIED_BONE * (around.top_mm - around.bottom_mm), 1.5 * CARRIED_MM)
    above, below = around.above_mm - around.top_mm, around.bottom_mm - around.below_mm
    return bone, np.minimum(CARRIED_DISC * above, CARRIED_MM), np.minimum(CARRIED_DISC * below, CARRIED_MM)


def _largest_amplitude(around: Surroundings, profile: Array) -> float:
    """Returns the amplitude in mm at which the cancellous bone of some column is as dense as it may be."""
    bone, _, _ = _carried(around)
    room = (1 - DENSEST) * (around.top_mm - around.bottom_mm - 2 * bone)
    use = around.inside & (around.radius < JUDGED_RADIUS) & (profile > 0.01)
    return float((room[use] / profile[use]).min())


def _make(
    finding: Collapse, around: Surroundings, sink: Array, rise: Array, cancellous_hu: float | None
) -> Change:
    """Returns the change in which the endplates sink and rise by (x, y) mm."""
    top, bottom = around.top_mm, around.bottom_mm
    bone, disc_above, disc_below = _carried(around)
    room = (1 - DENSEST) * (top - bottom - 2 * bone)
    fits = np.minimum(1, room / np.maximum(sink + rise, 1e-9))
    sink, rise = sink * fits, rise * fits
    edge = np.ones_like(top)
    edge[[0, -1]] = edge[:, [0, -1]] = 0
    source = [
        bottom - FAR_END * (bottom - around.below_mm),
        bottom - disc_below,
        bottom + bone,
        top - bone,
        top + disc_above,
        top + FAR_END * (around.above_mm - top),
    ]
    moves = [0 * top, rise, rise, -sink, -sink, 0 * top]
    knots = np.stack(source, axis=-1)
    squeeze = AxialMap(around.x_mm, around.y_mm, knots, knots + edge[..., None] * np.stack(moves, axis=-1))
    return Change(
        finding.level,
        squeeze,
        follow=_follow_rim(around, around.upper, -sink),
        settle=_follow_rim(around, around.lower, rise).inverse(),
        shades=() if cancellous_hu is None else (_densify(around, squeeze, cancellous_hu),),
        findings=(finding.to_dict(),),
    )


def _follow_rim(around: Surroundings, plane: Array, moved: Array) -> RigidMotion:
    """Returns the motion of what rests on the rim of an endplate that moves by (x, y) mm along z.

    It rests in front and behind: between them an endplate that tips falls faster than its ends lie apart.
    """
    ends = np.abs(around.depth_share - 0.5) >= RESTS_FROM
    rim = (around.radius >= RIM_RADIUS) & (around.radius <= 1) & ends[None, :]
    i, j = np.nonzero(rim)
    design = np.stack([np.ones(len(i)), around.x_mm[i], around.y_mm[j]], axis=1)
    tilt = np.asarray(np.linalg.lstsq(design, moved[rim], rcond=None)[0], dtype=np.float64)
    behind = np.clip(tilt[0] + tilt[2] * around.back_mm, moved[rim].min(), moved[rim].max())
    return tip_plane(plane, tilt[1:], y_mm=around.back_mm, lift_mm=float(behind))


def _densify(around: Surroundings, squeeze: AxialMap, cancellous_hu: float) -> Shade:
    """Returns the shade that keeps the mass of bone where it is squeezed (CT only).

    What the bone holds above marrow is raised as the volume falls; the texture of the scan, which is mostly
    noise, is left as it is.
    """
    knots, moved = squeeze.source_mm[..., 2:4], squeeze.changed_mm[..., 2:4]
    ratio = (np.diff(moved, axis=2) / np.diff(knots, axis=2))[..., 0]
    mineral = max(cancellous_hu - MARROW_HU, 0.0)
    rise = around.bone_share * (1 / np.clip(ratio, 1 / MOST_DENSE, 1) - 1) * mineral

    def shade(intensity: Array, source_mm: Array, modality: Modality) -> Array:
        if modality != "CT":
            return intensity
        lattices = (rise, knots[..., 0], knots[..., 1])
        most, low, high = (around.sample(lattice, source_mm) for lattice in lattices)
        beyond = np.maximum(np.maximum(low - source_mm[:, 2], source_mm[:, 2] - high), 0)
        risen = intensity + most * np.clip(1 - beyond / DENSE_FADE_MM, 0, 1)
        return np.asarray(np.maximum(np.minimum(risen, DENSEST_HU), intensity))

    return shade
