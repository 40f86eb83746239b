"""Shipped weights: which there are, what they were made for, and the checks before they are used.

A network file is ONNX with its preprocessing inside: the HU window and the final activations are part of
the graph, spacing and axes are metadata which must agree with this code. ``weights/weights.json`` holds
the sha256 of every file.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinelab.errors import ModelError

#: CT window the networks for CT see, HU; what lies outside is clipped.
WINDOW_HU = (-400.0, 1200.0)
#: What each network expects; written into its file and checked on loading.
LOCATE_INPUT: dict[str, Any] = {"name": "locate", "spacing_mm": 3.0, "axes": "LPS", "multiple": 16}
OUTLINE_INPUT: dict[str, Any] = {"name": "outline", "spacing_mm": 1.25, "axes": "frame", "multiple": 8}
LANDMARKS_INPUT: dict[str, Any] = {
    "name": "landmarks",
    "spacing_mm": [4.0, 2.0, 2.0],
    "axes": "LPS",
    "multiple": [8, 16, 16],
    "intensity": "local mean and spread over 24 mm, clipped at 3",
}
FRACTURE_INPUT: dict[str, Any] = {
    "name": "fracture",
    "spacing_mm": 1.0,
    "axes": "frame",
    "slices_mm": [-8.0, -4.0, 0.0, 4.0, 8.0],
    "shape": [56, 120],
}
_EXPECTED = {
    "locate": LOCATE_INPUT,
    "outline": OUTLINE_INPUT,
    "landmarks": LANDMARKS_INPUT,
    "fracture": FRACTURE_INPUT,
}
#: Those of CT share a window; and where the shipped files lie that are not beside locate and outline.
_OF_CT, _FOLDERS = ("locate", "outline", "fracture"), {"landmarks": "mr", "fracture": "fracture"}
_REMEDY = "reinstall spinelab, or name the folder of a finished training run"

Floats = NDArray[np.float32]


def scale_hu(hu: Any) -> Any:
    """Scales HU (array or tensor, any shape) to about -1..1 over `WINDOW_HU`."""
    low, high = WINDOW_HU
    return (hu.clip(low, high) - (low + high) / 2) / ((high - low) / 2)


@dataclass(frozen=True)
class Network:
    """A loaded network; call it with its inputs as float32 arrays.

    Attributes:
        name: "locate", "outline", "landmarks" or "fracture".
        sha256: Of the file.
        session: The ONNX Runtime session.
        facts: What the file says of itself: preprocessing, steps, calibration.
    """

    name: str
    sha256: str
    session: Any
    facts: dict[str, Any] = field(default_factory=dict)

    def __call__(self, **inputs: Floats) -> list[Floats]:
        """Runs one pass; inputs (n, 1, i, j, k) by name, outputs in the order of the file."""
        return list(self.session.run(None, inputs))


def weights_folder(name: str = "locate") -> Path:
    """Returns the folder of the shipped weights of a network: locate and outline together, others apart."""
    folder = Path(str(files("spinelab") / "weights"))
    return folder / _FOLDERS[name] if name in _FOLDERS else folder


def weights_digest(folder: Path | None = None) -> dict[str, str]:
    """Returns name -> sha256 of the networks as recorded, without loading them."""
    return {name: str(entry["sha256"]) for name, entry in _record(folder or weights_folder()).items()}


@lru_cache(maxsize=8)
def load(name: str, *, folder: Path | None = None, device: str = "cpu", threads: int = 0) -> Network:
    """Loads a network after checking its hash and what it was made for.

    Args:
        name: "locate", "outline", "landmarks" or "fracture".
        folder: Where ``weights.json`` and the files lie; the shipped ones if None.
        device: "cpu" or "cuda" (needs onnxruntime-gpu).
        threads: 0 for one a core.

    Raises:
        ModelError: The name is unknown, the file is missing, damaged, or made for other preprocessing, or the
            device is not there.
    """
    import onnxruntime

    file, data, digest = _read_checked(name, folder or weights_folder(name))
    providers = {"cpu": ["CPUExecutionProvider"], "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"]}
    if device not in providers or providers[device][0] not in onnxruntime.get_available_providers():
        raise ModelError(
            f"device {device!r} is not available; use 'cpu', or install onnxruntime-gpu for 'cuda'"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=providers[device])
    facts = _check_facts(name, file, session.get_modelmeta().custom_metadata_map)
    return Network(name, digest, session, facts)


def _read_checked(name: str, place: Path) -> tuple[str, bytes, str]:
    """Returns file name, content and sha256 of a network whose hash is the recorded one."""
    if name not in _EXPECTED:
        raise ModelError(f"unknown network {name!r}; wanted one of {', '.join(_EXPECTED)}")
    entry = _record(place).get(name)
    if entry is None:
        raise ModelError(f"no network {name!r} in {place.name}/weights.json; {_REMEDY}")
    path = place / str(entry["file"])
    if not path.is_file():
        raise ModelError(f"weights file {path.name} is missing in {place.name}; {_REMEDY}")
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry["sha256"]:
        raise ModelError(
            f"weights file {path.name} is damaged: sha256 {digest[:12]}..., wanted "
            f"{str(entry['sha256'])[:12]}...; {_REMEDY}"
        )
    return path.name, data, digest


def _record(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        record: Any = json.loads((folder / "weights.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"no readable weights.json in {folder.name}; {_REMEDY}") from error
    whole = isinstance(record, dict) and all(
        isinstance(entry, dict) and {"file", "sha256"} <= entry.keys() for entry in record.values()
    )
    if not whole:
        raise ModelError(
            f"weights.json in {folder.name} does not give a file and sha256 a network; {_REMEDY}"
        )
    return dict(record)


def _check_facts(name: str, file: str, metadata: dict[str, str]) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(metadata.get("spinelab", "{}"))
    expected = {**_EXPECTED[name], **({"window_hu": list(WINDOW_HU)} if name in _OF_CT else {})}
    wrong = [
        f"{key} {facts.get(key)!r}, wanted {want!r}"
        for key, want in expected.items()
        if facts.get(key) != want
    ]
    if wrong:
        raise ModelError(
            f"weights file {file} was made for other preprocessing ({'; '.join(wrong)}); "
            "use the weights of this version of spinelab"
        )
    return facts
