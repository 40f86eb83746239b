"""What people see: progress while a terminal watches, results on stdout, complaints on stderr."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer


def say(text: str) -> None:
    """Prints a line of the result on stdout."""
    typer.echo(text)


def say_json(data: Any) -> None:
    """Prints machine-readable data on stdout as one strict JSON document."""
    typer.echo(json.dumps(data, indent=2, allow_nan=False, default=str))


def complain(message: str) -> None:
    """Prints one line on stderr, whatever line breaks the message has."""
    typer.echo(f"spinelab: {' '.join(message.split())}", err=True)


@contextmanager
def progress_bar(title: str, *, quiet: bool) -> Iterator[Callable[[str, float], None] | None]:
    """Gives a function to call with (stage, fraction); None unless a terminal watches stderr."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def tell(stage: str, fraction: float) -> None:
            bar.update(task, description=f"{title}: {stage}", completed=fraction)

        yield tell
