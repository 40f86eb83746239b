"""`spinelab simulate`: a scan and its mask to deformed ones with exact truth."""

from pathlib import Path
from typing import Annotated, Any

import typer

from spinelab.cli.console import progress_bar, say, say_json
from spinelab.cli.flags import with_flags
from spinelab.cli.parameters import AsJson, Out, Quiet
from spinelab.tasks.simulate import SimulateOptions, simulate_files


@with_flags(SimulateOptions, names={"cobb_deg": "cobb"})
def simulate_scan(
    scan: Annotated[Path, typer.Argument(help="CT or MR: NIfTI, NRRD, MHA/MHD, DICOM folder or a zip.")],
    mask: Annotated[Path, typer.Argument(help="VerSe numbers on the scan's grid.")],
    *,
    out: Out,
    options: SimulateOptions,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Deform a scan and its mask: curves, collapse, degeneration, with the exact truth."""
    with progress_bar(scan.name, quiet=quiet or as_json) as tell:
        on_draw = None if tell is None else lambda done, wanted: tell("simulate", done / wanted)
        manifest = simulate_files(scan, mask, out, options, on_draw=on_draw)
    if as_json:
        say_json(manifest)
    elif not quiet:
        for draw in manifest["draws"]:
            curves = "; ".join(map(_describe_curve, draw["cobb_deg"])) or "no curve"
            say(f"{draw['files'][0]} (simulated, seed {draw['seed']}): {curves}")
        for skipped in manifest["skipped"]:
            say(f"  skipped seed {skipped['seed']}: {skipped['reason']}")


def _describe_curve(curve: dict[str, Any]) -> str:
    side = f", convex to the {curve['convex']}" if curve["convex"] else ""
    ends = f"{curve['upper']} to {curve['lower']}, apex {curve['apex']}"
    return f"{curve['angle_deg']:.1f} degrees {ends}{side}"
