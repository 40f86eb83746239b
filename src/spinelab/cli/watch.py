"""`spinelab watch`: reads whole archives in the background."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spinelab.archive.options import WatchOptions
from spinelab.cli.console import say
from spinelab.cli.flags import with_flags
from spinelab.cli.parameters import Files, Quiet, Results

if TYPE_CHECKING:
    from spinelab.archive.watch import Event, WatchSummary

Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Where scans lie or arrive, in any folders below.")
]


@with_flags(WatchOptions)
def watch_folder(
    folder: Folder, *, results: Results, files: Files = None, quiet: Quiet = False, options: WatchOptions
) -> None:
    """Read every CT that lies or arrives in a folder, once, and keep a work list sorted by finding."""
    from spinelab.archive.store import open_store
    from spinelab.archive.watch import WORKLIST, watch

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is being read goes back to the queue
    store = open_store(results, files=files)
    try:
        summary = watch(store, folder, options, tell=_ignore if quiet else _tell)
    finally:
        store.close()
    if not quiet:
        say(_summarize(summary))
        say(f"work list: {store.files / WORKLIST}")
    if summary.failed:
        raise typer.Exit(2)


def _ignore(event: "Event") -> None:
    """Takes events nobody watches."""


def _tell(event: "Event") -> None:
    progress = f"{event.done} done, {event.queued} left"
    if event.per_hour is not None and event.left_s is not None:
        progress += f", {event.per_hour:.0f} an hour, {_duration(event.left_s)} to go"
    about = f"{event.case}: " if event.case else ""
    kind = "" if event.kind in ("read", "looking", "looked") else f"{event.kind}: "
    say(f"[{progress}] {about}{kind}{event.text}")


def _summarize(summary: "WatchSummary") -> str:
    text = f"{summary.read} read, {summary.skipped} skipped, {summary.failed} failed"
    text += f" in {_duration(summary.seconds)}"
    if summary.arriving:
        text += f"; {summary.arriving} places were still changing and are left for the next run"
    return text


def _duration(seconds: float) -> str:
    """Returns a duration in the two units that matter.

    Example:
        >>> _duration(42), _duration(150), _duration(7300)
        ('42 s', '2 min 30 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
