"""How to watch an archive. Loads no database package, so that the command line can show its flags."""

from dataclasses import dataclass
from pathlib import Path

from spinelab.errors import InputError
from spinelab.tasks.segment import SegmentOptions


@dataclass(frozen=True)
class WatchOptions:
    """How to watch a folder and read what arrives.

    Attributes:
        once: Read what is there and end, instead of waiting for more.
        poll_s: Seconds between two looks at the folder.
        settle_s: A scan is taken in when nothing of it has changed for so many seconds.
        limit_minutes: A scan that takes longer is given up; 0 for no limit.
        limit_gb: A scan that needs more memory is given up; 0 for no limit.
        retry: Read scans again that were skipped or have failed before.
        device: "cpu" or "cuda".
        threads: CPU threads, 0 for one a core.
        weights: Folder with ``weights.json`` of your own training run; none: the shipped weights.

    Raises:
        InputError: A number is below zero.
    """

    once: bool = False
    poll_s: float = 30.0
    settle_s: float = 60.0
    limit_minutes: float = 30.0
    limit_gb: float = 8.0
    retry: bool = False
    device: str = "cpu"
    threads: int = 0
    weights: Path | None = None

    def __post_init__(self) -> None:
        for name in ("poll_s", "settle_s", "limit_minutes", "limit_gb", "threads"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}, wanted 0 or more")

    @property
    def reading(self) -> SegmentOptions:
        """How each scan is read."""
        return SegmentOptions(device=self.device, threads=self.threads, weights=self.weights)
