"""Measurements as a CSV table: a row a vertebra, units in the column names, empty where unknown.

The columns follow the fields of `spinelab.spine.Vertebra`, so a new measurement shows up by itself.
"""

import csv
import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from spinelab.io.outputs import writing
from spinelab.spine import Spine, Vertebra

_UNITS = ("_mm", "_mm3", "_hu", "_deg", "_percent")
#: Told elsewhere: axes and landmarks are in the JSON.
_LEFT_OUT = {"frame", "center_sd_mm", "corners"}
_DIGITS = 3


def write_measurements(spine: Spine, path: str | Path) -> None:
    """Writes one row a vertebra, from the head down.

    Raises:
        OutputError: The file cannot be written.
    """
    path = Path(path)
    with writing(path), path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns())
        for vertebra in spine.vertebrae:
            row = dict(_cells(vertebra, Vertebra, ""))
            writer.writerow([row[name] for name in columns()])


def columns() -> tuple[str, ...]:
    """Returns the column names.

    Example:
        >>> [name for name in columns() if name.startswith("heights_anterior")]
        ['heights_anterior_mm']
    """
    return tuple(name for name, _ in _cells(None, Vertebra, ""))


def _cells(value: Any, kind: type, prefix: str) -> Iterator[tuple[str, str]]:
    """Yields column and text of every field of a dataclass, of empty text where `value` is None."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        if field.name in _LEFT_OUT:
            continue
        inner = None if value is None else getattr(value, field.name)
        nested = _nested(hints[field.name])
        if nested is not None:
            yield from _cells(inner, nested, f"{prefix}_{field.name}" if prefix else field.name)
        elif field.name == "center_mm":
            for axis, name in enumerate("xyz"):
                yield f"center_{name}_lps_mm", _text(None if inner is None else inner[axis])
        else:
            yield _column(prefix, field.name), _text(inner)
        if field.name == "level":
            yield "label", _text(None if value is None else value.label)


def _nested(hint: Any) -> type | None:
    """Returns the dataclass a field holds, None if it holds a plain value."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return next((option for option in options if is_dataclass(option) and isinstance(option, type)), None)


def _column(prefix: str, name: str) -> str:
    """Joins a field to the one that holds it, the unit last: heights_mm + anterior = heights_anterior_mm."""
    unit = next((unit for unit in _UNITS if prefix.endswith(unit)), "")
    stem = prefix.removesuffix(unit)
    return f"{stem}_{name}{unit}" if stem else name


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "; ".join(map(_text, value))
    if isinstance(value, (int, str)):
        return str(value)
    return f"{round(float(value), _DIGITS):g}" if abs(value) < 1000 else f"{float(value):.1f}"
