"""Heads that turn features of the landmark network into vectors to be told apart."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from spinelab.nets.landmarks import LandmarkNet

#: Length of the vectors.
LENGTH = 32


class ContrastNet(nn.Module):
    """A landmark network with two small heads, which are thrown away after pre-training.

    Input as `LandmarkNet`. Output, of unit length: (n, LENGTH) one vector a sample, from the deepest
    features, and (n, LENGTH, i, j/2, k/2) one a cell, from the finest.
    """

    def __init__(self, net: LandmarkNet) -> None:
        super().__init__()
        self.net = net
        deep, fine = net.down[-1][-3].out_channels, net.head.in_channels  # type: ignore[index]
        self.whole = nn.Sequential(nn.Linear(int(deep), 64), nn.ReLU(inplace=True), nn.Linear(64, LENGTH))
        self.local = nn.Sequential(nn.Conv3d(fine, 32, 1), nn.ReLU(inplace=True), nn.Conv3d(32, LENGTH, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        deep, fine = self.net.features(x)
        whole = self.whole(torch.amax(deep, dim=(2, 3, 4)))
        return functional.normalize(whole, dim=1), functional.normalize(self.local(fine), dim=1)
