"""A scan and its mask in, deformed scans with their truth out."""

import json
from collections.abc import Callable
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
from spinelab.simulate.collapse import Collapse
from spinelab.simulate.column import SourceColumn, find_source_column
from spinelab.simulate.deformation import Deformed, deform, settle
from spinelab.simulate.deformity import (
    CurveRequest,
    Deformity,
    draw_deformity,
    read_deformity,
    request_to_dict,
)
from spinelab.simulate.degeneration import DiscNarrowing, EndplateSclerosis, Osteophytes, Slip
from spinelab.simulate.radiograph import CORNERS, View, project
from spinelab.simulate.truth import spine_of_truth
from spinelab.spine import Spine
from spinelab.tasks.manifest import Stopwatch, run_manifest, stem_of
from spinelab.volume import Image, Mask

Modality = Literal["auto", "ct", "mr"]
#: Levels of which two endplates are never read.
NEVER_TWO_ENDPLATES = ("C1", "C2", "S")


@dataclass(frozen=True)
class TypedFindings:
    """Findings as they are typed, such as ``L1:wedge:30`` for a collapse; each may be given several times.

    Attributes:
        collapse: LEVEL:wedge, LEVEL:biconcave or LEVEL:crush, then :PERCENT of height lost.
        slip: LEVEL:MM the vertebra slips forward on the one below.
        narrow: LEVEL:PERCENT of the height lost by the disc below.
        osteophytes: LEVEL:MM of the rims' growth.
        sclerosis: LEVEL:DEPTH_MM:HU below the endplates.

    Raises:
        InputError: Not of that form.
    """

    collapse: tuple[str, ...] = ()
    slip: tuple[str, ...] = ()
    narrow: tuple[str, ...] = ()
    osteophytes: tuple[str, ...] = ()
    sclerosis: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.parse()

    def parse(self) -> tuple[Finding, ...]:
        """Returns the findings that were typed."""
        makers: dict[str, tuple[str, Callable[..., Finding]]] = {
            "collapse": ("LEVEL:SHAPE:PERCENT", lambda a, b, c: Collapse(a, b, float(c))),
            "slip": ("LEVEL:MM", lambda a, b: Slip(a, float(b))),
            "narrow": ("LEVEL:PERCENT", lambda a, b: DiscNarrowing(a, float(b))),
            "osteophytes": ("LEVEL:MM", lambda a, b: Osteophytes(a, float(b))),
            "sclerosis": ("LEVEL:DEPTH_MM:HU", lambda a, b, c: EndplateSclerosis(a, float(b), float(c))),
        }
        found = []
        for kind, (form, make) in makers.items():
            for text in getattr(self, kind):
                parts = text.split(":")
                if len(parts) != len(form.split(":")):
                    raise InputError(f"--{kind} {text}: wanted {form}")
                try:
                    found.append(make(*parts))
                except ValueError as error:
                    raise InputError(f"--{kind} {text}: wanted {form} with numbers") from error
        return tuple(found)


@dataclass(frozen=True)
class SimulateOptions:
    """What to simulate.

    Attributes:
        curve: The curve wanted; without any wish the columns are drawn as they occur.
        angles: CSV file with level and coronal_deg, sagittal_deg, axial_deg to add, instead of a curve.
        findings: Collapses, slips and the like.
        count: How many scans to make.
        seed: Seed of the first; the next ones count up.
        modality: ct, mr or auto: CT where the voxels look like HU.
        unknown_sides: Left and right of the scan are not to be trusted.
        grow: Enlarge the grid so that no vertebra leaves it.
        radiograph: Write AP and lateral films with corner points too.
    """

    curve: CurveRequest = field(default_factory=CurveRequest)
    angles: Path | None = None
    findings: TypedFindings = field(default_factory=TypedFindings)
    count: int = 1
    seed: int = 0
    modality: Modality = "auto"
    unknown_sides: bool = False
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
    if options.curve.side is not None and options.unknown_sides:
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
    findings = options.findings.parse()
    if options.angles is not None:
        deformity = read_deformity(options.angles, findings)
    elif findings and not request_to_dict(options.curve):
        deformity = Deformity(findings=findings)
    else:
        rng = np.random.default_rng(seed)
        settled = settle(image, column, findings)
        deformity = draw_deformity(settled, options.curve, rng, findings=findings)
    deformed = deform(image, labels, deformity, column=column, grow=options.grow)
    head = {"simulated": True, "seed": seed, "request": request_to_dict(options.curve)}
    truth: dict[str, Any] = head | deformed.truth
    if options.unknown_sides:
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
    after = (deformed.image, deformed.mask, measure_whole(deformed.mask, deformed.truth))
    write_before_after(before, after, folder.path(names["preview.png"]))
    if options.radiograph:
        names |= _write_films(folder, name, deformed)
    return list(names.values())


def measure_whole(mask: Mask, truth: dict[str, Any]) -> Spine:
    """Returns the vertebrae of a deformed mask, those measured whose body the scan shows whole.

    The flat end of a body that the scan cuts comes to lie inside the deformed one, where it would be taken
    for an endplate.

    Args:
        mask: (i, j, k) VerSe numbers.
        truth: Of the deformation.
    """
    cut = [
        entry["label"]
        for entry in truth["vertebrae"]
        if len(entry["endplates"]) < 2 and entry["level"] not in NEVER_TWO_ENDPLATES
    ]
    whole = replace(mask, array=np.where(np.isin(mask.array, cut), 0, mask.array))
    measured = measure(None, whole, spine_of_mask(whole))
    known = {vertebra.level: vertebra for vertebra in measured.vertebrae}
    complete = {entry["level"] for entry in truth["vertebrae"] if entry["complete"]}
    found = (known.get(v.level, v) for v in spine_of_mask(mask).vertebrae)
    vertebrae = tuple(replace(v, complete=v.complete and v.level in complete) for v in found)
    return replace(measured, vertebrae=vertebrae)


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
        "findings": [finding.to_dict() for finding in options.findings.parse()],
        "count": options.count,
        "seed": options.seed,
        "modality": options.modality,
        "sides_known": not options.unknown_sides,
        "grow": options.grow,
        "radiograph": options.radiograph,
    }
