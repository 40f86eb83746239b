"""Reads how much height a vertebral body has lost from sagittal slices through it: a small flat network."""

from itertools import pairwise

import torch
from torch import Tensor, nn

#: Sagittal slices, and what is told of the body beside its picture: place along the column, slice thickness.
SLICES, FACTS = 5, 2
#: Anterior, middle, posterior height and the one of them that lost most.
LOSSES = 4
SHAPES = 3
#: Losses are told in this unit.
LOSS_UNIT_PERCENT = 20.0


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b, stride in ((inputs, outputs, 2), (outputs, outputs, 1)):
        layers += [nn.Conv2d(a, b, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(b)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class FractureNet(nn.Module):
    """Height loss, probability of fracture and shape of one body.

    Input ``picture`` (n, 15, j, k): five slices of the scaled CT, of the outlines (1 own, -1 another's) and
    of what is in view; ``facts`` (n, 2). Slices are those of `spinelab.tasks.fracture_crop`.

    Output: ``lost`` (n, 4) in `LOSS_UNIT_PERCENT`, ``spread`` (n, 4) log of its mean absolute error in that
    unit, ``grave`` (n,) logit that at least 20 % are lost, ``shape`` (n, 3) logits of wedge, biconcave and
    crush.

    Args:
        size: Pixels (j, k) of a slice.
        widths: Channels a halving of the grid.
        hidden: Features everything is read from.
    """

    def __init__(
        self,
        size: tuple[int, int] = (56, 120),
        widths: tuple[int, ...] = (16, 32, 48, 64),
        hidden: int = 64,
    ) -> None:
        super().__init__()
        channels = (3 * SLICES, *widths)
        self.trunk = nn.Sequential(*(_block(a, b) for a, b in pairwise(channels)))
        j, k = (-(-n // 2 ** len(widths)) for n in size)
        self.gather = nn.Linear(widths[-1] * j * k + FACTS, hidden)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(hidden, 2 * LOSSES + 1 + SHAPES)

    def forward(self, picture: Tensor, facts: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the class."""
        seen = self.trunk(picture).flatten(1)
        gathered = self.drop(torch.relu(self.gather(torch.cat([seen, facts], dim=1))))
        lost, spread, grave, shape = torch.split(self.head(gathered), [LOSSES, LOSSES, 1, SHAPES], dim=1)
        return lost, spread.clamp(-5, 2), grave[:, 0], shape
