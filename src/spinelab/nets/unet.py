"""A small 3D U-Net that works on 2x2x2 cells.

The first layer folds every 2x2x2 block of voxels into channels (space-to-depth) and the last one unfolds
them again, so that the costly convolutions run on an eighth of the voxels.
"""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional


def fold(x: Tensor) -> Tensor:
    """Folds (n, c, i, j, k) into (n, 8c, i/2, j/2, k/2); sizes must be even."""
    n, c, i, j, k = x.shape
    x = x.reshape(n, c, i // 2, 2, j // 2, 2, k // 2, 2)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, 8 * c, i // 2, j // 2, k // 2)


def unfold(x: Tensor) -> Tensor:
    """Undoes `fold`: (n, 8c, i, j, k) into (n, c, 2i, 2j, 2k)."""
    n, c, i, j, k = x.shape
    x = x.reshape(n, c // 8, 2, 2, 2, i, j, k)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c // 8, 2 * i, 2 * j, 2 * k)


class Block(nn.Sequential):
    """Two 3x3x3 convolutions, each normalised and rectified; the first may halve the grid."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv3d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
        )


def climb(features: list[Tensor], lateral: nn.ModuleList, up: nn.ModuleList) -> Tensor:
    """Brings feature maps, the finest first, back to the finest grid: enlarged, added, convolved."""
    y = features[-1]
    for finer, widen, block in zip(reversed(features[:-1]), reversed(lateral), reversed(up), strict=True):
        y = block(functional.interpolate(widen(y), scale_factor=2.0, mode="nearest") + finer)
    return y


class UNet(nn.Module):
    """U-Net on folded cells with one feature map of cell resolution as output.

    Args:
        inputs: Channels of the volume given.
        widths: Channels per depth, the first at 2 voxels a cell, each next at twice that.

    Sizes of the volume must be multiples of ``2 ** len(widths)``.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = widths
        self.stem = Block(8 * inputs, widths[0])
        self.down = nn.ModuleList(Block(a, b, stride=2) for a, b in pairwise(widths))
        self.lateral = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(Block(a, a) for a in widths[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Maps (n, inputs, i, j, k) to (n, widths[0], i/2, j/2, k/2)."""
        features = [self.stem(fold(x))]
        for block in self.down:
            features.append(block(features[-1]))
        return climb(features, self.lateral, self.up)


class LocateNet(nn.Module):
    """Finds bodies and what level they look like on a whole scan at 3 mm.

    Input (n, 1, i, j, k): CT scaled by `spinelab.models` preprocessing, LPS axes.
    Output: ``voxels`` (n, 5, i, j, k) - logits of the body-centre heat map, then of background,
    vertebra, sacrum, rib; ``levels`` (n, 26, i/2, j/2, k/2) - logits of VerSe 1..25 and the sacrum.
    """

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 128)) -> None:
        super().__init__()
        self.trunk = UNet(1, widths)
        self.voxels = nn.Conv3d(widths[0], 8 * 5, 1)
        self.levels = nn.Conv3d(widths[0], 26, 1)
        # Bodies are rare: start from "nowhere", else the first hundreds of steps only learn that.
        nn.init.constant_(self.voxels.bias[:8], -4.0)  # type: ignore[index]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        y = self.trunk(x)
        return unfold(self.voxels(y)), self.levels(y)


class OutlineNet(nn.Module):
    """Outlines one vertebra in its own frame.

    Input (n, 2, i, j, k): CT, and a map that is 1 at the vertebra's own centre and -1 at its
    neighbours' centres. Output (n, 1, i, j, k): logits of the vertebra.
    """

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96)) -> None:
        super().__init__()
        self.trunk = UNet(2, widths)
        self.voxels = nn.Conv3d(widths[0], 8, 1)
        nn.init.constant_(self.voxels.bias, -2.5)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.voxels(self.trunk(x))
        return unfold(logits)


def count_parameters(net: nn.Module) -> int:
    """Returns the number of trainable parameters."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)
