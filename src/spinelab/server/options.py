"""How a workstation behaves: one frozen value, from which the command line's flags come."""

from dataclasses import dataclass
from typing import Literal

Suggestion = Literal["hidden", "shown", "after"]
ByWhat = Literal["uncertainty", "random", "finding"]


@dataclass(frozen=True)
class ServeOptions:
    """How a workstation behaves.

    Attributes:
        suggestion: The model's grades: hidden from readers, shown, or shown after the reader's own grade.
        readers: How many readers read each case independently.
        next_case: How the next case is chosen: by uncertainty, at random, or by finding.
        session_hours: After so many hours a reader signs in again.
        https: The page is reached through HTTPS (a proxy in front): cookies are then sent over it only.
    """

    suggestion: Suggestion = "hidden"
    readers: int = 2
    next_case: ByWhat = "uncertainty"
    session_hours: float = 12.0
    https: bool = False

    def __post_init__(self) -> None:
        if self.suggestion not in ("hidden", "shown", "after"):
            raise ValueError(f"suggestion is hidden, shown or after, found {self.suggestion!r}")
        if self.next_case not in ("uncertainty", "random", "finding"):
            raise ValueError(f"next_case is uncertainty, random or finding, found {self.next_case!r}")
        if self.readers < 1:
            raise ValueError(f"at least 1 reader reads a case, found {self.readers}")
        if self.session_hours <= 0:
            raise ValueError(f"a session lasts more than 0 hours, found {self.session_hours}")
