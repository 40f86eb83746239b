"""A synthetic CT of a spine whose angles, heights and labels are known exactly.

Each vertebra is drawn from formulas in its own frame: a super-elliptic body with a cortical shell and
trabecular core, pedicles, a ring around the canal, articular, transverse and spinous processes. It is then
sampled on any grid: every spacing, axis order, obliqueness, gantry tilt and field of view.

    phantom = make_phantom(levels=("L1", "L2", "L3"), coronal_deg={"L1": -10.0, "L3": 10.0})
    phantom.image, phantom.mask, phantom.spine, phantom.truth["L2"].heights_mm
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinelab.anatomy import ORDER, level
from spinelab.spine import Frame, Heights, Spine, Vertebra
from spinelab.volume import Geometry, Image, Mask

Array = NDArray[np.float64]
SOFT_HU, TRABECULAR_HU, CORTICAL_HU, AIR_HU, METAL_HU = 40, 180, 500, -1000, 3071
_ANCHORS = ("C3", "C7", "T1", "T6", "T12", "L1", "L5", "S")
_SIZES = {  # mm at the anchor levels, interpolated between them
    "width": (17.0, 22.0, 27.0, 29.0, 41.0, 43.0, 50.0, 50.0),
    "depth": (15.0, 16.0, 17.0, 23.0, 30.0, 31.0, 34.0, 33.0),
    "height": (13.0, 14.0, 16.0, 19.5, 25.0, 26.5, 28.0, 28.0),
    "disc": (5.0, 5.0, 4.5, 4.5, 6.5, 8.0, 10.0, 10.0),
}
#: Where heights are defined, as fractions of the body's depth from its anterior edge.
ANTERIOR_BAND, MIDDLE_BAND, POSTERIOR_BAND = (0.10, 0.25), (0.45, 0.55), (0.75, 0.90)


@dataclass(frozen=True)
class Collapse:
    """Factors on the normal height at the anterior, middle and posterior third (1 = normal)."""

    anterior: float = 1.0
    middle: float = 1.0
    posterior: float = 1.0


@dataclass(frozen=True)
class PhantomSpec:
    """What to build.

    Attributes:
        levels: Neighbouring levels from the head down; "S" draws the first sacral body.
        spacing_mm: Voxel size along the left-right, front-back and head-foot axis of the grid.
        codes: Axis codes of the grid.
        oblique_deg: Turn of the grid about the patient's x, y, z axis.
        gantry_deg: Shear of the slices, as by a tilted gantry.
        coronal_deg: Per level, lean of the body axis to the patient's left (levels between are interpolated).
        sagittal_deg: Per level, lean of the body axis to the back.
        axial_deg: Per level, turn about the body axis, positive moves the front to the left.
        collapse: Per level.
        slip_mm: Per level, (anterior, left) shift of the body above and all above it on this one.
        cut_mm: How much of the first body's top and of the last body's bottom is out of the field of view;
            negative leaves so much room beyond them.
        posterior_cut_mm: How much of the longest spinous process is out of the field of view at the back.
        posterior_elements: Whether the mask and image have pedicles, arches and processes.
        aorta_hu: Density of the aorta ahead of the column (40 = no contrast medium).
        metal: Levels with a screw through the body.
        noise_hu: Standard deviation of Gaussian noise.
        seed: Of the noise.
    """

    levels: tuple[str, ...] = ("T12", "L1", "L2", "L3")
    spacing_mm: tuple[float, float, float] = (1.5, 1.5, 1.5)
    codes: str = "LPS"
    oblique_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gantry_deg: float = 0.0
    coronal_deg: Mapping[str, float] = field(default_factory=dict)
    sagittal_deg: Mapping[str, float] = field(default_factory=dict)
    axial_deg: Mapping[str, float] = field(default_factory=dict)
    collapse: Mapping[str, Collapse] = field(default_factory=dict)
    slip_mm: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    cut_mm: tuple[float, float] = (-15.0, -15.0)
    posterior_cut_mm: float = -10.0
    posterior_elements: bool = True
    aorta_hu: float = SOFT_HU
    metal: tuple[str, ...] = ()
    noise_hu: float = 10.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Body:
    """The truth about one vertebra: all that the formulas need.

    Attributes:
        center_mm: (3,) body centre, LPS mm.
        axes: (3, 3) rows left, posterior, superior in LPS.
        width_mm, depth_mm, height_mm: Of the body before collapse.
    """

    name: str
    center_mm: Array
    axes: Array
    width_mm: float
    depth_mm: float
    height_mm: float
    collapse: Collapse

    @property
    def frame(self) -> Frame:
        """Its axes as spinelab writes them."""
        left, posterior, superior = (tuple(float(v) for v in row) for row in self.axes)
        return Frame(left, posterior, superior)  # type: ignore[arg-type]

    @property
    def heights_mm(self) -> Heights:
        """Mid-sagittal heights."""
        return self.heights_at(0.0)

    def heights_at(self, left_mm: float) -> Heights:
        """Heights in the sagittal plane `left_mm` to the left of the middle."""
        half = self._half_depth(np.array(left_mm)) * 2
        bands = (ANTERIOR_BAND, MIDDLE_BAND, POSTERIOR_BAND)
        values = []
        for low, high in bands:
            y = half * (np.linspace(low, high, 101) - 0.5)
            values.append(float(self.thickness(np.full_like(y, left_mm), y).mean()))
        return Heights(*values)

    def endplate_normal(self, *, superior: bool) -> Array:
        """(3,) unit normal of an endplate, pointing to the head, LPS."""
        slope = (self.collapse.posterior - self.collapse.anterior) * self.height_mm / (0.65 * self.depth_mm)
        tilt = -slope / 2 if superior else slope / 2
        normal = self.axes[2] + tilt * self.axes[1]
        return np.asarray(normal / np.linalg.norm(normal))

    def corner(self, *, superior: bool) -> Array:
        """(3,) posterior corner of an endplate in the midline, LPS mm."""
        y = self.depth_mm / 2
        z = float(self.thickness(np.array(0.0), np.array(y))) / 2
        return np.asarray(self.center_mm + np.array([0, y, z if superior else -z]) @ self.axes)

    def thickness(self, x: Array, y: Array) -> Array:
        """Body height at local positions in mm, collapse included."""
        u = y / self.depth_mm + 0.5
        ends = self.collapse
        base = ends.anterior + (u - 0.175) / 0.65 * (ends.posterior - ends.anterior)
        dip = (ends.anterior + ends.posterior) / 2 - ends.middle
        inward = np.clip(np.abs(u - 0.5) / 0.25, 0, 1)
        aside = np.clip((np.abs(x) / (self.width_mm / 2) - 0.6) / 0.3, 0, 1)
        bump = np.cos(np.pi / 2 * inward) ** 2 * np.cos(np.pi / 2 * aside) ** 2
        return np.asarray(self.height_mm * (base - dip * bump))

    def _half_depth(self, x: Array) -> Array:
        side = np.clip(1 - np.abs(2 * x / self.width_mm) ** 2.5, 0, None)
        return np.asarray(self.depth_mm / 2 * side**0.4)

    def body_depth(self, x: Array, y: Array, z: Array) -> Array:
        """Roughly how far a local point lies inside the body's surface in mm; negative outside."""
        radius = (np.abs(2 * x / self.width_mm) ** 2.5 + np.abs(2 * y / self.depth_mm) ** 2.5) ** 0.4
        wall = (1 - radius) * min(self.width_mm, self.depth_mm) / 2
        return np.minimum(wall, self.thickness(x, y) / 2 - np.abs(z))

    def in_arch(self, x: Array, y: Array, z: Array) -> NDArray[np.bool_]:
        """Whether local points lie in pedicles, arch or processes."""
        if self.name == "S":
            return np.zeros(np.shape(x + y + z), dtype=bool)
        scale, high = self.width_mm / 40, self.height_mm
        back = self.depth_mm / 2
        canal_x, canal_y = 11 * scale**0.5, 8.5 * scale**0.3
        middle = back + canal_y
        ring = ((x / canal_x) ** 2 + ((y - middle) / canal_y) ** 2) > 1
        aside = np.abs(x)
        pedicle = (np.abs(aside - canal_x - 3 * scale) < 4 * scale) & (y > back - 3) & (y < middle)
        pedicle &= np.abs(z - 0.2 * high) < 0.22 * high
        lamina = ((x / (canal_x + 5)) ** 2 + ((y - middle) / (canal_y + 6)) ** 2 < 1) & (y > middle - 2)
        lamina &= np.abs(z + 0.1 * high) < 0.38 * high
        facet = (aside - canal_x - 3) ** 2 + (y - middle - np.where(z > 0, 2, 7)) ** 2 < 16
        facet &= np.abs(z) < 0.68 * high
        transverse = (aside > canal_x) & (aside < canal_x + 22 * scale)
        transverse &= (np.abs(y - middle - 1) < 4) & (np.abs(z - 0.12 * high) < 4.5)
        spinous = (aside < 3.2) & (y > middle + canal_y - 1) & (y < self.spinous_tip())
        spinous &= np.abs(z + 0.2 * high + 0.35 * (y - middle - canal_y)) < 0.28 * high
        return np.asarray(ring & (pedicle | lamina | facet | transverse | spinous))

    def spinous_tip(self) -> float:
        """Local posterior coordinate of the end of the spinous process in mm."""
        return self.depth_mm / 2 + 17 * (self.width_mm / 40) ** 0.3 + 0.75 * self.width_mm


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic scan and the truth about it.

    Attributes:
        image: int16 HU.
        mask: uint8 VerSe numbers on the same grid.
        spine: Levels with centres only, as a detector would give; "S" is in the mask but not here.
        truth: By level name.
    """

    image: Image
    mask: Mask
    spine: Spine
    truth: dict[str, Body]

    def cobb_deg(self, upper: str, lower: str, *, plane: str = "coronal") -> float:
        """Signed angle between the upper's superior and the lower's inferior endplate.

        Positive when the curve is convex to the left (coronal) or to the back (sagittal). The sacrum's
        superior endplate is used.
        """
        axis = 0 if plane == "coronal" else 1
        first = self.truth[upper].endplate_normal(superior=True)
        second = self.truth[lower].endplate_normal(superior=lower == "S")
        tilts = [np.degrees(np.arctan2(n[axis], n[2])) for n in (first, second)]
        return float(tilts[1] - tilts[0])

    def slip_mm(self, lower: str) -> tuple[float, float]:
        """(anterior, left) shift of the body above on `lower`, along the middle of the disc between."""
        names = list(self.truth)
        above = self.truth[names[names.index(lower) - 1]]
        below = self.truth[lower]
        up = above.endplate_normal(superior=False) + below.endplate_normal(superior=True)
        left = np.cross(below.axes[1], up / np.linalg.norm(up))
        left /= np.linalg.norm(left)
        gap = above.corner(superior=False) - below.corner(superior=True)
        shift = np.array([left @ gap, np.cross(up / np.linalg.norm(up), left) @ gap])
        return float(-shift[1]), float(shift[0])


def make_phantom(spec: PhantomSpec | None = None, **changes: Any) -> Phantom:
    """Builds a synthetic spine CT; `changes` are fields of `PhantomSpec`.

    Example:
        >>> make_phantom(levels=("L1", "L2")).mask.labels()
        (20, 21)
    """
    spec = replace(spec or PhantomSpec(), **changes)
    bodies = _stack(spec)
    geometry = _lay_grid(spec, bodies)
    image, mask = _paint_soft_tissue(spec, geometry, bodies), np.zeros(geometry.shape, np.uint8)
    for body in bodies:
        _paint(body, geometry, image, mask, spec)
    noise = np.random.default_rng(spec.seed).standard_normal(geometry.shape, dtype=np.float32)
    image = np.clip(image + spec.noise_hu * noise, -1024, 3071)
    vertebrae = tuple(
        Vertebra(body.name, tuple(float(v) for v in body.center_mm), 0.95, detection=0.9)  # type: ignore[arg-type]
        for body in bodies
        if body.name != "S"
    )
    return Phantom(
        Image(image.astype(np.int16), geometry, "CT"),
        Mask(mask, geometry),
        Spine(vertebrae),
        {body.name: body for body in bodies},
    )


def _size(name: str, kind: str) -> float:
    return float(np.interp(ORDER[name], [ORDER[anchor] for anchor in _ANCHORS], _SIZES[kind]))


def _axes(name: str, spec: PhantomSpec) -> Array:
    """Rows left, posterior, superior of a level; tilts are those of the projections."""
    position = ORDER[name]
    turns = []
    for given in (spec.coronal_deg, spec.sagittal_deg, spec.axial_deg):
        known = sorted((ORDER[key], value) for key, value in given.items())
        xs, ys = [k for k, _ in known] or [0], [v for _, v in known] or [0.0]
        turns.append(np.radians(np.interp(position, xs, ys)))
    superior = np.array([np.tan(turns[0]), np.tan(turns[1]), 1.0])
    superior /= np.linalg.norm(superior)
    posterior = np.array([0.0, 1.0, 0.0])
    posterior -= superior * (posterior @ superior)
    posterior /= np.linalg.norm(posterior)
    left = np.cross(posterior, superior)
    front_left = -np.sin(turns[2]) * left + np.cos(turns[2]) * posterior
    return np.stack([np.cross(front_left, superior), front_left, superior])


def _stack(spec: PhantomSpec) -> list[Body]:
    """Places the bodies one below the other, the middle of the column at the origin."""
    bodies: list[Body] = []
    center = np.zeros(3)
    for name in spec.levels:
        axes, height = _axes(name, spec), _size(name, "height")
        collapse = spec.collapse.get(name, Collapse())
        mean = height * (collapse.anterior + collapse.posterior) / 2
        if bodies:
            above = bodies[-1]
            gap = _size(above.name, "disc")
            bottom = above.height_mm * (above.collapse.anterior + above.collapse.posterior) / 2
            center = center - above.axes[2] * (bottom + gap) / 2 - axes[2] * (mean + gap) / 2
            anterior, left = spec.slip_mm.get(name, (0.0, 0.0))
            center = center + anterior * axes[1] - left * axes[0]
        width, depth = _size(name, "width"), _size(name, "depth")
        bodies.append(Body(name, center, axes, width, depth, height, collapse))
    middle = np.mean([bodies[0].center_mm, bodies[-1].center_mm], axis=0)
    return [replace(body, center_mm=body.center_mm - middle) for body in bodies]


def _directions(spec: PhantomSpec) -> Array:
    """(3, 3) columns: step vectors of the grid's i, j, k axes in LPS mm, before ordering: L, P, S."""
    turn = np.eye(3)
    for axis, degrees in enumerate(spec.oblique_deg):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        one = np.eye(3)
        one[a, a], one[b, b], one[a, b], one[b, a] = c, c, -s, s
        turn = one @ turn
    steps = turn * np.array(spec.spacing_mm)
    steps[:, 2] += turn[:, 1] * np.tan(np.radians(spec.gantry_deg)) * spec.spacing_mm[2]
    return steps


