"""`Spine` as JSON, following ``spinelab/spine.schema.json``."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from spinelab.errors import OutputError, UnreadableError
from spinelab.io.outputs import writing
from spinelab.spine import Spine


def write_spine(spine: Spine, path: str | Path) -> None:
    """Writes everything found as JSON (strict: no NaN).

    Raises:
        OutputError: The file cannot be written, or a value is NaN or infinite.
    """
    path = Path(path)
    try:
        text = json.dumps(spine.to_dict(), indent=2, allow_nan=False, default=_plain)
    except ValueError as error:
        raise OutputError(
            f"cannot write {path}: a measured value is NaN or infinite ({error}); please report this scan"
        ) from error
    with writing(path):
        path.write_text(text + "\n", encoding="utf-8")


def read_spine(path: str | Path) -> Spine:
    """Reads what `write_spine` wrote.

    Raises:
        UnreadableError: Missing or not JSON.
        InputError: JSON, but not of a spine, or of a newer major version.
    """
    path = Path(path)
    data = read_json(path)
    if not isinstance(data, dict):
        raise UnreadableError(
            f"{path} holds a JSON {type(data).__name__}, wanted a spine; give STEM_spine.json"
        )
    return Spine.from_dict(data)


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file.

    Raises:
        UnreadableError: Missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read: {error.strerror or error}; check the name") from error
    except ValueError as error:
        raise UnreadableError(f"{path} is not JSON ({error}); write it again") from error


def _plain(value: Any) -> Any:
    """Returns NumPy scalars and arrays and paths as what JSON knows."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")
