"""A body's endplates and what lies next to them, as heights over a lattice wide enough to fade out on."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinelab.errors import GeometryError
from spinelab.measurement.bodies import Body
from spinelab.measurement.surfaces import Bools, Plane
from spinelab.simulate.changes import Site
from spinelab.simulate.rigid import Array

#: How far the lattice reaches beyond the body: to the sides, ahead and behind.
ASIDE_MM, AHEAD_MM, BEHIND_MM = 14.0, 16.0, 9.0
#: Height of a disc whose other side is not in view, as a share of the body's height.
UNSEEN_DISC = 0.25
#: Smallest and largest gap to the next bone that is reckoned with.
GAP_MM = (0.6, 15.0)
#: Standard deviation of the smoothing of what surfaces differ from their planes.
SMOOTH_MM = 1.5


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Heights over columns in a body's frame, local mm.

    Attributes:
        x_mm, y_mm: Where the columns are.
        top_mm, bottom_mm: (x, y) superior and inferior surface, continued beyond the body by their planes.
        above_mm, below_mm: (x, y) where the next bone begins.
        upper, lower: (3,) endplate planes, z = p0 + p1 x + p2 y.
        inside: (x, y) columns within the walls of the body.
        front_mm, back_mm: Anterior and posterior wall in the midline.
        half_width_mm: Of the body.
    """

    x_mm: Array
    y_mm: Array
    top_mm: Array
    bottom_mm: Array
    above_mm: Array
    below_mm: Array
    upper: Array
    lower: Array
    inside: Bools
    front_mm: float
    back_mm: float
    half_width_mm: float

    @property
    def depth_share(self) -> Array:
        """(y,) place of the columns from the anterior (0) to the posterior wall (1) in the midline."""
        return (self.y_mm - self.front_mm) / (self.back_mm - self.front_mm)

    @property
    def radius(self) -> Array:
        """(x, y) distance from the middle of the body, 1 on its rim (an ellipse)."""
        across = self.x_mm[:, None] / self.half_width_mm
        return np.hypot(across, 2 * self.depth_share[None, :] - 1)

    @property
    def height_mm(self) -> float:
        """Distance of the endplate planes in the middle."""
        return float(self.upper[0] - self.lower[0])

    @property
    def bone_share(self) -> Array:
        """(x, y) 1 within the walls of the body, 0 beyond, smooth between."""
        return np.asarray(ndimage.gaussian_filter(self.inside.astype(float), 0.8))

    def sample(self, heights: Array, points_mm: Array) -> Array:
        """Returns (n,) values of an (x, y) lattice above points (n, 3), bilinear; 0 beyond the lattice."""
        first = np.array([self.x_mm[0], self.y_mm[0]])
        step = np.array([self.x_mm[1], self.y_mm[1]]) - first
        place = ((points_mm[:, :2] - first) / step).T
        return np.asarray(ndimage.map_coordinates(heights, place, order=1, mode="constant"))

    def evaluate(self, plane: Array) -> Array:
        """Returns (x, y) the heights of a plane."""
        return np.asarray(plane[0] + plane[1] * self.x_mm[:, None] + plane[2] * self.y_mm[None, :])


def survey(site: Site) -> Surroundings:
    """Lays out the heights about a vertebra.

    Raises:
        GeometryError: One of its endplates is not in view.
    """
    body = site.body
    for name, found in (("superior", body.superior), ("inferior", body.inferior)):
        if found is None:
            raise GeometryError(
                f"the {name} endplate of {site.level} is not in view; choose a vertebra whose body is whole"
            )
    assert body.superior is not None
    assert body.inferior is not None
    midline = np.abs(body.grid.x_mm) <= 3
    front, back = (float(np.nanmedian(wall[midline])) for wall in (body.front_mm, body.back_mm))
    x = _line(-body.half_width_mm - ASIDE_MM, body.half_width_mm + ASIDE_MM)
    y = _line(front - AHEAD_MM, back + BEHIND_MM)
    upper, lower = (plane_in(site, plane) for plane in (body.superior, body.inferior))
    wide = upper[0] - lower[0]
    top, bottom = (
        _continue(body, surface, plane, x, y)
        for surface, plane in ((body.top_mm, upper), (body.bottom_mm, lower))
    )
    unseen = UNSEEN_DISC * wide
    above = _next_above(site, x, y) if site.above is not None else top + unseen
    below = _next_below(site, x, y) if site.plane_below is not None else bottom - unseen
    return Surroundings(
        x,
        y,
        top,
        bottom,
        top + np.clip(above - top, *GAP_MM),
        bottom - np.clip(bottom - below, *GAP_MM),
        upper,
        lower,
        _find_inside(body, x, y),
        front,
        back,
        body.half_width_mm,
    )


