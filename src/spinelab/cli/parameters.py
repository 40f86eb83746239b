"""Arguments and options several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

Scans = Annotated[
    list[Path], typer.Argument(metavar="SCAN", help="NIfTI, NRRD, MHA/MHD, DICOM folder or a zip of one.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made if missing.")]
Series = Annotated[
    str | None, typer.Option(help="Number or UID of the series, if the DICOM folder holds several.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no text on success.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Results = Annotated[
    str,
    typer.Option("--results", "-r", help="Results database: an SQLite file, or the URL of a PostgreSQL one."),
]
Files = Annotated[
    Path | None,
    typer.Option(help="Folder for the files of the results; needed with a URL, else beside the database."),
]
