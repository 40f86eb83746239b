"""Scoring files against files: one scan, or two folders matched by stem."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spinelab.errors import InputError
from spinelab.evaluation import EvaluateOptions, Reading, ScanScores, Summary, evaluate, summarize
from spinelab.io import read_mask, read_spine, verse
from spinelab.io.spine_json import read_json
from spinelab.spine import Point, Spine
from spinelab.volume import Geometry, Mask

_MASKS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
#: Centroid files may list discs too, as 100 + the label above; they are not scored.
_FIRST_DISC = 100
#: What is cut from a file's name, longest first, to find the case it belongs to.
_TAGS = (
    "_seg-subreg_ctd",
    "_seg-vert_msk",
    "_seg-vert_ctd",
    "_seg-vb_ctd",
    "_centroids",
    "_dseg",
    "_mask",
    "_spine",
    "_vert",
    "_ctd",
    "_msk",
    "_seg",
)


@dataclass(frozen=True)
class CaseFiles:
    """The files of one reading; what is not there is None.

    Attributes:
        mask: VerSe numbers.
        centers: VerSe centroid file or a spine.json of spinelab.
    """

    mask: Path | None = None
    centers: Path | None = None


@dataclass(frozen=True)
class Evaluation:
    """Two sets of readings compared.

    Attributes:
        summary: Pooled figures and every scan's scores.
        missing: Cases of the reference without a prediction; each counts as a scan with everything missed.
        ignored: Predictions without a reference.
    """

    summary: Summary
    missing: tuple[str, ...]
    ignored: tuple[str, ...]


def evaluate_files(
    reference: Path,
    prediction: Path,
    *,
    options: EvaluateOptions = EvaluateOptions(),  # noqa: B008 frozen
    progress: Callable[[str, float], None] | None = None,
) -> Evaluation:
    """Scores a file against a file, or a folder against a folder, cases matched by stem.

    A mask is a NIfTI, NRRD or MHA file of VerSe numbers; centres are a ``_ctd.json`` or a ``_spine.json``.
    Files that share a stem (``case_vert.nii.gz``, ``case_ctd.json``) are one case. Where only one side has a
    file of centres but both have masks, the centres of both are those of the whole labels, so that equals
    are compared.

    Raises:
        InputError: Nothing to compare, or a file cannot be used (with its subclasses).
    """
    ours, theirs = list_cases(reference), list_cases(prediction)
    if reference.is_file() and prediction.is_file():
        theirs = dict(zip(ours, theirs.values(), strict=True))
    if not set(ours) & set(theirs):
        raise InputError(
            f"no case of {reference} ({', '.join(list(ours)[:3])} ...) has a prediction in {prediction} "
            f"({', '.join(list(theirs)[:3])} ...); name files alike, such as case_vert.nii.gz"
        )
    scans: list[ScanScores] = []
    for done, (name, files) in enumerate(ours.items()):
        if progress:
            progress("evaluate", done / len(ours))
        scans.append(_score(name, files, theirs.get(name, CaseFiles()), options))
    missing = tuple(name for name in ours if name not in theirs)
    ignored = tuple(name for name in theirs if name not in ours)
    return Evaluation(summarize(scans, options=options), missing, ignored)


def list_cases(path: Path) -> dict[str, CaseFiles]:
    """Returns the cases at a path, by stem: those of a folder and the folders in it, or the one of a file.

    Raises:
        InputError: There is nothing there, or two files could be the same case's mask or centres.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give a file or a folder of masks or centroid files")
    files = [path] if path.is_file() else sorted(entry for entry in path.rglob("*") if entry.is_file())
    cases: dict[str, CaseFiles] = {}
    for file in files:
        found = _kind(file)
        if found is None:
            continue
        kind, stem = found
        cases[stem] = _add(cases.get(stem, CaseFiles()), kind, file)
    if not cases:
        raise InputError(
            f"{path} holds no mask and no centroid file; wanted names such as case_vert.nii.gz, case_ctd.json"
        )
    return cases


def _kind(file: Path) -> tuple[str, str] | None:
    """Returns ("mask" or "centers", stem) of a file that can be scored; None for others, such as scans."""
    name = file.name
    ending = next((e for e in (*_MASKS, ".json") if name.lower().endswith(e)), None)
    if ending is None or name.endswith((".seg.nrrd", "_ct.nii.gz")):
        return None
    stem = name[: -len(ending)]
    tag = next((tag for tag in _TAGS if stem.endswith(tag)), "")
    return ("centers" if ending == ".json" else "mask"), stem.removesuffix(tag)


def _add(case: CaseFiles, kind: str, file: Path) -> CaseFiles:
    old = case.mask if kind == "mask" else case.centers
    if kind == "mask":
        if old is not None:
            raise InputError(f"{old} and {file} are both masks of one case; keep one of them in the folder")
        return CaseFiles(file, case.centers)
    if old is not None and {old.stem[-6:], file.stem[-6:]} & {"_spine"} and old.parent == file.parent:
        return CaseFiles(case.mask, old if old.stem.endswith("_spine") else file)
    if old is not None:
        raise InputError(f"{old} and {file} both hold centres of one case; keep one of them in the folder")
    return CaseFiles(case.mask, file)


def _score(name: str, ours: CaseFiles, theirs: CaseFiles, options: EvaluateOptions) -> ScanScores:
    masks = tuple(read_mask(files.mask) if files.mask else None for files in (ours, theirs))
    if theirs == CaseFiles() and masks[0] is not None:  # no prediction at all: everything is missed
        masks = (masks[0], Mask(np.zeros_like(masks[0].array), masks[0].geometry))
    geometry = next((mask.geometry for mask in masks if mask is not None), None)
    of_masks = all(masks) and None in (ours.centers, theirs.centers)
    readings = tuple(
        _reading(None if of_masks else files.centers, mask, geometry)
        for files, mask in zip((ours, theirs), masks, strict=True)
    )
    return evaluate(readings[0], readings[1], name=name, options=options)


def _reading(centers: Path | None, mask: Mask | None, geometry: Geometry | None) -> Reading:
    found: dict[int, Point] | None = None
    cut: frozenset[int] = frozenset()
    if centers is not None:
        spine = _read_spine(centers)
        if spine is not None:
            found = {vertebra.label: vertebra.center_mm for vertebra in spine.vertebrae}
            cut = frozenset(vertebra.label for vertebra in spine.vertebrae if not vertebra.complete)
        else:
            points = verse.read_centroids(centers, _needed(geometry, centers))
            found = {label: point for label, point in points.items() if label < _FIRST_DISC}
    if mask is None:
        return Reading(found or {}, partial=cut)
    reading = Reading.of_mask(mask, found)
    return Reading(reading.centers_mm, mask, reading.partial | cut)


def _read_spine(path: Path) -> Spine | None:
    """Reads a spine.json; None when the file is a list, as VerSe centroids are."""
    return None if isinstance(read_json(path), list) else read_spine(path)


def _needed(geometry: Geometry | None, path: Path) -> Geometry:
    if geometry is None:
        raise InputError(
            f"{path} counts in voxels, and no mask beside it tells where they are; "
            "put the case's mask beside it, or give a _spine.json"
        )
    return geometry
