"""`spinelab worklist`: what was found in an archive, the worst first."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spinelab.cli.console import say, say_json
from spinelab.cli.parameters import AsJson, Files, Results

if TYPE_CHECKING:
    from spinelab.archive.worklist import WorkItem

Status = Annotated[
    str, typer.Option(help="Which scans: done, queued, reading, skipped (cannot be read) or failed.")
]
Names = Annotated[
    str, typer.Option(help="Findings whose level is named for sure (90 %): all, sure or doubtful ones only.")
]
Limit = Annotated[int, typer.Option(min=0, help="At most so many; 0 for all.")]
Paths = Annotated[bool, typer.Option("--paths", help="Name the path of each scan, which may name patients.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write a .csv or .json file instead.")]


def show_worklist(
    *,
    results: Results,
    files: Files = None,
    status: Status = "done",
    names: Names = "all",
    limit: Limit = 0,
    paths: Paths = False,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Show what `spinelab watch` has read, the worst finding first; or write it as CSV or JSON."""
    from spinelab.archive.queue import count
    from spinelab.archive.store import open_store
    from spinelab.archive.worklist import list_work, write_worklist

    store = open_store(results, files=files, must_exist=True)
    try:
        items = list_work(store, status=status, names=names, limit=limit or None, paths=paths)
        counts = count(store)
    finally:
        store.close()
    if out is not None:
        write_worklist(items, out)
    elif as_json:
        say_json({"counts": counts, "scans": [asdict(item) for item in items]})
    else:
        for line in _table(items):
            say(line)
        say(", ".join(f"{number} {name}" for name, number in counts.items()))


def _table(items: Sequence["WorkItem"]) -> list[str]:
    lines = []
    for item in items:
        where = f"  {item.source}" if item.source else ""
        lines.append(f"{item.place:5}  {item.case}  {item.finding}{where}")
    return lines
