"""What readers settled, as a folder to train on: scans, outlines under the names that hold, the labels."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from spinelab.anatomy import level
from spinelab.archive.reading import load_scan
from spinelab.archive.store import Store
from spinelab.archive.tables import DONE, Scan
from spinelab.errors import InputError, SpinelabError
from spinelab.io import OutputFolder, read_mask, write_image, write_mask
from spinelab.server.accounts import Person
from spinelab.server.exports import COLUMNS, FINAL, list_labels
from spinelab.server.options import ServeOptions
from spinelab.server.prepared import find_source
from spinelab.server.tables import ADMIN
from spinelab.volume import Mask

#: The file of labels in the folder.
LABELS = "labels.csv"


@dataclass(frozen=True)
class Labelled:
    """What was written.

    Attributes:
        cases: Names of the cases in the folder.
        vertebrae: How many labels hold.
        left_out: Case -> why it could not be written.
    """

    cases: tuple[str, ...]
    vertebrae: int
    left_out: dict[str, str]


def write_labelled(store: Store, folder: Path, *, readers: int) -> Labelled:
    """Writes every case with a label that holds: ``CASE_ct.nii.gz``, ``CASE_vert.nii.gz``, ``labels.csv``.

    The outlines are those of the networks, renumbered where the readers renamed the column.

    Args:
        store: Results with labels.
        folder: Where to; files of the same names are replaced.
        readers: How many readings a case needs, as for `spinelab serve`.

    Raises:
        InputError: No label holds yet.
        OutputError: The folder cannot be written.
    """
    admin = Person(0, "", ADMIN, "")
    with store.reading() as session:
        rows = list_labels(session, admin, ServeOptions(readers=readers))
        numbers = {scan.case: scan.id for scan in session.scalars(select(Scan).where(Scan.status == DONE))}
    final: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["reader"] == FINAL:
            final.setdefault(row["case"], []).append(row)
    settled = {case: own for case, own in final.items() if any(row["grade"] is not None for row in own)}
    if not settled:
        raise InputError(
            "no label holds yet: readings must be finished, and settled where readers differ; "
            "with --readers 1 those of one reader count"
        )
    written, left_out = [], {}
    for case, own in settled.items():
        try:
            _write_case(store, numbers[case], case, own, folder)
        except SpinelabError as error:
            left_out[case] = str(error)
        else:
            written += own
    kept = [row for row in written if row["grade"] is not None]
    with OutputFolder(folder) as out, out.path(LABELS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(kept)
    return Labelled(tuple(sorted({row["case"] for row in kept})), len(kept), left_out)


def _write_case(store: Store, scan_id: int, case: str, rows: Sequence[dict[str, Any]], folder: Path) -> None:
    source = find_source(store, scan_id)
    image, _ = load_scan(source.image, source.kind, source.files)
    mask = read_mask(source.mask)
    renumber = np.arange(256, dtype=np.uint8)
    for row in rows:
        renumber[level(row["model_level"]).label] = level(row["level"]).label
    with OutputFolder(folder) as out:
        write_image(image, out.path(f"{case}_ct.nii.gz"))
        write_mask(Mask(renumber[mask.array], mask.geometry), out.path(f"{case}_vert.nii.gz"))
