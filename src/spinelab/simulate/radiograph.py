"""Radiographs projected from a CT, with the corners of the vertebral bodies.

Parallel rays; every voxel weakens them as its HU say at 70 keV, the mean energy of a usual spine film: water
0.193 per cm (Hubbell and Seltzer 1995, NIST), bone in proportion. The picture shows the summed weakening, as
film and detectors do (the logarithm of what arrives), bone white.

Orientation is as films are read: AP from the front, the patient's right on the left of the picture; lateral
facing left, the front of the patient on the left of the picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.errors import InputError, ModalityError, OutputError
from spinelab.measurement.bodies import Body
from spinelab.simulate.rigid import Array
from spinelab.volume import Geometry, Image

View = Literal["ap", "lateral"]
#: Which world axis runs across the picture, and which the rays follow.
_ACROSS: dict[View, int] = {"ap": 0, "lateral": 1}
_ALONG: dict[View, int] = {"ap": 1, "lateral": 0}
#: Names of a body's corners, in the order they are given: in the picture, and on a lateral film by anatomy.
CORNERS: dict[View, tuple[str, str, str, str]] = {
    "ap": ("tl", "tr", "bl", "br"),
    "lateral": ("superior_front", "superior_back", "inferior_front", "inferior_back"),
}
#: Weakening of 70 keV by water.
WATER_PER_MM = 0.0193
#: Smallest pixel, and distance of samples along the rays where a scan is oblique.
FINEST_MM, STEP_MM = 0.5, 2.0
#: Summed weakening from which a ray met the patient.
PATIENT = 0.3
#: As digital films are developed: what varies over more than this is held back, the rest brought out.
BASE_MM, BASE_GAIN, DETAIL_GAIN = 14.0, 0.6, 0.55
#: A scan whose axes lie this close to the patient's (cosine) is summed as it is.
ALIGNED = 1 - 1e-6
#: Samples of an oblique scan worked on at a time.
_BATCH = 4_000_000


@dataclass(frozen=True, eq=False)
class Film:
    """A projected radiograph.

    Attributes:
        array: (row, column) uint16, from the head down; black 0, white 65535.
        view: "ap" or "lateral".
        pixel_mm: Edge length of the square pixels.
        corner_mm: World position of the middle of pixel (0, 0): across the picture, and z.
    """

    array: NDArray[np.uint16]
    view: View
    pixel_mm: float
    corner_mm: tuple[float, float]

    def place(self, points_mm: Array) -> Array:
        """Returns where points (..., 3), LPS mm, lie: (..., 2) column and row in pixels, 0 = first middle."""
        across = (points_mm[..., _ACROSS[self.view]] - self.corner_mm[0]) / self.pixel_mm
        down = (self.corner_mm[1] - points_mm[..., 2]) / self.pixel_mm
        return np.stack([across, down], axis=-1)

    def describe(self, corners_mm: Mapping[str, Array]) -> dict[str, Any]:
        """Returns view, pixel size and the corners of each level (see `find_corners`) as JSON values."""
        return {
            "view": self.view,
            "pixel_mm": round(self.pixel_mm, 4),
            "columns": int(self.array.shape[1]),
            "rows": int(self.array.shape[0]),
            "corners": {
                name: dict(zip(CORNERS[self.view], self.place(points).round(2).tolist(), strict=True))
                for name, points in corners_mm.items()
            },
        }

    def write(self, path: str | Path, *, bits: int = 16) -> None:
        """Writes the picture as PNG, its pixel size inside.

        Raises:
            OutputError: Another ending, neither 8 nor 16 bits, or the file cannot be written.
        """
        import SimpleITK

        sitk: Any = SimpleITK
        if Path(path).suffix != ".png" or bits not in (8, 16):
            raise OutputError(f"cannot write {path} with {bits} bits; films are .png with 8 or 16 bits")
        array = self.array if bits == 16 else (self.array >> 8).astype(np.uint8)
        picture = sitk.GetImageFromArray(array)
        picture.SetSpacing((self.pixel_mm, self.pixel_mm))
        try:
            sitk.WriteImage(picture, str(path))
        except RuntimeError as error:
            raise OutputError(f"cannot write {path}: {error}; choose a folder that exists") from error


def project(image: Image, view: View, *, pixel_mm: float | None = None) -> Film:
    """Projects a CT to a radiograph.

    Args:
        image: (i, j, k) HU on any grid, oblique and sheared ones too.
        view: "ap" or "lateral".
        pixel_mm: Edge length of the film's pixels; None: that of the scan, at least 0.5.

    Raises:
        ModalityError: It is no CT.
        InputError: There is no such view, or the pixels are no size.

    Example:
        >>> bone = np.full((20, 30, 40), 400, np.int16)
        >>> scan = Image(bone, Geometry.from_spacing(bone.shape, (1, 1, 1)), "CT")
        >>> project(scan, "ap").array.shape, project(scan, "lateral").array.shape
        ((40, 20), (40, 30))
    """
    if image.modality != "CT":
        raise ModalityError(
            f"found a scan of modality {image.modality}; a radiograph is projected from the HU of a CT: give "
            "a CT, or say that it is one"
        )
    if view not in get_args(View):
        raise InputError(f"found view {view!r}; choose ap or lateral")
    upright = image.reoriented("LPS")
    step = upright.spacing_mm[_ACROSS[view]]
    pixel = max(step, FINEST_MM) if pixel_mm is None else pixel_mm
    if not 0 < pixel < np.inf:
        raise InputError(f"found pixels of {pixel:g} mm; choose a size above 0, such as 0.5")
    grid = _lay_film(upright.geometry, view, pixel)
    summed = _sum_aligned(upright, grid, view) if _is_aligned(upright.geometry) else None
    if summed is None:
        summed = _sum_oblique(upright, grid, view)
    picture = _develop(summed.T[::-1], pixel)
    corner = (grid.affine[_ACROSS[view], 3], grid.affine[2, 3] + (grid.shape[2] - 1) * pixel)
    return Film(picture, view, float(pixel), (float(corner[0]), float(corner[1])))


def find_corners(bodies: Mapping[str, Body], view: View) -> dict[str, Array]:
    """Returns for each body its four corners on a film, (4, 3) LPS mm, in the order of `CORNERS`.

    They are where the endplate planes meet the sides (AP, at mid-depth) or the walls (lateral, midline).
    Bodies with an endplate out of view are left out.
    """
    found = {}
    for name, body in bodies.items():
        if body.superior is None or body.inferior is None:
            continue
        half = body.half_width_mm
        ends = [(-half, 0.0), (half, 0.0)]
        if view == "lateral":
            midline = np.abs(body.grid.x_mm) <= 3
            ends = [(0.0, float(np.nanmedian(wall[midline]))) for wall in (body.front_mm, body.back_mm)]
        corners = []
        for plane in (body.superior, body.inferior):
            point = body.grid.axes @ (plane.point - body.grid.origin_mm)
            normal = body.grid.axes @ plane.normal
            for x, y in ends:
                rise = (normal[0] * (x - point[0]) + normal[1] * (y - point[1])) / normal[2]
                corners.append([x, y, point[2] - rise])
        found[name] = body.grid.to_world(np.array(corners))
    return found


def _is_aligned(geometry: Geometry) -> bool:
    """Tells whether the axes of an LPS-ordered grid are the patient's."""
    cosines = np.diag(geometry.affine)[:3] / np.array(geometry.spacing_mm)
    return bool((cosines >= ALIGNED).all())


