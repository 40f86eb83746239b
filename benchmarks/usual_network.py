"""Time the forward passes of an nnU-Net 3d_fullres network of TotalSegmentator's size on one scan.

Six resolutions of 32 to 320 channels, 27 output classes, 1.5 mm, patches of 128 voxels overlapping by half,
float32 as on any CPU. The weights are random: the time does not depend on them. Only forward passes count:
resampling, stitching, writing and the other models of the usual programs are left out, in their favour.
The scan is cropped to its nonzero part, as nnU-Net does (most CT have nothing to crop). Prints JSON.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import SimpleITK
import torch
from patches import PATCH, SPACING_MM, count_patches, crop_to_nonzero, extrapolate, resample_shape
from torch import Tensor, nn

WIDTHS = (32, 64, 128, 256, 320, 320)
CLASSES = 27


class DoubleConv(nn.Sequential):
    """Two times convolution, instance norm and leaky ReLU; the first convolution may stride."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        layers: list[nn.Module] = []
        for channels, step in ((inputs, stride), (outputs, 1)):
            layers += [
                nn.Conv3d(channels, outputs, 3, stride=step, padding=1),
                nn.InstanceNorm3d(outputs, affine=True),
                nn.LeakyReLU(0.01, inplace=True),
            ]
        super().__init__(*layers)


class UsualNetwork(nn.Module):
    """A plain U-Net: (b, 1, i, j, k) in, (b, classes, i, j, k) logits out; sides divide by 32."""

    def __init__(self, widths: Sequence[int] = WIDTHS, classes: int = CLASSES) -> None:
        super().__init__()
        inputs = (1, *widths[:-1])
        self.down = nn.ModuleList(
            DoubleConv(a, b, stride=2 if level else 1)
            for level, (a, b) in enumerate(zip(inputs, widths, strict=True))
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.rise = nn.ModuleList(nn.ConvTranspose3d(deep, wide, 2, stride=2) for deep, wide in pairs)
        self.join = nn.ModuleList(DoubleConv(2 * wide, wide) for _, wide in pairs)
        self.head = nn.Conv3d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits of the finest resolution."""
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        skips.pop()
        for rise, join in zip(self.rise, self.join, strict=True):
            x = join(torch.cat((rise(x), skips.pop()), dim=1))
        return self.head(x)  # type: ignore[no-any-return]


def count_parameters(network: nn.Module) -> int:
    """Returns the number of trainable numbers in the network."""
    return sum(parameter.numel() for parameter in network.parameters())


def time_passes(network: nn.Module, *, passes: int, patch: int = PATCH) -> list[float]:
    """Returns the seconds of each of `passes` forward passes, after one that does not count."""
    seconds = []
    with torch.inference_mode():
        x = torch.randn(1, 1, patch, patch, patch)
        network(x)
        for _ in range(passes):
            start = time.perf_counter()
            network(x)
            seconds.append(time.perf_counter() - start)
    return seconds


def size_scan(scan: Path) -> dict[str, list[int]]:
    """Returns the scan's shape, that of its nonzero part, and that at 1.5 mm (i, j, k)."""
    image: Any = SimpleITK.ReadImage(str(scan))
    cropped = crop_to_nonzero(SimpleITK.GetArrayViewFromImage(image))[::-1]
    resampled = resample_shape(cropped, image.GetSpacing(), SPACING_MM)
    return {"shape": list(image.GetSize()), "cropped": list(cropped), "resampled": list(resampled)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--passes", type=int, default=3, help="passes to time; 0 = one a patch")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes = size_scan(options.scan)
    patches = count_patches(sizes["resampled"])
    torch.manual_seed(0)
    network = UsualNetwork().eval()
    seconds = time_passes(network, passes=options.passes or patches)
    answer = {
        **sizes,
        "patches": patches,
        "parameters": count_parameters(network),
        "timed": len(seconds),
        "seconds_each": seconds,
        "seconds_all": extrapolate(seconds, patches),
        "torch": torch.__version__,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