def _lay_grid(spec: PhantomSpec, bodies: list[Body]) -> Geometry:
    """Returns the grid that just holds the column with the cuts asked for."""
    steps = _directions(spec)
    points, tops, bottoms, backs = [], [], [], []
    inverse = np.linalg.inv(steps)
    for body in bodies:
        reach = body.width_mm / 2 + 22
        front, back, half = -body.depth_mm / 2 - 40, body.spinous_tip(), body.height_mm / 2
        box = np.array([[x, y, z] for x in (-reach, reach) for y in (front, back) for z in (-half, half)])
        points.append((body.center_mm + box @ body.axes) @ inverse.T)
        plate = np.array([[x, y, 1.0] for x in (-0.4, 0, 0.4) for y in (-0.4, 0, 0.4)])
        for sign, found in ((1, tops), (-1, bottoms)):
            local = plate * [body.width_mm, body.depth_mm, 0]
            local[:, 2] = sign * body.thickness(local[:, 0], local[:, 1]) / 2
            found.append((body.center_mm + local @ body.axes) @ inverse.T)
        backs.append((body.center_mm + np.array([0, back, -half]) @ body.axes) @ inverse.T)
    everything = np.concatenate(points)
    low, high = everything.min(axis=0), everything.max(axis=0)
    high[2] = tops[0][:, 2].max() - spec.cut_mm[0] / spec.spacing_mm[2]
    low[2] = bottoms[-1][:, 2].min() + spec.cut_mm[1] / spec.spacing_mm[2]
    high[1] = max(float(b[1]) for b in backs) - spec.posterior_cut_mm / spec.spacing_mm[1]
    shape = np.maximum(2, np.ceil(high - low)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = steps @ (low + 0.5)
    return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine).reoriented(_nearest(affine, spec))


