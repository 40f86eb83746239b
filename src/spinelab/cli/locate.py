"""`spinelab locate`: the vertebrae of a spine MR."""

from pathlib import Path
from typing import Annotated

import typer

from spinelab.cli.batch import run_batch
from spinelab.cli.flags import with_flags
from spinelab.cli.parameters import AsJson, Out, Quiet, Series
from spinelab.tasks.analyze import Progress
from spinelab.tasks.landmarks import LocateOptions, LocateResult, locate_file


@with_flags(LocateOptions)
def locate_scans(
    scans: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCAN",
            help="NIfTI, NRRD, MHA/MHD, DICOM folder or a zip of one; PNG or JPEG of a sagittal slice.",
        ),
    ],
    *,
    out: Out,
    spacing: Annotated[
        float | None, typer.Option(help="Edge of a pixel in mm, for PNG and JPEG, which do not state it.")
    ] = None,
    series: Series = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    options: LocateOptions,
) -> None:
    """Find and name the vertebrae of one or more spine MRs: centres, corners, discs, certainty."""

    def work(scan: Path, progress: Progress | None) -> LocateResult:
        return locate_file(scan, out, options=options, series=series, spacing_mm=spacing)

    run_batch(scans, work, quiet=quiet, as_json=as_json)
