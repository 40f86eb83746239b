"""What a run leaves behind about itself: versions, options, time, memory; never a path or a patient."""

import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import spinelab

_ENDINGS = (".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip", ".dcm", ".json")


def stem_of(path: Path) -> str:
    """Returns the name outputs are called after: the file's or folder's, without its ending.

    Example:
        >>> stem_of(Path("scans/case_7.nii.gz"))
        'case_7'
    """
    name = path.resolve().name
    for ending in _ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name or "scan"


def versions() -> dict[str, str]:
    """Returns the versions of spinelab, Python and the packages results depend on."""
    found = {"spinelab": spinelab.__version__, "python": platform.python_version()}
    for package in ("numpy", "scipy", "onnxruntime", "SimpleITK"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def peak_memory_mb() -> float | None:
    """Returns the largest resident memory of this process so far in MB; None where it cannot be asked."""
    if sys.platform == "win32":
        return None
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(used / (1e6 if sys.platform == "darwin" else 1024), 1)


@dataclass
class Stopwatch:
    """Seconds a stage, in the order they ran."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times what runs inside under `name`; a name used twice adds up."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = self.seconds.get(name, 0.0) + time.perf_counter() - start
            self.seconds[name] = round(spent, 3)

    def include(self, seconds: dict[str, float], *, replacing: str) -> None:
        """Puts a stage's own parts in its place; what they leave unexplained stays under its name."""
        rest = self.seconds.pop(replacing, 0.0) - sum(seconds.values())
        self.seconds.update({name: round(value, 3) for name, value in seconds.items()})
        if rest > 0.001:
            self.seconds[replacing] = round(rest, 3)


def run_manifest(
    name: str, options: dict[str, Any], watch: Stopwatch, *, weights: dict[str, str]
) -> dict[str, Any]:
    """Returns the manifest of a run.

    Args:
        name: File name of the input, without its folder.
        options: How it was run.
        watch: Seconds a stage so far.
        weights: Name -> sha256 of the networks that were run; empty if none was.
    """
    return {
        "versions": versions(),
        "weights_sha256": weights,
        "input": name,
        "options": options,
        "seconds": dict(watch.seconds),
        "peak_memory_mb": peak_memory_mb(),
    }