def _nearest(affine: Array, spec: PhantomSpec) -> str:
    """Checks that the grid before reordering still reads LPS, so that `codes` is what comes out."""
    plain = Geometry((2, 2, 2), affine).codes
    if plain != "LPS":
        raise ValueError(f"oblique_deg and gantry_deg turn the axes to {plain}; keep each below 40 degrees")
    return spec.codes


def _local(geometry: Geometry, start: Array, stop: Array, body: Body) -> list[Array]:
    """Local x, y, z (each (i, j, k)) of the voxels of a box in a body's frame."""
    matrix = body.axes @ geometry.affine[:3, :3]
    offset = body.axes @ (geometry.affine[:3, 3] - body.center_mm)
    i, j, k = np.ogrid[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]
    return [offset[r] + matrix[r, 0] * i + matrix[r, 1] * j + matrix[r, 2] * k for r in range(3)]


def _box(geometry: Geometry, body: Body) -> tuple[Array, Array]:
    reach, high = body.width_mm / 2 + 22, body.height_mm * 1.5
    low, back = -body.depth_mm / 2, body.spinous_tip()
    corners = np.array([[x, y, z] for x in (-reach, reach) for y in (low, back) for z in (-high, high)])
    index = geometry.world_to_index(body.center_mm + corners @ body.axes)
    start = np.clip(np.floor(index.min(axis=0)), 0, geometry.shape).astype(int)
    stop = np.clip(np.ceil(index.max(axis=0)) + 1, 0, geometry.shape).astype(int)
    return start, stop


