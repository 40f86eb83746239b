"""Score the disc centres of `spinelab locate` on the persons whose discs were drawn, and write a section.

    python benchmarks/mr_discs.py [--data shared/data/mr] [--weights RUN] [--write docs/results.md]

References are the centroids of the drawn discs (lumbar_discs, Menezes-Reis 2016) in the 8 mm about their own
middle from left to right; distances are those in the sagittal plane. Nothing was trained on these drawings.
"""

import argparse
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
from held_out import replace_section
from numpy.typing import NDArray

import spinelab
from spinelab.anatomy import level
from spinelab.errors import InputError
from spinelab.spine import Disc
from spinelab.tasks.landmarks import LocateOptions, locate
from spinelab.volume import Mask

ROOT = Path(__file__).parents[1]
LEVELS = ("L1", "L2", "L3", "L4", "L5")
_HALF_SLAB_MM = 4.0
#: VerSe numbers a disc by the vertebra above it.
_DISC = 100


def find_middle(mask: Mask, above: str) -> NDArray[np.float64] | None:
    """Returns the middle (3,) of a drawn disc near the midline, LPS mm; None where it was not drawn."""
    points = mask.geometry.index_to_world(np.argwhere(mask.array == _DISC + level(above).label))
    if not len(points):
        return None
    near = np.abs(points[:, 0] - points[:, 0].mean()) < _HALF_SLAB_MM
    return np.asarray(points[near].mean(axis=0), np.float64)


def compare(disc: Disc, middle: NDArray[np.float64]) -> tuple[float, bool]:
    """Returns how far a disc is off in the sagittal plane, and whether that is within its 95 % circle."""
    off = float(np.linalg.norm((np.array(disc.center_mm) - middle)[1:]))
    return off, off <= 2.45 * disc.sd_mm


def score(data: Path, options: LocateOptions) -> tuple[dict[str, list[tuple[float, bool]]], int, int]:
    """Returns the comparisons by level above, how many discs were drawn, and in how many persons."""
    found: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    drawn = persons = 0
    for labels in sorted(data.glob("*_discs.nii.gz")):
        mask = spinelab.read_mask(labels)
        middles = {name: find_middle(mask, name) for name in LEVELS}
        drawn += sum(middle is not None for middle in middles.values())
        persons += 1
        scan = labels.with_name(labels.name.replace("discs.nii", "t2.nii"))
        try:
            spine = locate(spinelab.read(scan), options)
        except InputError:
            continue
        for disc in spine.discs:
            middle = middles.get(disc.above)
            if middle is not None:
                found[disc.above].append(compare(disc, middle))
    return found, drawn, persons


def render(found: dict[str, list[tuple[float, bool]]], drawn: int, persons: int) -> str:
    """Returns the Markdown section."""
    every = [one for some in found.values() for one in some]
    rows = [(f"{name}/{'S1' if name == 'L5' else f'L{int(name[1]) + 1}'}", found[name]) for name in LEVELS]
    lines = [
        f"{persons} persons, {drawn} discs drawn, {len(every)} of them marked under their names.",
        "",
        "| disc | n | mean distance mm | largest | within the 95 % circle told |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for title, some in [*rows, ("all", every)]:
        gaps = [gap for gap, _ in some] or [np.nan]
        within = sum(inside for _, inside in some)
        cells = [
            title,
            str(len(some)),
            f"{np.mean(gaps):.1f}",
            f"{np.max(gaps):.1f}",
            f"{within}/{len(some)}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Reads the arguments and scores."""
    parser = argparse.ArgumentParser(description="Score the disc centres of spinelab locate.")
    default = Path(os.environ.get("SPINELAB_DATA", ROOT.parent / "shared" / "data")) / "mr"
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    text = render(*score(arguments.data, LocateOptions(weights=arguments.weights, threads=1)))
    print(text)
    if arguments.write:
        replace_section(arguments.write, "mr_discs", text)


if __name__ == "__main__":
    main()
