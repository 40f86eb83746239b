"""Several scans one after the other: the broken ones are named and skipped."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import typer

from spinelab.cli.console import complain, progress_bar, say, say_json
from spinelab.errors import InputError, SpinelabError
from spinelab.spine import Spine
from spinelab.tasks.analyze import Progress
from spinelab.tasks.manifest import stem_of


class Result(Protocol):
    """What a task makes of one scan, such as `AnalyzeResult`."""

    @property
    def spine(self) -> Spine:
        """What was found."""

    @property
    def files(self) -> dict[str, Path]:
        """Kind of output -> where it was written."""


Work = Callable[[Path, Progress | None], Result]


def run_batch(scans: Sequence[Path], work: Work, *, quiet: bool, as_json: bool) -> None:
    """Calls ``work(scan, progress)`` for each scan, prints what came of it, exits with 2 if any failed.

    Args:
        scans: Paths as given.
        work: Returns what came of a scan.
        quiet: Print no text and show no progress.
        as_json: Print one JSON document for all scans.

    Raises:
        InputError: Two scans would write files of one name.
    """
    _check_stems(scans)
    done: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    for scan in scans:
        try:
            with progress_bar(scan.name, quiet=quiet) as progress:
                result = work(scan, progress)
        except Exception as error:
            if len(scans) == 1 and not (as_json and isinstance(error, SpinelabError)):
                raise
            failed.append({"input": scan.name, "error": _tell(error)})
            complain(f"{scan.name}: {_tell(error)}")
            continue
        done.append(_entry(scan, result))
        if not quiet and not as_json:
            _print_result(scan, result)
    if as_json:
        say_json({"results": done, "failed": failed})
    if len(scans) > 1 and failed:
        complain(f"{len(failed)} of {len(scans)} scans failed: {', '.join(f['input'] for f in failed)}")
    if failed:
        raise typer.Exit(2)


def _tell(error: Exception) -> str:
    known = isinstance(error, SpinelabError)
    return str(error) if known else f"unexpected error, {type(error).__name__}: {error}"


def _check_stems(scans: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for scan in scans:
        other = seen.setdefault(stem_of(scan), scan)
        if other is not scan:
            raise InputError(
                f"{other} and {scan} would both be called {stem_of(scan)!r}; rename one or use two runs"
            )


def _entry(scan: Path, result: Result) -> dict[str, Any]:
    files = {kind: str(path) for kind, path in result.files.items()}
    return {"input": scan.name, "files": files, "spine": result.spine.to_dict()}


def _print_result(scan: Path, result: Result) -> None:
    say(f"{scan.name}: {describe(result.spine)}")
    for warning in result.spine.warnings:
        say(f"  note: {warning}")
    for kind, path in result.files.items():
        say(f"  {kind:13} {path}")


def describe(spine: Spine) -> str:
    """Returns one line about what was found.

    Example:
        >>> describe(Spine(()))
        'no vertebra found'
    """
    levels = spine.levels
    if not levels:
        return "no vertebra found"
    range_ = levels[0] if len(levels) == 1 else f"{levels[0]} to {levels[-1]}"
    text = f"{len(levels)} {'vertebra' if len(levels) == 1 else 'vertebrae'}, {range_}"
    if spine.numbering is None:
        return text
    sure = f"names right with probability {spine.numbering.probability:.2f}"
    return f"{text}; {sure}. {spine.numbering.statement}".strip()
