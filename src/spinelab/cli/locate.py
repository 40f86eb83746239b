"""`spinelab locate`: the vertebrae of a spine MR."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from spinelab.cli.batch import run_stages, unfold
from spinelab.cli.flags import with_flags
from spinelab.cli.parameters import AsJson, Out, Quiet, Series
from spinelab.tasks.landmarks import LocateJob, LocateOptions, locate_job, read_job, write_job


@with_flags(LocateOptions)
def locate_scans(
    scans: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCAN",
            help="NIfTI, NRRD, MHA/MHD, DICOM folder or a zip of one; PNG or JPEG of a sagittal slice; "
            "a folder of such files.",
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

    scans = unfold(scans)
    at_once = min(len(scans), options.threads or os.cpu_count() or 1)
    if at_once > 1:  # many scans on a core each take less time than each of them on all cores
        options = replace(options, threads=1)

    def begin(scan: Path) -> LocateJob:
        return read_job(LocateJob(scan, out, options, series, spacing))

    stages = (begin, locate_job, write_job)
    run_stages(scans, stages, workers=(1, at_once, 1), quiet=quiet, as_json=as_json)