def _lay_film(geometry: Geometry, view: View, pixel: float) -> Geometry:
    """Returns an upright grid over a scan: `pixel` in the plane of the film, steps along the rays."""
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in geometry.shape])).reshape(3, -1).T
    world = geometry.index_to_world(corners)
    low, high = world.min(axis=0), world.max(axis=0)
    steps = np.full(3, pixel)
    steps[_ALONG[view]] = STEP_MM
    shape = np.maximum(1, np.round((high - low) / steps)).astype(int)
    first = (low + high) / 2 - (shape - 1) / 2 * steps
    return Geometry.from_spacing(tuple(shape), tuple(steps), tuple(first))


def _weaken(array: NDArray[Any]) -> NDArray[np.float32]:
    """Returns weakening per mm of HU; air and what is below it weaken nothing."""
    return np.asarray(np.clip(array.astype(np.float32) / 1000 + 1, 0, None) * WATER_PER_MM, np.float32)


def _sum_aligned(image: Image, grid: Geometry, view: View) -> Array:
    """Returns (across, up) summed weakening of an upright scan on the film's pixels."""
    along, across = _ALONG[view], _ACROSS[view]
    summed = np.zeros([image.array.shape[axis] for axis in (across, 2)])
    for layer in np.moveaxis(image.array, along, 0):
        summed += _weaken(layer)
    summed *= image.spacing_mm[along]
    index = [
        (grid.affine[a, 3] + grid.affine[a, a] * np.arange(grid.shape[a]) - image.geometry.affine[a, 3])
        / image.spacing_mm[a]
        for a in (across, 2)
    ]
    place = np.meshgrid(*index, indexing="ij")
    return np.asarray(ndimage.map_coordinates(summed, place, order=1, mode="nearest"))


def _sum_oblique(image: Image, grid: Geometry, view: View) -> Array:
    """Returns (across, up) summed weakening of a scan on any grid, resampled slab by slab."""
    along = _ALONG[view]
    layers = max(1, _BATCH * grid.shape[along] // int(np.prod(grid.shape)))
    summed = np.zeros([grid.shape[axis] for axis in (_ACROSS[view], 2)])
    for start in range(0, grid.shape[along], layers):
        low, high = np.zeros(3, int), np.array(grid.shape)
        low[along], high[along] = start, min(start + layers, grid.shape[along])
        slab = image.resampled(grid.cropped(low.tolist(), high.tolist()), outside=-1024)
        summed += _weaken(slab.array).sum(axis=along) * STEP_MM
    return summed


def _develop(summed: Array, pixel: float) -> NDArray[np.uint16]:
    """Returns summed weakening as a picture with the contrast of a digital film."""
    if not (summed > PATIENT).any():
        return np.zeros(summed.shape, np.uint16)
    inside = (summed > PATIENT).astype(float)
    sigma = BASE_MM / pixel
    share = ndimage.gaussian_filter(inside, sigma)
    base = ndimage.gaussian_filter(summed * inside, sigma) / np.maximum(share, 1e-3)
    detail = summed - base
    spread = max(float(detail[inside > 0].std()), 1e-6)
    black, white = np.percentile(base[inside > 0], [2, 98])
    tone = (base - black) / max(white - black, 1e-6) - 0.5
    curve = np.tanh(BASE_GAIN * np.clip(tone, -1, 1) + DETAIL_GAIN * detail / spread)
    shown = np.clip(summed / PATIENT - 1, 0, 1)  # fades to black towards air
    return np.asarray(np.round((0.5 + 0.5 * curve) * shown * 65535), np.uint16)
