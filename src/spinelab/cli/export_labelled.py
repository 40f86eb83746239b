"""`spinelab export-labelled`: what readers settled, as a folder to train on. Needs the extra ``server``."""

from pathlib import Path
from typing import Annotated

import typer

from spinelab.cli.console import complain, say
from spinelab.cli.extras import needing_the_extra
from spinelab.cli.parameters import Files, Quiet, Results

Folder = Annotated[Path, typer.Option("--out", "-o", help="Folder for scans, outlines and labels.csv.")]
Readers = Annotated[int, typer.Option(min=1, help="How many readings a case needs, as for spinelab serve.")]


def export_labelled(
    *, results: Results, out: Folder, files: Files = None, readers: Readers = 2, quiet: Quiet = False
) -> None:
    """Write every case whose labels hold as a folder that `spinelab train fracture` learns from."""
    with needing_the_extra("server", "the workstation"):
        from spinelab.archive.store import open_store
        from spinelab.server.labelled import LABELS, write_labelled
    store = open_store(results, files=files, must_exist=True)
    try:
        written = write_labelled(store, out, readers=readers)
    finally:
        store.close()
    for case, reason in written.left_out.items():
        complain(f"left out {case}: {reason}")
    if not quiet:
        say(f"{written.vertebrae} labels of {len(written.cases)} cases in {out}")
        say(f"next: spinelab train fracture {out} --labels {out / LABELS} --out RUN")
