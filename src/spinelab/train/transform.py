"""Random spinal deformity as a MONAI dictionary transform, for anyone's training loop.

The recipes of this package bend their samples by the same `spinelab.simulate.random_flow`.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spinelab.anatomy import VERTEBRA_LABELS
from spinelab.anatomy import level as level_of
from spinelab.errors import DependencyError, InputError
from spinelab.simulate.polyrigid import PolyrigidFlow
from spinelab.simulate.random_flow import RandomDeformity, draw_flow
from spinelab.train.prepare import body_centers
from spinelab.volume import Geometry, Mask

try:
    from monai.data.meta_tensor import MetaTensor
    from monai.transforms.transform import MapTransform, RandomizableTransform
except ImportError as error:
    raise DependencyError(
        'this transform needs MONAI, which is not installed; install it with pip install "spinelab[monai]"'
    ) from error

#: Points for which the motion is computed lie about this far apart; it is linear between them.
COARSE_MM = 8.0
#: Body centres are looked for on voxels of about this size.
LOOK_MM = 3.0
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class RandSpinalDeformityd(MapTransform, RandomizableTransform):  # type: ignore[misc]
    """Bends the column of a scan and everything with it: curve, rotation, posture.

    Each vertebra moves about rigidly, soft tissue follows smoothly; image and labels are sampled through one
    map. Items are (channel, i, j, k) tensors; a `MetaTensor` brings its affine (voxel to RAS mm, as MONAI's
    `LoadImaged` gives it), a plain one is taken for 1 mm voxels with axes to right, front and head.

    Args:
        keys: Items to deform, all on one grid.
        label_key: The one of them that holds VerSe numbers, from which body centres are found.
        mode: "bilinear" or "nearest", one for all keys or one each; None: nearest for `label_key` alone.
        prob: Share of the calls that deform.
        options: How much.
        allow_missing_keys: As in MONAI.

    Raises:
        InputError: An item is not of four dimensions, or its grid is not that of the labels.

    Example:
        transforms = Compose([LoadImaged(["image", "label"]), EnsureChannelFirstd(["image", "label"]),
                              RandSpinalDeformityd(["image", "label"], "label", prob=0.7)])
    """

    def __init__(
        self,
        keys: Any,
        label_key: str = "label",
        *,
        mode: Any = None,
        prob: float = 0.7,
        options: RandomDeformity | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.label_key = label_key
        modes = [mode] * len(self.keys) if mode is None or isinstance(mode, str) else list(mode)
        self.modes = dict(zip(self.keys, modes, strict=True))
        self.options = options or RandomDeformity()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Returns the items, deformed together; as they were where fewer than two vertebrae are in view."""
        items = dict(data)
        self.randomize(None)
        seed = int(self.R.randint(2**31))
        if not self._do_transform:
            return items
        labels = items[self.label_key]
        geometry = _geometry_of(labels, self.label_key)
        centers = _find_centers(labels, geometry)
        if len(centers) < 2:
            return items
        names = [level_of(label).name for label in centers]
        points = np.array([centers[label] for label in centers])
        flow, _ = draw_flow(names, points, np.random.default_rng(seed), self.options)
        index = _source_index(flow, geometry)
        for key in self.key_iterator(items):
            if not _geometry_of(items[key], key).same_grid(geometry, 0.1):
                raise InputError(f"{key} is not on the grid of {self.label_key}; resample it first")
            mode = self.modes[key] or ("nearest" if key == self.label_key else "bilinear")
            items[key] = _sample(items[key], index, mode)
        return items


def _geometry_of(item: Any, key: Hashable) -> Geometry:
    if getattr(item, "ndim", 0) != 4:
        raise InputError(
            f"{key} has {getattr(item, 'ndim', 0)} dimensions, wanted (channel, i, j, k); put "
            "EnsureChannelFirstd before this transform"
        )
    affine = np.eye(4)
    if isinstance(item, MetaTensor):
        affine = np.asarray(item.affine.cpu().numpy(), np.float64)
    i, j, k = (int(n) for n in item.shape[1:])
    return Geometry((i, j, k), _RAS_TO_LPS @ affine)


def _find_centers(labels: Any, geometry: Geometry) -> dict[int, NDArray[np.float64]]:
    """Returns VerSe number -> body centre in LPS mm, from the head down, on every few voxels."""
    steps = [max(1, round(LOOK_MM / spacing)) for spacing in geometry.spacing_mm]
    array = np.asarray(labels[0].cpu().numpy() if isinstance(labels, Tensor) else labels[0])
    few = array[tuple(slice(None, None, step) for step in steps)].astype(np.uint8)
    affine = np.array(geometry.affine)
    affine[:3, :3] = affine[:3, :3] * steps
    coarse = Mask(few, Geometry((few.shape[0], few.shape[1], few.shape[2]), affine)).reoriented("LPS")
    found = body_centers(coarse)
    order = sorted((label for label in found if label in VERTEBRA_LABELS), key=lambda n: -found[n][2])
    return {label: np.array(found[label]) for label in order}


def _source_index(flow: PolyrigidFlow, geometry: Geometry) -> Tensor:
    """Returns (i, j, k, 3) for every voxel the index of where it comes from."""
    lines = [
        np.linspace(0, n - 1, max(2, round(n * spacing / COARSE_MM)))
        for n, spacing in zip(geometry.shape, geometry.spacing_mm, strict=True)
    ]
    coarse = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)
    source = geometry.world_to_index(flow.backward(np.asarray(geometry.index_to_world(coarse))))
    shift = torch.from_numpy((source - coarse).astype(np.float32)).permute(3, 0, 1, 2)
    whole = functional.interpolate(shift[None], size=geometry.shape, mode="trilinear", align_corners=True)
    voxels = torch.stack(torch.meshgrid(*[torch.arange(n) for n in geometry.shape], indexing="ij"), dim=-1)
    return voxels + whole[0].permute(1, 2, 3, 0)


def _sample(item: Any, index: Tensor, mode: str) -> Any:
    """Samples (channel, i, j, k) at voxel indices; beyond the border comes the least value, 0 for labels."""
    values = torch.as_tensor(item)
    sizes = torch.tensor(values.shape[1:], dtype=torch.float32)
    unit = (2 * index / (sizes - 1).clamp(min=1) - 1).flip(-1).to(values.device)
    outside = 0.0 if mode == "nearest" else float(values.min())
    shifted = values.float()[None] - outside
    sampled = functional.grid_sample(shifted, unit[None], mode=mode, align_corners=True)[0] + outside
    out = sampled.to(values.dtype)
    return MetaTensor(out.data, meta=item.meta) if isinstance(item, MetaTensor) else out
