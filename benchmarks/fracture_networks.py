"""Heights of our networks' outlines at thick slices: before and after they are put onto the slices.

    SPINELAB_DATA=DATA python benchmarks/fracture_networks.py [--write docs/results.md]

Scans with outlines and thin slices that the networks never saw. One whole body at a time is collapsed in the
scan itself (`spinelab.simulate`, 0 to 60 %), the scan is averaged to slices of 2.5 and 5 mm that begin
anywhere, and the vertebra and its neighbours are outlined by the shipped network at their true centres.
Heights are read from the mask that `spinelab analyze` writes, and from the outlines it is drawn from, as
`analyze` reads them. The truth are the heights of the hand-drawn outline at thin slices as the simulator
changed them. Losses are not graded: such a scan shows too few whole bodies to compare with.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from fracture_geometry import ROOT, collapse_one, crop_to_column, locate_sources
from held_out import replace_section
from scipy import ndimage

import spinelab
from spinelab import models
from spinelab.measurement import find_column, measure
from spinelab.measurement.named_mask import spine_of_mask
from spinelab.models import Network
from spinelab.simulate.changes import Change, Site, find_site
from spinelab.simulate.prediction import predict_heights
from spinelab.spine import Heights, Spine
from spinelab.tasks.frames import column_frames
from spinelab.tasks.outline import Canvas, outline_one
from spinelab.volume import Geometry, Image, Mask

SECTION = "fracture_networks"
#: Cases with scan, outlines and slices of about 1 mm that the shipped networks never saw.
CASES = ("verse_005",)
SLICES_MM = (2.5, 5.0)
#: What heights are read from: the mask on the scan's slices, or the outlines it is drawn from.
WAYS = ("mask", "outlines")
HEIGHTS = ("anterior", "middle", "posterior")
#: Of the three heights, mm; None where one was not readable.
Errors = tuple[float, ...] | None


@dataclass(frozen=True)
class Answer:
    """One body read one way.

    Attributes:
        way: One of `WAYS`.
        slice_mm: Distance of the slices.
        collapsed: Whether it was.
        errors_mm: Of its heights.
    """

    way: str
    slice_mm: float
    collapsed: bool
    errors_mm: Errors


def carry_image(image: Image, site: Site, change: Change) -> Image:
    """Returns a scan after a change; the vertebrae above stay, as `fracture_geometry.carry` leaves a mask."""
    voxels, source = locate_sources(image.geometry, site, change)
    index = image.geometry.world_to_index(site.body.grid.to_world(source))
    values = ndimage.map_coordinates(image.array.astype(np.float32), index.T, order=1, mode="nearest")
    for shade in change.shades:
        values = shade(values, source, "CT")
    array = image.array.copy()
    array[tuple(voxels.T)] = np.round(values).astype(array.dtype)
    return Image(array, image.geometry, "CT")


def average(image: Image, slice_mm: float, begin_mm: float) -> Image:
    """Returns a scan with slices of a thickness head to foot, each the mean of what lies in it."""
    image = image.reoriented("LPS")
    own = image.spacing_mm[2]
    wide, begin = slice_mm / own, begin_mm / own
    count = int((image.array.shape[2] - begin) // wide)
    sums = np.cumsum(np.pad(image.array.astype(float), ((0, 0), (0, 0), (1, 0))), axis=2)
    edges = begin + wide * np.arange(count + 1)
    low = np.minimum(edges.astype(int), sums.shape[2] - 2)
    at_edges = sums[..., low] + (edges - low) * (sums[..., low + 1] - sums[..., low])
    affine = image.geometry.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (begin + wide / 2 - 0.5)
    affine[:3, 2] *= wide
    array = np.round(np.diff(at_edges, axis=2) / wide).astype(np.int16)
    return Image(array, Geometry((array.shape[0], array.shape[1], array.shape[2]), affine), "CT")


def outline_levels(image: Image, network: Network, spine: Spine, level: str) -> Canvas:
    """Outlines one vertebra of a spine and its neighbours at their known centres."""
    centers, place = spine.centers_mm, spine.levels.index(level)
    frames = column_frames(centers)
    canvas = Canvas(image.geometry)
    for near in range(max(0, place - 1), min(len(centers), place + 2)):
        patch = outline_one(
            image,
            network,
            center_mm=centers[near],
            frame=frames[near],
            others_mm=np.delete(centers, near, axis=0),
        )
        canvas.add(patch, spine.vertebrae[near].label)
    return canvas


def read_both(canvas: Canvas, spine: Spine, level: str, truth: Heights) -> Iterator[tuple[str, Errors]]:
    """Yields way and errors of the heights read from the mask alone, and from the outline."""
    mask = Mask(canvas.labels, canvas.geometry)
    for way, outlines in zip(WAYS, ({}, canvas.outlines), strict=True):
        found = measure(None, mask, spine, outlines=outlines)[level].heights_mm
        values = [None if found is None else getattr(found, name) for name in HEIGHTS]
        pairs = [(v, getattr(truth, name)) for v, name in zip(values, HEIGHTS, strict=True) if v is not None]
        yield way, tuple(v - t for v, t in pairs) if len(pairs) == len(HEIGHTS) else None


def read_case(name: str, data: Path, network: Network, draws: int, seed: int) -> Iterator[Answer]:
    """Collapses the whole bodies of one scan, one at a time, and reads them at thick slices."""
    rng = np.random.default_rng(seed)
    mask = crop_to_column(spinelab.read_mask(data / "ct" / f"{name}_vert.nii.gz"))
    image = _crop_to(spinelab.read(data / "ct" / f"{name}_ct.nii.gz"), mask)
    spine = spine_of_mask(mask)
    column = find_column(mask, spine)
    for level in [v.level for v in column.vertebrae if v.complete]:
        site = find_site(column, level, image=image)
        altered = [(True, change) for _, _, _, change in collapse_one(site, rng)]
        for collapsed, change in [(False, Change(level)), *altered]:
            carried = carry_image(image, site, change) if collapsed else image
            truth = predict_heights(site.body, change)
            for slice_mm in np.repeat(SLICES_MM, draws):
                thick = average(carried, float(slice_mm), float(rng.uniform(0, slice_mm)))
                canvas = outline_levels(thick, network, spine, level)
                for way, errors in read_both(canvas, spine, level, truth):
                    yield Answer(way, float(slice_mm), collapsed, errors)


def _crop_to(image: Image, mask: Mask) -> Image:
    """Returns a scan cut to a mask's grid, which is a part of its own."""
    start = np.round(image.geometry.world_to_index(mask.geometry.index_to_world(np.zeros(3)))).astype(int)
    part = tuple(slice(a, a + n) for a, n in zip(start, mask.array.shape, strict=True))
    return Image(np.ascontiguousarray(image.array[part]), mask.geometry, "CT")


