"""A scan and its mask in, deformed scans with their truth out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spinelab.errors import InputError, ModalityError, SpinelabError
from spinelab.io import check_ct, read, read_mask, verse, write_image, write_mask
from spinelab.io.outputs import OutputFolder, writing
from spinelab.measurement import measure
from spinelab.measurement.named_mask import spine_of_mask
from spinelab.report.before_after import write_before_after
from spinelab.simulate.changes import Finding
from spinelab.simulate.column import SourceColumn, find_source_column
from spinelab.simulate.deformation import Deformed, deform
from spinelab.simulate.deformity import (
    CurveRequest,
    Deformity,
    draw_deformity,
    read_deformity,
    request_to_dict,
)
from spinelab.simulate.radiograph import CORNERS, View, project
from spinelab.simulate.truth import spine_of_truth
from spinelab.spine import Spine
from spinelab.tasks.manifest import Stopwatch, run_manifest, stem_of
from spinelab.volume import Image, Mask

Modality = Literal["auto", "ct", "mr"]


@dataclass(frozen=True)
class SimulateOptions:
    """What to simulate.

    Attributes:
        curve: The curve wanted; without any wish the columns are drawn as they occur.
        angles: CSV file with angles a level, instead of a curve.
        findings: Collapses, slips and the like.
        count: How many scans to make.
        seed: Seed of the first; the next ones count up.
        modality: "ct", "mr" or "auto": CT where the voxels look like HU.
        sides_known: False where the file's left and right are not to be trusted.
        grow: Make the grid larger where vertebrae would leave it.
        radiograph: Write AP and lateral films too.
    """

    curve: CurveRequest = field(default_factory=CurveRequest)
    angles: Path | None = None
    findings: tuple[Finding, ...] = ()
    count: int = 1
    seed: int = 0
    modality: Modality = "auto"
    sides_known: bool = True
    grow: bool = False
    radiograph: bool = False


def simulate_files(
    scan: Path,
    mask: Path,
    out: Path,
    options: SimulateOptions,
    *,
    on_draw: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Deforms a scan and its mask `options.count` times and writes what comes out.

    For the n-th: ``STEM_000n_image.nii.gz``, ``_vert.nii.gz``, ``_ctd.json``, ``_truth.json``,
    ``_preview.png`` and with `radiograph` ``_ap.png``, ``_lateral.png``, ``_films.json``. At the end
    ``STEM_manifest.json`` lists them. Draws that cannot be had are named there and skipped, unless none can.

    Args:
        scan: CT or MR in any format `spinelab.read` takes.
        mask: VerSe numbers on its grid.
        out: Folder for the files; made if missing.
        options: What to simulate.
        on_draw: Called with draws done and wanted.

    Returns:
        The manifest.

    Raises:
        InputError: What was given cannot be read or simulated.
        OutputError: The folder cannot be written.
    """
    _check(options)
    watch = Stopwatch()
    with watch.stage("read"):
        image, labels, warnings = _read(scan, mask, options.modality)
    with watch.stage("column"):
        column = find_source_column(labels)
        before = (image, labels, measure(None, labels, spine_of_mask(labels)))
    stem = stem_of(scan)
    draws: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    for number in range(options.count):
        seed = options.seed + number
        try:
            with watch.stage("deform"):
                deformed = _simulate(image, labels, column, options, seed)
        except SpinelabError as error:
            if options.count == 1:
                raise
            skipped.append({"seed": seed, "reason": str(error)})
            continue
        with watch.stage("write"), OutputFolder(out) as folder:
            files = _write(folder, f"{stem}_{len(draws):04d}", before, deformed, options)
        draws.append({"seed": seed, "files": files, "cobb_deg": deformed.truth["cobb_deg"]})
        if on_draw is not None:
            on_draw(number + 1, options.count)
    if not draws:
        raise InputError(f"none of {options.count} draws could be had; the last: {skipped[-1]['reason']}")
    manifest = run_manifest(scan.resolve().name, _describe(options), watch, weights={})
    manifest |= {"simulated": True, "warnings": list(warnings), "draws": draws, "skipped": skipped}
    with OutputFolder(out) as folder:
        _write_json(manifest, folder.path(f"{stem}_manifest.json"))
    return manifest


def _check(options: SimulateOptions) -> None:
    if options.count < 1:
        raise InputError(f"a count of {options.count} was asked for; wanted at least 1")
    if options.curve.side is not None and not options.sides_known:
        raise InputError(
            "left and right are not known in this scan, so no side can be asked for; leave the side open"
        )
    if options.angles is not None and request_to_dict(options.curve):
        raise InputError("angles a level and a curve were both asked for; give one of them")


def _read(scan: Path, mask: Path, modality: Modality) -> tuple[Image, Mask, tuple[str, ...]]:
    image, labels = read(scan), read_mask(mask)
    if modality == "mr":
        return replace(image, modality="MR"), labels, ()
    try:
        checked = check_ct(image)
    except ModalityError:
        if modality == "ct":
            raise
        return replace(image, modality="MR"), labels, ()
    return replace(checked.image, modality="CT"), labels, checked.warnings


