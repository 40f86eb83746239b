"""Finds vertebral bodies and their corners in sagittal MR: a flat U-Net on cells of 4 mm."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from spinelab.nets.unet import climb

#: Points offset from every cell: the body's centre and its four corners.
POINTS = 5
LEVELS = 26
#: Offsets are told in this unit, mm.
OFFSET_UNIT_MM = 10.0


def fold_plane(x: Tensor) -> Tensor:
    """Folds (n, c, i, j, k) into (n, 4c, i, j/2, k/2); j and k must be even."""
    n, c, i, j, k = x.shape
    x = x.reshape(n, c, i, j // 2, 2, k // 2, 2)
    return x.permute(0, 1, 4, 6, 2, 3, 5).reshape(n, 4 * c, i, j // 2, k // 2)


def _block(inputs: int, outputs: int, *, flat: bool, stride: int = 1) -> nn.Sequential:
    kernel, padding = ((1, 3, 3), (0, 1, 1)) if flat else ((3, 3, 3), (1, 1, 1))
    layers: list[nn.Module] = []
    for a, b, step in ((inputs, outputs, stride), (outputs, outputs, 1)):
        layers += [nn.Conv3d(a, b, kernel, stride=step, padding=padding, bias=False), nn.BatchNorm3d(b)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class LandmarkNet(nn.Module):
    """Body centres, corners and level evidence from a sagittal stack or a single slice.

    Input (n, 2, i, j, k): the scan as `spinelab.tasks.mr_volume` brings it, 4 mm across and 2 mm in plane,
    and 1 where it was seen (0 elsewhere). Sizes must be multiples of 8, 16 and 16.

    Output on cells of 4 mm, (n, ., i, j/2, k/2): ``heat`` (1) logit of a body's centre, ``offsets`` (15)
    from the cell to centre and corners, left, back, up, in `OFFSET_UNIT_MM`, ``spread`` (5) log of their
    mean absolute error in that unit, ``levels`` (26) logits of VerSe 1..25 and the sacrum.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 64)) -> None:
        super().__init__()
        self.stem = _block(8, widths[0], flat=True)
        self.down = nn.ModuleList(_block(a, b, flat=False, stride=2) for a, b in pairwise(widths))
        self.lateral = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_block(a, a, flat=place == 0) for place, a in enumerate(widths[:-1]))
        self.head = nn.Conv3d(widths[0], 1 + 4 * POINTS + LEVELS, 1)
        nn.init.constant_(self.head.bias[:1], -4.0)  # type: ignore[index]

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the deepest features (n, ., i/8, j/16, k/16) and the finest (n, ., i, j/2, k/2)."""
        features = [self.stem(fold_plane(x))]
        for block in self.down:
            features.append(block(features[-1]))
        return features[-1], climb(features, self.lateral, self.up)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the class."""
        _, fine = self.features(x)
        heat, offsets, spread, levels = torch.split(self.head(fine), [1, 3 * POINTS, POINTS, LEVELS], dim=1)
        return heat, offsets, spread.clamp(-4, 2), levels