def render(answers: list[Answer]) -> list[str]:
    """Returns the table by slices and ways."""
    lines = [
        "| slices mm | bodies | heights from | read (not readable) | error mm: half of the heights below "
        "| 90 % below | median of the signed errors: anterior, middle, posterior |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for slice_mm, collapsed in product(SLICES_MM, (False, True)):
        for way in WAYS:
            wanted = (way, slice_mm, collapsed)
            rows = [a for a in answers if (a.way, a.slice_mm, a.collapsed) == wanted]
            errors = np.array([a.errors_mm for a in rows if a.errors_mm is not None])
            bias = ", ".join(f"{value:+.1f}" for value in np.median(errors, axis=0))
            half, most = np.percentile(np.abs(errors), (50, 90))
            lines.append(
                f"| {slice_mm} | {'collapsed' if collapsed else 'unaltered'} | {way} "
                f"| {len(errors)} ({len(rows) - len(errors)}) | {half:.1f} | {most:.1f} | {bias} |"
            )
    return lines


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="page with markers of the section")
    parser.add_argument("--draws", type=int, default=1, help="times each is sliced anew")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("SPINELAB_DATA", ROOT.parent / "shared" / "data"))
    )
    arguments = parser.parse_args()
    network = models.load("outline", threads=1)
    answers: list[Answer] = []
    for name in CASES:
        answers += read_case(name, arguments.data, network, arguments.draws, arguments.seed)
        print(name, len(answers), flush=True)
    text = "\n".join(render(answers)) + "\n"
    print(text)
    if arguments.write is not None:
        replace_section(arguments.write, SECTION, text)


if __name__ == "__main__":
    main()
