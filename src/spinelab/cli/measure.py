"""`spinelab measure`: a scan and somebody's mask to measurements."""

from pathlib import Path
from typing import Annotated

import typer

from spinelab.cli.console import say, say_json
from spinelab.cli.parameters import AsJson, Out, Quiet, Series
from spinelab.tasks.measure import measure_files


def measure_mask(
    scan: Annotated[Path, typer.Argument(help="NIfTI, NRRD, MHA/MHD, DICOM folder or a zip of one.")],
    mask: Annotated[Path, typer.Argument(help="VerSe numbers on the scan's grid.")],
    *,
    out: Out,
    centroids: Annotated[
        Path | None, typer.Option(help="VerSe centroid file; without it body centres come from the mask.")
    ] = None,
    series: Series = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure the vertebrae of a mask on its scan: heights, density, slip, curves. No network is run."""
    spine, files = measure_files(scan, mask, out, centroids=centroids, series=series)
    if as_json:
        say_json({"files": {kind: str(path) for kind, path in files.items()}, "spine": spine.to_dict()})
    elif not quiet:
        say(f"{scan.name}: {len(spine.vertebrae)} vertebrae measured")
        for warning in spine.warnings:
            say(f"  note: {warning}")
        for kind, path in files.items():
            say(f"  {kind:13} {path}")