def _paint(
    body: Body, geometry: Geometry, image: NDArray[np.float32], mask: NDArray[np.uint8], spec: PhantomSpec
) -> None:
    start, stop = _box(geometry, body)
    where = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    x, y, z = _local(geometry, start, stop, body)
    depth = body.body_depth(x, y, z)
    number = level(body.name).label
    if spec.posterior_elements:
        arch = body.in_arch(x, y, z) & (mask[where] == 0)
        image[where][arch] = CORTICAL_HU - 150
        mask[where][arch] = number
    image[where][depth > 0] = CORTICAL_HU
    image[where][depth > 1.2] = TRABECULAR_HU
    mask[where][depth > 0] = number
    if body.name in spec.metal:
        screw = ((x - 6) ** 2 + z**2 < 9) & (np.abs(y) < body.depth_mm / 3)
        image[where][screw] = METAL_HU


def _paint_soft_tissue(spec: PhantomSpec, geometry: Geometry, bodies: list[Body]) -> NDArray[np.float32]:
    """Soft tissue in a wide ellipse about the column, an aorta in front of it, air outside."""
    image = np.full(geometry.shape, AIR_HU, np.float32)
    i, j, k = np.ogrid[tuple(slice(0, n) for n in geometry.shape)]
    a = geometry.affine
    x, y, z = (a[r, 0] * i + a[r, 1] * j + a[r, 2] * k + a[r, 3] for r in range(3))
    skin = max(float((b.center_mm + np.array([0, b.spinous_tip(), 0]) @ b.axes)[1]) for b in bodies) + 6
    image[((x / 160) ** 2 + ((y - skin + 110) / 110) ** 2) < 1] = SOFT_HU
    centers = np.array([b.center_mm + np.array([8, -b.depth_mm / 2 - 16, 0]) @ b.axes for b in bodies])
    order = np.argsort(centers[:, 2])
    along = [np.interp(z, centers[order, 2], centers[order, axis]) for axis in (0, 1)]
    image[(x - along[0]) ** 2 + (y - along[1]) ** 2 < 121] = spec.aorta_hu
    return image
