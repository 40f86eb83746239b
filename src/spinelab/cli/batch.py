"""Several scans in one run: the broken ones are named and skipped."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import typer

from spinelab.cli.console import complain, progress_bar, say, say_json
from spinelab.cli.overlap import Stage, overlap
from spinelab.errors import InputError, SpinelabError
from spinelab.io.picture import is_picture
from spinelab.io.reading import is_volume
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
    """Calls ``work(scan, progress)`` for each scan, one after the other; see `report_batch`.

    Args:
        scans: Paths as given.
        work: Returns what came of a scan.
        quiet: Print no text and show no progress.
        as_json: Print one JSON document for all scans.

    Raises:
        InputError: Two scans would write files of one name.
    """
    _check_stems(scans)

    def do(scan: Path) -> Result:
        with progress_bar(scan.name, quiet=quiet) as progress:
            return work(scan, progress)

    report_batch(((scan, partial(do, scan)) for scan in scans), len(scans), quiet=quiet, as_json=as_json)


def run_stages(
    scans: Sequence[Path],
    stages: Sequence[Stage],
    *,
    workers: Sequence[int] | None = None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Runs scans through stages that overlap (reading, computing, writing); see `report_batch`.

    Args:
        scans: Paths as given, the first stage's input.
        stages: Each takes what the one before returned; the last returns what came of a scan.
        workers: Scans at a time in each stage; one each if not given.
        quiet: Print no text.
        as_json: Print one JSON document for all scans.

    Raises:
        InputError: Two scans would write files of one name.
    """
    _check_stems(scans)
    report_batch(overlap(scans, stages, workers=workers), len(scans), quiet=quiet, as_json=as_json)


def report_batch(
    results: Iterator[tuple[Path, Callable[[], Result]]], count: int, *, quiet: bool, as_json: bool
) -> None:
    """Prints what came of each scan, names those that failed, exits with 2 if any did.

    Args:
        results: The scan, and a function that returns what came of it or raises why nothing did.
        count: How many there are.
        quiet: Print no text.
        as_json: Print one JSON document for all scans.
    """
    done: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    for scan, result_of in results:
        try:
            result = result_of()
        except Exception as error:
            if count == 1 and not (as_json and isinstance(error, SpinelabError)):
                raise
            failed.append({"input": scan.name, "error": _tell(error)})
            complain(f"{scan.name}: {_tell(error)}")
            continue
        if as_json:
            done.append(_entry(scan, result))
        if not quiet and not as_json:
            _print_result(scan, result)
    if as_json:
        say_json({"results": done, "failed": failed})
    if count > 1 and failed:
        complain(f"{len(failed)} of {count} scans failed: {', '.join(f['input'] for f in failed)}")
    if failed:
        raise typer.Exit(2)


def unfold(paths: Sequence[Path]) -> list[Path]:
    """Returns the scans meant by paths: a folder of several volume files or pictures stands for all of them.

    A folder of anything else (DICOM, a single volume) is one scan, as for `spinelab.read`.
    """
    scans: list[Path] = []
    for path in paths:
        inside = sorted(p for p in path.iterdir() if is_volume(p) or is_picture(p)) if path.is_dir() else []
        scans += inside if len(inside) > 1 else [path]
    return scans


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
