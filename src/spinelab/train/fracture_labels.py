"""Targets beside simulated collapse: bodies as they are, by geometry or by readers at the workstation.

Nobody knows what height such a body once had, so the target is a range, and a probability.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np

from spinelab.errors import InputError
from spinelab.measurement.named_mask import spine_of_mask
from spinelab.simulate.collapse import Shape
from spinelab.spine import Fracture
from spinelab.tasks.fracture import GRADES_FROM_PERCENT
from spinelab.train.collapsed import Scan, paint_scan
from spinelab.train.fracture_draws import (
    Sample,
    Source,
    keep_crop,
    measure_places,
    slice_scan,
)

#: Between which losses a body of each Genant grade lies, per cent.
RANGE_OF_GRADE = tuple(zip((0.0, *GRADES_FROM_PERCENT), (*GRADES_FROM_PERCENT, 100.0), strict=True))
#: Geometry is confident above and below these probabilities.
SURE_ABOVE, SURE_BELOW = 0.9, 0.03
#: Slices as thick as these are made of scans that are finer, mm.
_THICK_MM = (2.5, 5.0)
#: Whose labels hold where several readers gave one.
_FINAL = "final"

Labels = dict[tuple[str, str], tuple[int, str]]


def read_labels(path: Path) -> Labels:
    """Reads the labels of a workstation's export, ``labels.csv`` or ``labels.json``.

    Returns:
        (case, level) -> Genant grade and shape ("" where there is none). What adjudication settled holds;
        without it a body counts where all its readers agree on the grade.

    Raises:
        InputError: Not such a file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        rows = (
            json.loads(text)["labels"] if path.suffix == ".json" else list(csv.DictReader(text.splitlines()))
        )
        given: dict[tuple[str, str], dict[str, tuple[int, str]]] = {}
        for row in rows:
            if row["grade"] in (None, "") or str(row["evaluable"]).lower() == "false":
                continue
            readers = given.setdefault((row["case"], row["level"]), {})
            readers[row["reader"]] = (int(row["grade"]), row["shape"] or "")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path.name} holds no labels ({error!r}); wanted the workstation's labels.csv or labels.json"
        ) from error
    settled: Labels = {}
    for key, readers in given.items():
        if _FINAL in readers:
            settled[key] = readers[_FINAL]
        elif len({grade for grade, _ in readers.values()}) == 1:
            settled[key] = next(iter(readers.values()))
    return settled


def find_samples(scan: Scan, labels: Labels, source: Source, rng: np.random.Generator) -> Iterator[Sample]:
    """Yields the bodies of a scan as they are, as scanned and in thicker slices.

    A body with a label has its grade as target and counts as "labelled"; others have what geometry reads of
    the finest slices.

    Args:
        scan: The column.
        labels: Of the workstation.
        source: What those without a label count as.
        rng: Source of randomness.
    """
    scan = paint_scan(scan, rng)
    own = scan.image.spacing_mm[2]
    best = {v.level: v.fracture for v in scan.found.vertebrae}
    for thickness in (own, *(t for t in _THICK_MM if t > 1.2 * own)):
        image, mask = slice_scan(scan.image, scan.mask, thickness, float(rng.random()))
        for name, place in measure_places(mask, spine_of_mask(mask)).items():
            crop = keep_crop(image, mask, name, place)
            found = best.get(name)
            if crop is None or found is None or not found.evaluable:
                continue
            label = labels.get((scan.name, name))
            target = _of_geometry(found) if label is None else _of_label(*label)
            kind: Source = source if label is None else "labelled"
            yield Sample(scan.name, name, kind, thickness, crop, np.full(3, np.nan), *target, place[2])


def _of_label(grade: int, shape: str) -> tuple[tuple[float, float], float, str]:
    return RANGE_OF_GRADE[grade], float(grade > 0), shape if grade and shape in get_args(Shape) else ""


def _of_geometry(found: Fracture) -> tuple[tuple[float, float], float, str]:
    assert found.interval_percent is not None
    assert found.probability is not None
    return found.interval_percent, found.probability, found.shape or ""


def is_sure(row: dict[str, Any]) -> bool:
    """Tells whether what a body's own outlines say is sure enough to learn from."""
    return bool(row["probability"] >= SURE_ABOVE or row["probability"] <= SURE_BELOW)
