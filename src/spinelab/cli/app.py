"""The verbs, and how every one of them ends: exit code 0, or 2 with one line on stderr."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

import spinelab
from spinelab.cli import (
    analyze,
    convert_labels,
    evaluate,
    export_labelled,
    info,
    locate,
    measure,
    segment,
    serve,
    simulate,
    train,
    user,
    watch,
    worklist,
)
from spinelab.cli.console import complain
from spinelab.errors import SpinelabError

app = typer.Typer(
    name="spinelab",
    help="Outlines, names and measures every vertebra in a CT scan, offline, on a laptop.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
#: Every verb: its name, its function, further settings of the command.
VERBS: dict[str, Callable[..., Any]] = {
    "analyze": analyze.analyze_scans,
    "segment": segment.segment_scans,
    "locate": locate.locate_scans,
    "measure": measure.measure_mask,
    "simulate": simulate.simulate_scan,
    "convert-labels": convert_labels.convert_labels,
    "evaluate": evaluate.evaluate_readings,
    "watch": watch.watch_folder,
    "worklist": worklist.show_worklist,
    "serve": serve.serve_workstation,
    "export-labelled": export_labelled.export_labelled,
    "info": info.show_info,
}
for verb, function in VERBS.items():
    app.command(verb)(function)
app.add_typer(train.app, name="train")
app.add_typer(user.app, name="user")

#: What the parser returns after Ctrl-C.
_INTERRUPTED = 130


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"spinelab {spinelab.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")
    ] = False,
) -> None:
    """Outlines, names and measures every vertebra in a CT scan, offline, on a laptop."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with 0, or 2 after one line on stderr."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code, 0 or 2."""
    rest = [argument for argument in arguments if argument != "--debug"] or ["--help"]
    try:
        code = app(args=rest, prog_name="spinelab", standalone_mode=False)
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except (Exception, KeyboardInterrupt) as error:
        complain(explain(error))
        if "--debug" in arguments:
            traceback.print_exc()
        return 2
    if code == _INTERRUPTED:
        complain(explain(KeyboardInterrupt()))
    return 2 if code else 0


def explain(error: BaseException) -> str:
    """Returns what to tell the user about an error, on one line."""
    if isinstance(error, SpinelabError):
        return str(error)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "stopped; nothing half written was left"
    parsed = getattr(error, "format_message", None)
    if parsed is not None:  # a mistake on the command line, told by its parser
        return f"{parsed().rstrip('.')}; see spinelab --help"
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"unexpected error, please report it: {what} (run again with --debug for the traceback)"
