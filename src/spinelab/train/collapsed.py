"""Columns whose bodies collapse, as the networks learn them: bent at random, what was lost known exactly.

`prepare_collapsed` keeps whole columns for the outline network; `spinelab.train.fracture_draws` cuts the
bodies of the fracture network out of others.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from spinelab.anatomy import level
from spinelab.errors import SpinelabError
from spinelab.io import check_ct, read, write_mask
from spinelab.measurement import measure
from spinelab.measurement.named_mask import spine_of_mask
from spinelab.simulate.changes import find_site
from spinelab.simulate.collapse import Collapse, Shape
from spinelab.simulate.column import SourceColumn, find_source_column
from spinelab.simulate.curve_shapes import Severity
from spinelab.simulate.deformation import Deformed, deform
from spinelab.simulate.deformity import CurveRequest, Deformity, draw_deformity
from spinelab.spine import Spine, Vertebra
from spinelab.tasks.fracture import grade_fractures
from spinelab.train import augment
from spinelab.train.cases import SACRUM, Case
from spinelab.train.prepare import Prepared, body_centers, keep_prepared, open_prepared
from spinelab.volume import Geometry, Image, Mask

#: Room left around the outlines of a column, mm along x, y and z.
ROOM_MM = (15.0, 30.0, 60.0)
#: By how much bodies collapse, per cent.
LOSS_PERCENT = (5.0, 65.0)
#: A body is drawn as intact where geometry gives less than this probability.
INTACT_BELOW = 0.05
#: How many draws leave a collapsed body no denser than it was, so that density is not taken for collapse.
NOT_DENSER = 0.5
#: How many of the intact bodies of a column collapse.
SHARE = 0.5
#: How often a column is drawn anew where what was drawn would fold.
TRIES = 6
_SEVERITIES: tuple[Severity, ...] = ("none", "none", "mild", "moderate")


@dataclass(frozen=True, eq=False)
class Scan:
    """A column to draw from.

    Attributes:
        name: The case.
        image: CT, or the paint classes of a label map.
        painted: Whether the image must be painted.
        mask: VerSe numbers on its grid.
        column: Bodies, frames and endplates.
        found: Measured and graded by geometry, as it is.
        intact: Levels that show nothing lost.
    """

    name: str
    image: Image
    painted: bool
    mask: Mask
    column: SourceColumn
    found: Spine
    intact: frozenset[str]


def open_scan(prepared: Prepared) -> Scan | None:
    """Crops a prepared case to its column and grades it; None where fewer than two bodies show."""
    spacing = prepared.spacing_mm
    used = np.argwhere(prepared.vertebrae > 0)
    room = np.ceil(np.array(ROOM_MM) / spacing).astype(int)
    start = np.maximum(used.min(axis=0) - room, 0)
    stop = np.minimum(used.max(axis=0) + room + 1, prepared.vertebrae.shape)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    whole = Geometry.from_spacing(prepared.vertebrae.shape, [float(s) for s in spacing])
    geometry = whole.cropped(start.tolist(), stop.tolist())
    mask = Mask(np.ascontiguousarray(prepared.vertebrae[box]), geometry)
    image = Image(np.ascontiguousarray(prepared.image[box]).astype(np.int16), geometry, modality="CT")
    try:
        column = find_source_column(mask)
    except SpinelabError:
        return None
    found = grade_fractures(measure(None, mask, spine_of_mask(mask)))
    intact = frozenset(v.level for v in found.vertebrae if _is_intact(v))
    return Scan(prepared.name, image, prepared.painted, mask, column, found, intact)


def _is_intact(vertebra: Vertebra) -> bool:
    found = vertebra.fracture
    if found is None or not found.evaluable or found.probability is None:
        return False
    return found.genant_grade == 0 and found.probability < INTACT_BELOW


def paint_scan(scan: Scan, rng: np.random.Generator) -> Scan:
    """Returns a scan with an image: that of a label map is painted."""
    if not scan.painted:
        return scan
    torch.manual_seed(int(rng.integers(2**31)))
    painted = augment.paint(torch.from_numpy(scan.image.array)[None], rng)[0].numpy()
    array = np.round(painted).astype(np.int16)
    return replace(scan, painted=False, image=replace(scan.image, array=array))


def draw_column(scan: Scan, rng: np.random.Generator, share: float) -> tuple[Deformed, dict[str, str]]:
    """Bends a column at random and collapses some of its intact bodies; returns level -> shape too.

    Raises:
        SpinelabError: Everything that was drawn would fold tissue.
    """
    for _ in range(TRIES - 1):
        try:
            return _draw_once(scan, rng, share)
        except SpinelabError:
            continue
    return _draw_once(scan, rng, share)


def _draw_once(scan: Scan, rng: np.random.Generator, share: float) -> tuple[Deformed, dict[str, str]]:
    findings = []
    for name in scan.column.levels:
        if name not in scan.intact or rng.random() > share:
            continue
        shape = str(rng.choice(get_args(Shape)))
        endplate = None if shape != "wedge" else str(rng.choice(["superior", "superior", "inferior", "both"]))
        wanted = Collapse(name, shape, float(rng.uniform(*LOSS_PERCENT)), endplate)  # type: ignore[arg-type]
        try:
            wanted.fit(find_site(scan.column.found, name))
        except SpinelabError:
            continue  # lower than that by nature, or would fold
        findings.append(wanted)
    shapes = {finding.level: str(finding.shape) for finding in findings}
    image = scan.image if rng.random() > NOT_DENSER else replace(scan.image, modality="unknown")
    severity = _SEVERITIES[int(rng.integers(len(_SEVERITIES)))]
    request = CurveRequest(severity=severity, posture=float(rng.uniform(0, 0.6)))
    try:
        bent = draw_deformity(scan.column, request, rng, findings=findings)
        return deform(image, scan.mask, bent, column=scan.column), shapes
    except SpinelabError:  # the discs in view do not allow such a curve
        straight = Deformity(findings=tuple(findings))
        return deform(image, scan.mask, straight, column=scan.column), shapes


def prepare_collapsed(case: Prepared, cache: Path, *, draws: int, seed: int) -> Iterator[Prepared]:
    """Yields drawn columns of a case with outlines, bent and some of their bodies collapsed.

    Every draw depends on the seed, the case's name and its own number alone. What is in the cache already is
    only read. A case without two bodies, or without an intact one, gives none.

    Args:
        case: As scanned, with a mask; painted ones are painted once a draw.
        cache: Folder for ``NAME_collapsedN_SEED.npz``.
        draws: How many.
        seed: Of all draws.
    """
    scan: Scan | None = None
    for draw in range(draws):
        target = cache / f"{case.name}_collapsed{draw}_{seed}.npz"
        if not target.exists():
            scan = open_scan(case) if scan is None else scan
            if scan is None or not scan.intact:
                return
            drawn = _draw(scan, np.random.default_rng([seed, zlib.crc32(case.name.encode()), draw]))
            if drawn is None:
                continue
            keep_prepared(drawn, target)
        yield open_prepared(target)


def outline_case(case: Case, folder: Path, *, threads: int) -> Case:
    """Returns a case with the outlines the shipped networks give it, kept in a folder."""
    from spinelab.tasks.segment import SegmentOptions, segment

    path = folder / f"{case.name}_vert.nii.gz"
    if not path.exists():
        assert case.image is not None
        found = segment(check_ct(read(case.image)).image, SegmentOptions(threads=threads))
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"part_{path.name}"
        write_mask(found.mask, partial)
        partial.replace(path)
    return replace(case, vertebrae=path)


def _draw(scan: Scan, rng: np.random.Generator) -> Prepared | None:
    scan = paint_scan(scan, rng)
    try:
        deformed, _ = draw_column(scan, rng, SHARE)
    except SpinelabError:
        return None
    return _as_prepared(scan.name, deformed)


def _as_prepared(name: str, deformed: Deformed) -> Prepared:
    grid = deformed.image.geometry
    points = {
        level(entry["level"]).label: entry["center_mm"]
        for entry in deformed.truth["vertebrae"]
        if entry["in_view"] and entry["level"] != "S"
    }
    sacrum = replace(deformed.mask, array=np.where(deformed.mask.array == SACRUM, SACRUM, 0).astype(np.uint8))
    points |= body_centers(sacrum)
    centers = np.array(list(points.values()), dtype=np.float64).reshape(-1, 3)
    return Prepared(
        name=name,
        image=np.ascontiguousarray(deformed.image.array).astype(np.int16),
        painted=False,
        vertebrae=np.ascontiguousarray(deformed.mask.array).astype(np.uint8),
        tissue=np.zeros((0, 0, 0), np.uint8),
        spacing_mm=np.array(grid.spacing_mm),
        centers=np.asarray(grid.world_to_index(centers), np.float64),
        labels=np.array(list(points), dtype=np.int64),
        named=False,
    )
