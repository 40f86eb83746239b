"""Height loss at thick slices as our networks read it: before and after the outlines are put onto the slices.

    SPINELAB_DATA=DATA python benchmarks/fracture_networks.py [--write docs/results.md]

Scans with outlines and thin slices that the networks never saw. One intact vertebra at a time is collapsed in
the scan itself (`spinelab.simulate`, 0 to 60 %), the scan is averaged to slices of 2.5 and 5 mm that begin
anywhere, and each vertebra is outlined by the shipped network at its true centre. Heights are then read from
the mask that `spinelab analyze` writes, and from the outlines it is drawn from. The truth is the share of its
own former height that the simulator took away.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fracture_geometry import (
    ROOT,
    SEEN,
    Answer,
    collapse_one,
    crop_to_column,
    grade_in,
    is_target,
    locate_sources,
    read,
    score,
)
from held_out import replace_section
from scipy import ndimage

import spinelab
from spinelab import models
from spinelab.measurement import find_column, measure
from spinelab.measurement.named_mask import spine_of_mask
from spinelab.models import Network
from spinelab.simulate.changes import Change, Site, find_site
from spinelab.spine import Spine
from spinelab.tasks.fracture import grade_fractures
from spinelab.tasks.frames import column_frames
from spinelab.tasks.outline import Canvas, outline_one
from spinelab.volume import Geometry, Image, Mask

SECTION = "fracture_networks"
#: Cases with scan, outlines and slices of about 1 mm that the shipped networks never saw.
CASES = ("verse_005",)
SLICES_MM = (2.5, 5.0)
#: What heights are read from: the mask on the scan's slices, or the outlines it is drawn from.
WAYS = ("mask", "outlines")
Answered = tuple[str, Answer]


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


def outline_levels(image: Image, network: Network, spine: Spine, levels: tuple[str, ...]) -> Canvas:
    """Outlines some vertebrae of a spine at their known centres."""
    centers = spine.centers_mm
    frames = column_frames(centers)
    canvas = Canvas(image.geometry)
    for place, vertebra in enumerate(spine.vertebrae):
        if vertebra.level in levels:
            others = np.delete(centers, place, axis=0)
            where = {"center_mm": centers[place], "frame": frames[place], "others_mm": others}
            canvas.add(outline_one(image, network, **where), vertebra.label)
    return canvas


def measure_both(canvas: Canvas, spine: Spine) -> dict[str, Spine]:
    """Measures what was outlined from the mask alone, and from the outlines it was drawn from."""
    mask = Mask(canvas.labels, canvas.geometry)
    found = (measure(None, mask, spine), measure(None, mask, spine, outlines=canvas.outlines))
    return dict(zip(WAYS, found, strict=True))


def read_case(name: str, data: Path, network: Network, bodies: int, seed: int) -> Iterator[Answered]:
    """Collapses intact bodies of one scan, one at a time; yields the way of reading and the answer."""
    rng = np.random.default_rng(seed)
    mask = crop_to_column(spinelab.read_mask(data / "ct" / f"{name}_vert.nii.gz"))
    image = _crop_to(spinelab.read(data / "ct" / f"{name}_ct.nii.gz"), mask)
    spine = spine_of_mask(mask)
    targets = [v.level for v in read(mask, spine).vertebrae if is_target(v.fracture)]
    intact = [level for level in targets if (name, level) not in SEEN]
    plain = {}
    for slice_mm in SLICES_MM:
        thick = average(image, slice_mm, float(rng.uniform(0, slice_mm)))
        plain[slice_mm] = measure_both(outline_levels(thick, network, spine, spine.levels), spine)
        for way in WAYS:
            for vertebra in grade_fractures(plain[slice_mm][way]).vertebrae:
                if vertebra.level in intact and vertebra.fracture is not None:
                    yield way, Answer(name, slice_mm, "none", 0.0, vertebra.fracture)
    column = find_column(mask, spine)
    for target in rng.permutation(intact)[:bodies]:
        site = find_site(column, str(target), image=image)
        for shape, _, truth, change in collapse_one(site, rng):
            carried = carry_image(image, site, change)
            for slice_mm in SLICES_MM:
                thick = average(carried, slice_mm, float(rng.uniform(0, slice_mm)))
                found = measure_both(outline_levels(thick, network, spine, (site.level,)), spine)
                for way in WAYS:
                    graded = grade_in(plain[slice_mm][way], found[way][site.level]).fracture
                    assert graded is not None
                    yield way, Answer(name, slice_mm, shape, truth, graded)


def _crop_to(image: Image, mask: Mask) -> Image:
    """Returns a scan cut to a mask's grid, which is a part of its own."""
    start = np.round(image.geometry.world_to_index(mask.geometry.index_to_world(np.zeros(3)))).astype(int)
    part = tuple(slice(a, a + n) for a, n in zip(start, mask.array.shape, strict=True))
    return Image(np.ascontiguousarray(image.array[part]), mask.geometry, "CT")


def render(answers: list[Answered]) -> list[str]:
    """Returns the table by slices and ways."""
    lines = [
        "| slices mm | heights from | bodies (refused) | error of the loss, points (bias) "
        "| of collapsed alone | kappa of grades | sensitivity, specificity of grade 2+ | in 90 % interval |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for slice_mm in SLICES_MM:
        for way in WAYS:
            rows = [answer for w, answer in answers if (w, answer.slice_mm) == (way, slice_mm)]
            s, alone = score(rows), score([a for a in rows if a.shape != "none"])
            both = ", ".join("-" if v is None else f"{v:.2f}" for v in (s.sensitivity, s.specificity))
            lines.append(
                f"| {slice_mm} | {way} | {s.bodies} ({s.refused}) | {s.error_percent:.1f} "
                f"({s.bias_percent:+.1f}) | {alone.error_percent:.1f} ({alone.bias_percent:+.1f}) "
                f"| {s.kappa:.2f} | {both} | {s.covered:.2f} |"
            )
    return lines


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="page with markers of the section")
    parser.add_argument("--bodies", type=int, default=2, help="bodies of a case that are collapsed")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("SPINELAB_DATA", ROOT.parent / "shared" / "data"))
    )
    arguments = parser.parse_args()
    network = models.load("outline", threads=1)
    answers: list[Answered] = []
    for name in CASES:
        answers += read_case(name, arguments.data, network, arguments.bodies, arguments.seed)
        print(name, len(answers), flush=True)
    text = "\n".join(render(answers)) + "\n"
    print(text)
    if arguments.write is not None:
        replace_section(arguments.write, SECTION, text)


if __name__ == "__main__":
    main()