def _line(start: float, stop: float) -> Array:
    return np.linspace(start, stop, round(stop - start) + 1)


def plane_in(site: Site, plane: Plane) -> Array:
    """Returns (3,) z = p0 + p1 x + p2 y of a plane in the site's frame."""
    point = site.to_local(plane.point)
    normal = site.body.grid.axes @ plane.normal
    slope = -normal[:2] / normal[2]
    return np.array([point[2] - slope @ point[:2], slope[0], slope[1]])


def _flat(plane: Array, x: Array, y: Array) -> Array:
    return np.asarray(plane[0] + plane[1] * x[:, None] + plane[2] * y[None, :])


def _find_inside(body: Body, x: Array, y: Array) -> Bools:
    """Returns (x, y) which columns lie between the walls."""
    known = np.isfinite(body.front_mm) & np.isfinite(body.back_mm)
    place = body.grid.x_mm[known]
    front = np.interp(x, place, body.front_mm[known], left=np.inf, right=np.inf)
    back = np.interp(x, place, body.back_mm[known], left=-np.inf, right=-np.inf)
    return np.asarray((y[None, :] >= front[:, None]) & (y[None, :] <= back[:, None]))


def _continue(body: Body, surface: Array, plane: Array, x: Array, y: Array) -> Array:
    """Returns (x, y) a surface of a body, smoothed, blending into its plane beyond the walls."""
    grid = body.grid
    rest = surface - _flat(plane, grid.x_mm, grid.y_mm)
    walls = (grid.y_mm >= body.front_mm[:, None] + 1) & (grid.y_mm <= body.back_mm[:, None] - 1)
    use = np.isfinite(rest) & walls
    sigma = SMOOTH_MM / (grid.x_mm[1] - grid.x_mm[0])
    share = ndimage.gaussian_filter(use.astype(float), sigma)
    mean = ndimage.gaussian_filter(np.where(use, rest, 0.0), sigma) / np.maximum(share, 1e-6)
    smooth = mean * np.clip(2 * share, 0, 1)
    place = np.stack(np.meshgrid(x - grid.x_mm[0], y - grid.y_mm[0], indexing="ij"))
    place /= grid.x_mm[1] - grid.x_mm[0]
    beside: Array = ndimage.map_coordinates(smooth, place, order=1, mode="nearest")
    return _flat(plane, x, y) + beside


def _next_above(site: Site, x: Array, y: Array) -> Array:
    """Returns (x, y) where the body above begins."""
    assert site.above is not None
    return _next_bone(site, site.above, site.above.inferior, x, y, upwards=True)


def _next_below(site: Site, x: Array, y: Array) -> Array:
    """Returns (x, y) where the body below, or the sacrum, ends."""
    other = site.below if isinstance(site.below, Body) else None
    return _next_bone(site, other, site.plane_below, x, y, upwards=False)


def _next_bone(
    site: Site, other: Body | None, plane: Plane | None, x: Array, y: Array, *, upwards: bool
) -> Array:
    """Returns (x, y) the nearest bone of a neighbour: the nearer of its plane and its surface."""
    sign = 1.0 if upwards else -1.0
    nearest = np.full((len(x), len(y)), np.inf)
    if plane is not None:
        nearest = sign * _flat(plane_in(site, plane), x, y)
    if other is None:
        return sign * nearest
    surface = other.bottom_mm if upwards else other.top_mm
    grid = other.grid
    walls = (grid.y_mm >= other.front_mm[:, None] - 3) & (grid.y_mm <= other.back_mm[:, None] + 1)
    use = np.isfinite(surface) & walls
    i, j = np.nonzero(use)
    points = site.to_local(grid.to_world(np.stack([grid.x_mm[i], grid.y_mm[j], surface[use]], axis=1)))
    column = np.round((points[:, :2] - [x[0], y[0]]) / [x[1] - x[0], y[1] - y[0]]).astype(int)
    keep = ((column >= 0) & (column < nearest.shape)).all(axis=1)
    found = np.full(nearest.shape, np.inf)
    np.minimum.at(found, tuple(column[keep].T), sign * points[keep, 2])
    return np.asarray(sign * ndimage.minimum_filter(np.minimum(nearest, found), size=3))