def _simulate(
    image: Image, labels: Mask, column: SourceColumn, options: SimulateOptions, seed: int
) -> Deformed:
    deformity: Deformity
    if options.angles is not None:
        deformity = read_deformity(options.angles, options.findings)
    elif options.findings and not request_to_dict(options.curve):
        deformity = Deformity(findings=options.findings)
    else:
        rng = np.random.default_rng(seed)
        deformity = draw_deformity(column, options.curve, rng, findings=options.findings)
    deformed = deform(image, labels, deformity, column=column, grow=options.grow)
    head = {"simulated": True, "seed": seed, "request": request_to_dict(options.curve)}
    truth: dict[str, Any] = head | deformed.truth
    if not options.sides_known:
        for curve in truth["cobb_deg"]:
            curve["convex"] = None
    return replace(deformed, truth=truth)


def _write(
    folder: OutputFolder,
    name: str,
    before: tuple[Image, Mask, Spine],
    deformed: Deformed,
    options: SimulateOptions,
) -> list[str]:
    """Writes the files of one draw and returns their names."""
    spine = spine_of_truth(deformed.truth)
    names = {key: f"{name}_{key}" for key in ("image.nii.gz", "vert.nii.gz", "ctd.json", "truth.json")}
    write_image(deformed.image, folder.path(names["image.nii.gz"]))
    write_mask(deformed.mask, folder.path(names["vert.nii.gz"]))
    verse.write_centroids(spine, deformed.image.geometry, folder.path(names["ctd.json"]))
    _write_json(deformed.truth, folder.path(names["truth.json"]))
    names["preview.png"] = f"{name}_preview.png"
    measured = measure(None, deformed.mask, spine_of_mask(deformed.mask))
    after = (deformed.image, deformed.mask, measured)
    write_before_after(before, after, folder.path(names["preview.png"]))
    if options.radiograph:
        names |= _write_films(folder, name, deformed)
    return list(names.values())


def _write_films(folder: OutputFolder, name: str, deformed: Deformed) -> dict[str, str]:
    """Writes AP and lateral films and their corner points."""
    names, films = {"films.json": f"{name}_films.json"}, {}
    views: tuple[View, ...] = ("ap", "lateral")
    for view in views:
        film = project(deformed.image, view)
        names[f"{view}.png"] = f"{name}_{view}.png"
        film.write(folder.path(names[f"{view}.png"]))
        corners = {
            entry["level"]: np.array([entry["corners_mm"][view][key] for key in CORNERS[view]])
            for entry in deformed.truth["vertebrae"]
            if view in entry.get("corners_mm", {})
        }
        films[view] = film.describe(corners)
    _write_json(films, folder.path(names["films.json"]))
    return names


def _write_json(data: Any, path: Path) -> None:
    with writing(path):
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _describe(options: SimulateOptions) -> dict[str, Any]:
    return {
        "curve": request_to_dict(options.curve),
        "angles": None if options.angles is None else options.angles.name,
        "findings": [finding.to_dict() for finding in options.findings],
        "count": options.count,
        "seed": options.seed,
        "modality": options.modality,
        "sides_known": options.sides_known,
        "grow": options.grow,
        "radiograph": options.radiograph,
    }


def parse_findings(kind: str, texts: Sequence[str]) -> tuple[Finding, ...]:
    """Parses findings as they are typed, such as ``L1:wedge:30`` for a collapse.

    Args:
        kind: "collapse" (LEVEL:SHAPE:PERCENT), "narrow" (LEVEL:PERCENT), "slip" (LEVEL:MM), "osteophytes"
            (LEVEL:MM) or "sclerosis" (LEVEL:DEPTH_MM:HU).
        texts: One for each.

    Raises:
        InputError: Not of that form.
    """
    from spinelab.simulate.collapse import Collapse
    from spinelab.simulate.degeneration import DiscNarrowing, EndplateSclerosis, Osteophytes, Slip

    makers: dict[str, tuple[str, Callable[..., Finding]]] = {
        "collapse": ("LEVEL:SHAPE:PERCENT", lambda a, b, c: Collapse(a, b, float(c))),
        "narrow": ("LEVEL:PERCENT", lambda a, b: DiscNarrowing(a, float(b))),
        "slip": ("LEVEL:MM", lambda a, b: Slip(a, float(b))),
        "osteophytes": ("LEVEL:MM", lambda a, b: Osteophytes(a, float(b))),
        "sclerosis": ("LEVEL:DEPTH_MM:HU", lambda a, b, c: EndplateSclerosis(a, float(b), float(c))),
    }
    form, make = makers[kind]
    found = []
    for text in texts:
        parts = text.split(":")
        if len(parts) != len(form.split(":")):
            raise InputError(f"--{kind} {text}: wanted {form}")
        try:
            found.append(make(*parts))
        except ValueError as error:
            raise InputError(f"--{kind} {text}: wanted {form} with numbers") from error
    return tuple(found)
