"""What goes to a reader and what comes back. Loads no database package: readers run in their own process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spinelab.spine import Spine


@dataclass(frozen=True)
class Job:
    """A scan that a worker holds.

    Attributes:
        scan_id: Its row.
        case: What outputs are called after.
        source: The file, or the folder `files` lie below.
        files: The files of a DICOM series relative to `source`; empty for a single file.
        kind: "dicom", "volume" or "zip".
        worker: Who holds it.
        attempt: Which attempt this is, from 1.
    """

    scan_id: int
    case: str
    source: Path
    files: tuple[str, ...]
    kind: str
    worker: str
    attempt: int


@dataclass(frozen=True)
class Reading:
    """What came of a scan.

    Attributes:
        spine: What was found.
        files: Kind of output -> name of its file in the folder given to the reader.
        seconds: Spent.
        peak_memory_mb: Largest resident memory of the reading process so far; None where unknown.
        choice: Which series was read and why, where the reader chose.
    """

    spine: Spine
    files: dict[str, str]
    seconds: float
    peak_memory_mb: float | None = None
    choice: str | None = None


@dataclass(frozen=True)
class Refusal:
    """Why a scan was not read.

    Attributes:
        reason: In words for the work list.
        final: True when the scan itself is to blame; another attempt would end the same way.
    """

    reason: str
    final: bool


#: Reads a scan and writes all outputs into the folder, which is there and empty. Raises `InputError` for a
#: scan that cannot be read; `ModelError`, `OutputError`, `DependencyError` for what no scan is to blame for.
Reader = Callable[[Job, Path], Reading]
