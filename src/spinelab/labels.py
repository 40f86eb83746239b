"""Label schemes of other tools, and conversions between them that lose nothing silently.

A scheme is a table from label number to structure. A structure is a level name of `anatomy`
("T7", "S"), "S1", "disc T7" (the disc below T7), "partial T7" (a vertebra cut by the field of view),
"canal" or "cord". Two schemes agree where they name the same structure, so one table a scheme is enough.

Sources: VerSe (Sekuboyina et al. 2021), TotalSegmentator's class maps ``total_v1``, ``total``,
``total_v3`` and ``vertebrae_mr``, TotalSpineSeg's and the SPIDER baseline's published class lists.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from spinelab.anatomy import LEVELS, levels_between
from spinelab.errors import GeometryError, LabelError
from spinelab.volume import Mask

Scheme = Literal[
    "verse",
    "totalsegmentator_v1",
    "totalsegmentator_v2",
    "totalsegmentator_v3",
    "totalsegmentator_mr",
    "totalspineseg",
    "spider",
]
#: C1 ... L5 from the head down: the 24 every scheme has.
_COLUMN = levels_between("C1", "L5")
#: Where a structure goes when the target has no label of its own for it and the user accepts the loss.
_COARSER = {"S1": "S"}


def _count(names: Iterable[str], first: int, step: int = 1) -> dict[int, str]:
    """Numbers names first, first + step, ..."""
    return {first + step * index: name for index, name in enumerate(names)}


def _discs(first: str, last: str) -> tuple[str, ...]:
    return tuple(f"disc {name}" for name in levels_between(first, last))


def _verse() -> dict[int, str]:
    levels = {level.label: level.name for level in LEVELS}
    with_disc = [name for label, name in levels.items() if label >= 2 and name not in {"S", "Co"}]
    discs = {100 + label: f"disc {name}" for label, name in levels.items() if name in with_disc}
    return levels | discs


#: Label number -> structure, for every scheme.
SCHEMES: dict[Scheme, Mapping[int, str]] = {
    "verse": _verse(),
    "totalsegmentator_v1": _count(_COLUMN, 41, -1) | {92: "S"},
    "totalsegmentator_v2": _count(_COLUMN, 50, -1) | {25: "S", 26: "S1"},
    "totalsegmentator_v3": _count(_COLUMN, 50, -1) | {25: "S", 26: "L6"},
    "totalsegmentator_mr": _count(_COLUMN, 25, -1) | {1: "S"},
    "totalspineseg": _count(levels_between("C1", "C7"), 11)
    | _count(levels_between("T1", "T12"), 21)
    | _count(levels_between("L1", "L5"), 41)
    | _count(_discs("C2", "C6"), 63)
    | _count(_discs("C7", "T11"), 71)
    | _count(_discs("T12", "L4"), 91)
    | {1: "cord", 2: "canal", 50: "S", 100: "disc L5"},
    "spider": _count(_COLUMN, 24, -1)
    | _count((f"partial {name}" for name in _COLUMN), 124, -1)
    | _count((f"disc {name}" for name in _COLUMN[1:]), 223, -1)
    | {100: "canal"},
}


def scheme_of(name: str) -> Scheme:
    """Returns the scheme of a name such as "TotalSegmentator v2", "ts_v2" or "totalsegmentator-v2".

    Raises:
        LabelError: There is no such scheme.

    Example:
        >>> scheme_of("TotalSegmentator v2")
        'totalsegmentator_v2'
    """
    wanted = name.strip().lower().replace("-", "_").replace(" ", "_")
    if wanted.startswith("ts_"):
        wanted = "totalsegmentator" + wanted[2:]
    for scheme in SCHEMES:
        if scheme == wanted:
            return scheme
    raise LabelError(f"no label scheme {name!r}; choose one of {', '.join(SCHEMES)}")


def structures(labels: Iterable[int], source: Scheme) -> dict[int, str]:
    """Returns the structure of every label, in the order given; unknown labels are left out.

    Example:
        >>> structures([27, 50], "totalsegmentator_v2")
        {27: 'L5', 50: 'C1'}
    """
    table = SCHEMES[scheme_of(source)]
    return {label: table[label] for label in labels if label in table}


def conversion(
    labels: Iterable[int], source: Scheme, target: Scheme, *, drop: bool = False
) -> dict[int, int]:
    """Returns the new number of every label present.

    Args:
        labels: Labels present, background left out.
        source: Scheme they are numbered in.
        target: Scheme wanted.
        drop: Accept losses: S1 joins the sacrum, whatever else has no label in the target becomes 0.

    Raises:
        LabelError: The conversion would lose labels and `drop` is False.

    Example:
        >>> conversion([27, 32], "totalsegmentator_v2", "verse")
        {27: 24, 32: 19}
    """
    table = SCHEMES[scheme_of(source)]
    numbers = {name: label for label, name in SCHEMES[scheme_of(target)].items()}
    found: dict[int, int] = {}
    lost: list[str] = []
    for label in labels:
        name = table.get(label, "")
        if name in numbers:
            found[label] = numbers[name]
            continue
        found[label] = numbers.get(_COARSER.get(name, ""), 0)
        lost.append(f"{label} ({name})" if name else str(label))
    if lost and not drop:
        raise LabelError(_refusal(lost, source, target))
    return found


def _refusal(lost: list[str], source: str, target: str) -> str:
    shown = ", ".join(lost[:8]) + (f" and {len(lost) - 8} more" if len(lost) > 8 else "")
    strange = [label for label in lost if "(" not in label]
    remark = f" ({len(strange)} of them are no part of a spine in {source})" if strange else ""
    return (
        f"{target} has no label for {shown} of {source}{remark}; check the source scheme, choose another "
        "target, or accept the loss with drop=True (--drop)"
    )


def convert_mask(mask: Mask, source: Scheme, target: Scheme, *, drop: bool = False) -> Mask:
    """Returns the mask renumbered from one scheme to another, on the same grid.

    Args:
        mask: (i, j, k) labels numbered in `source`.
        source: Scheme of the mask.
        target: Scheme wanted.
        drop: Accept losses: S1 joins the sacrum, whatever else has no label in the target becomes 0
            (a "partial" vertebra included, as VerSe leaves those unlabelled).

    Raises:
        LabelError: The conversion would lose labels and `drop` is False.
    """
    new = conversion(mask.labels(), source, target, drop=drop)
    table = np.zeros(int(mask.array.max(initial=0)) + 1, dtype=np.uint16)
    for label, number in new.items():
        table[label] = number
    array = table[mask.array]
    if array.max(initial=0) < 256:
        array = array.astype(np.uint8)
    return Mask(array, mask.geometry)


def split_mask(mask: Mask, source: Scheme, *, drop: bool = False) -> dict[str, Mask]:
    """Returns one mask (1 inside) a structure, by name.

    Raises:
        LabelError: A label is not in the scheme and `drop` is False.
    """
    labels = mask.labels()
    names = structures(labels, source)
    unknown = [str(label) for label in labels if label not in names]
    if unknown and not drop:
        raise LabelError(
            f"{source} has no label {', '.join(unknown)}; check the source scheme, "
            "or leave them out with drop=True (--drop)"
        )
    return {
        name: Mask((mask.array == label).astype(np.uint8), mask.geometry) for label, name in names.items()
    }


def join_masks(masks: Mapping[str, Mask], target: Scheme = "verse", *, drop: bool = False) -> Mask:
    """Returns one mask of many, each named after its structure ("L1" or "vertebrae_L1"; nonzero inside).

    Raises:
        LabelError: There are none, a name has no label in the target (unless `drop`), or two overlap.
        GeometryError: They are not on one grid.
    """
    if not masks:
        raise LabelError("no masks to join; give at least one, named after a structure such as L1")
    numbers = {name: label for label, name in SCHEMES[scheme_of(target)].items()}
    first = next(iter(masks.values()))
    array = np.zeros(first.geometry.shape, dtype=np.uint8)
    for given, mask in masks.items():
        name = {"sacrum": "S", "coccyx": "Co"}.get(given, given.removeprefix("vertebrae_"))
        if name not in numbers and not drop:
            raise LabelError(_refusal([f"{given!r} (file name)"], "names", target))
        if not mask.geometry.same_grid(first.geometry):
            raise GeometryError(
                f"the mask of {given} is on another grid than the first; resample it to that grid"
            )
        inside = mask.array != 0
        if name in numbers:
            if array[inside].any():
                raise LabelError(f"the mask of {given} overlaps another; make them disjoint first")
            array[inside] = numbers[name]
    return Mask(array, first.geometry)
