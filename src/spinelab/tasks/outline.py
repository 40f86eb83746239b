"""Second look: one vertebra at a time in its own frame, put back voxel for voxel on the scan's grid."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from spinelab.measurement.sampling import SoftOutline
from spinelab.models import Network
from spinelab.tasks.frames import OUTLINE_OFFSET_MM, OUTLINE_SHAPE, OUTLINE_SPACING_MM, neighbour_map
from spinelab.volume import Geometry, Image

Floats = NDArray[np.float32]

_HALF = 128
#: The middle of a body, left-right and front-back, and how many of its voxels tell where it lies.
_CORE_MM, _LEAST_CORE = 10.0, 300
#: The meant vertebra's own piece is the one with the most voxels this near to the centre.
_NEAR_MM = 15.0
#: The body in the patch: so far to the sides and to the back of its centre.
_BODY_ASIDE_MM, _BODY_BACK_MM = 20.0, 12.0
#: Less of a body than this on the border of the scan is a lip, not a cut.
_CUT_MM2 = 25.0


def _local_points() -> Floats:
    """(i, j, k, 3) local mm of the patch's voxels."""
    axes = [
        (np.arange(n) - (n - 1) / 2) * OUTLINE_SPACING_MM + offset
        for n, offset in zip(OUTLINE_SHAPE, OUTLINE_OFFSET_MM, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)


_POINTS = _local_points()
_NEAR = np.linalg.norm(_POINTS, axis=-1) < _NEAR_MM


@dataclass(frozen=True, eq=False)
class Patch:
    """The outline of one vertebra in its own frame.

    Attributes:
        probability: (i, j, k) float32 on the patch grid, 0 beyond the vertebra's own piece.
        center_mm: (3,) body centre the patch was cut around, LPS mm.
        frame: (3, 3) rows left, posterior, superior.
        in_view: (i, j, k) bool, where the patch lies inside the scan.
    """

    probability: Floats
    center_mm: NDArray[np.float64]
    frame: NDArray[np.float64]
    in_view: NDArray[np.bool_]

    @property
    def volume_mm3(self) -> float:
        """Volume of the outline."""
        return float((self.probability >= 0.5).sum()) * OUTLINE_SPACING_MM**3

    @property
    def body_offset_mm(self) -> float | None:
        """How far above the centre it was cut around the outlined body lies, mm; None where there is none."""
        core = (np.abs(_POINTS[..., 0]) < _CORE_MM) & (np.abs(_POINTS[..., 1]) < _CORE_MM)
        inside = (self.probability >= 0.5) & core
        if inside.sum() < _LEAST_CORE:
            return None
        return float(_POINTS[..., 2][inside].mean())

    @property
    def outline(self) -> SoftOutline:
        """The outline on the patch's own grid, turned as the vertebra lies."""
        return SoftOutline(self.probability, Geometry(OUTLINE_SHAPE, self._affine()))

    def _affine(self) -> NDArray[np.float64]:
        """(4, 4) from voxel of the patch to LPS mm."""
        local, world = np.eye(4), np.eye(4)
        local[:3, :3] *= OUTLINE_SPACING_MM
        local[:3, 3] = _POINTS[0, 0, 0]
        world[:3, :3] = self.frame.T
        world[:3, 3] = self.center_mm
        return np.asarray(world @ local)

    @property
    def body_is_cut(self) -> bool:
        """Whether the body reaches the border of the scan; processes may, without being counted."""
        if self.in_view.all():
            return False
        border = ndimage.binary_dilation(~self.in_view) & (self.probability >= 0.5)
        border &= (np.abs(_POINTS[..., 0]) < _BODY_ASIDE_MM) & (_POINTS[..., 1] < _BODY_BACK_MM)
        return float(border.sum()) * OUTLINE_SPACING_MM**2 >= _CUT_MM2


def outline_one(
    image: Image,
    network: Network,
    *,
    center_mm: NDArray[np.float64],
    frame: NDArray[np.float64],
    others_mm: NDArray[np.float64],
) -> Patch:
    """Outlines the vertebra at `center_mm`.

    Args:
        image: CT on its own grid.
        network: The outline network.
        center_mm: (3,) body centre, LPS mm.
        frame: (3, 3) rows left, posterior, superior.
        others_mm: (n, 3) centres of the other vertebrae, LPS mm.
    """
    index = np.asarray(image.geometry.world_to_index(_POINTS @ frame + center_mm), np.float64)
    hu, in_view = sample_scan(image, index)
    near = others_mm[np.linalg.norm(others_mm - center_mm, axis=1) < 80]
    spots = neighbour_map((near - center_mm) @ frame.T, _POINTS)
    probability = network(hu=hu[None, None], spots=spots[None, None])[0][0, 0]
    probability = np.where(in_view, probability, 0)
    return Patch(_own_piece(probability), center_mm, frame, in_view)


def sample_scan(image: Image, index: NDArray[np.float64]) -> tuple[Floats, NDArray[np.bool_]]:
    """Linear samples of the scan at voxel indices (..., 3), air outside, and where it was in view."""
    shape = np.asarray(image.array.shape)
    axes = np.ascontiguousarray(np.moveaxis(index, -1, 0))
    in_view = np.ones(index.shape[:-1], bool)
    for along, size in zip(axes, shape, strict=True):
        in_view &= (along > -0.5) & (along < size - 0.5)
    low = np.clip(np.floor([along.min() for along in axes]).astype(int), 0, shape - 1)
    high = np.clip(np.ceil([along.max() for along in axes]).astype(int) + 1, low + 1, shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    part = image.array[box].astype(np.float32)
    coordinates = axes - low[:, None, None, None]
    hu = ndimage.map_coordinates(part, coordinates, order=1, mode="nearest", output=np.float32)
    return np.where(in_view, np.clip(hu, -1024, 3071), -1024).astype(np.float32), in_view


def _own_piece(probability: Floats) -> Floats:
    """Keeps the connected piece with the most voxels near the centre, and its soft edge."""
    inside = probability >= 0.5
    pieces, count = ndimage.label(inside)
    if count == 0:
        return np.zeros_like(probability)
    votes = np.bincount(pieces[_NEAR & inside], minlength=count + 1)
    if votes[1:].sum() == 0:
        return np.zeros_like(probability)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    keep = np.zeros(count + 1, bool)
    keep[int(np.argmax(votes[1:])) + 1] = True
    keep |= (sizes >= 300) & (votes > 0)
    keep[0] = False
    own = ndimage.binary_dilation(keep[pieces], iterations=2)
    other = inside & ~keep[pieces]
    return np.where(own & ~other, probability, 0).astype(np.float32)


class Canvas:
    """Collects the outlines on the scan's grid; where two claim a voxel the surer one has it.

    Attributes:
        geometry: The scan's grid.
        labels: (i, j, k) uint8 VerSe numbers.
        outlines: VerSe number -> the outline as it was before.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.outlines: dict[int, SoftOutline] = {}
        self.labels = np.zeros(geometry.shape, np.uint8)
        self._sure = np.zeros(geometry.shape, np.uint8)

    def add(self, patch: Patch, label: int) -> int:
        """Draws one vertebra; returns how many voxels it got."""
        inside = np.argwhere(patch.probability >= 0.5)
        if len(inside) == 0:
            return 0
        low = np.maximum(inside.min(axis=0) - 1, 0)
        high = np.minimum(inside.max(axis=0) + 1, np.asarray(OUTLINE_SHAPE) - 1)
        corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
        outline = patch.outline
        to_index = np.linalg.inv(self.geometry.affine) @ outline.geometry.affine
        voxels = corners @ to_index[:3, :3].T + to_index[:3, 3]
        shape = np.asarray(self.geometry.shape)
        start = np.clip(np.floor(voxels.min(axis=0)).astype(int), 0, shape)
        stop = np.clip(np.ceil(voxels.max(axis=0)).astype(int) + 1, start, shape)
        if (stop <= start).any():
            return 0
        back = np.linalg.inv(to_index)
        values = ndimage.affine_transform(
            patch.probability,
            back[:3, :3],
            offset=back[:3, :3] @ start + back[:3, 3],
            output_shape=tuple(stop - start),
            order=1,
            output=np.float32,
        )
        sure = np.round(values * 255).astype(np.uint8)
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        wins = (sure >= _HALF) & (sure > self._sure[box])
        self._sure[box][wins] = sure[wins]
        self.labels[box][wins] = label
        self.outlines[label] = outline
        return int(wins.sum())
