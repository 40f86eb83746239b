"""`spinelab simulate`: a scan and its mask to deformed ones with exact truth."""

from pathlib import Path
from typing import Annotated

import typer

from spinelab.cli.console import progress_bar, say, say_json
from spinelab.cli.parameters import AsJson, Out, Quiet
from spinelab.errors import InputError
from spinelab.simulate.deformity import CurveRequest
from spinelab.tasks.simulate import SimulateOptions, parse_findings, simulate_files

_SIDES = ("left", "right")
_SEVERITIES = ("none", "mild", "moderate", "severe")
_MODALITIES = ("auto", "ct", "mr")
Several = list[str] | None


def simulate_scan(
    scan: Annotated[Path, typer.Argument(help="CT or MR: NIfTI, NRRD, MHA/MHD, DICOM folder or a zip.")],
    mask: Annotated[Path, typer.Argument(help="VerSe numbers on the scan's grid.")],
    *,
    out: Out,
    cobb: Annotated[float | None, typer.Option(help="Angle of the main coronal curve in degrees.")] = None,
    apex: Annotated[str | None, typer.Option(help="Level of its apex, such as T9.")] = None,
    side: Annotated[str | None, typer.Option(help="Side it is convex to: left or right.")] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="thoracic, double_thoracic, double_major, triple_major, thoracolumbar or "
            "thoracolumbar_thoracic."
        ),
    ] = None,
    severity: Annotated[
        str | None, typer.Option(help="Instead of an angle: none, mild, moderate or severe.")
    ] = None,
    posture: Annotated[
        float, typer.Option(help="How much of kyphosis and lordosis is drawn too, 0 to 1.")
    ] = 0.0,
    angles: Annotated[
        Path | None, typer.Option(help="CSV with level, coronal_deg, sagittal_deg, axial_deg to add.")
    ] = None,
    collapse: Annotated[
        Several, typer.Option(help="LEVEL:wedge|biconcave|crush:PERCENT, repeatable.")
    ] = None,
    slip: Annotated[Several, typer.Option(help="LEVEL:MM the vertebra above slips forward.")] = None,
    narrow: Annotated[Several, typer.Option(help="LEVEL:PERCENT of disc height lost.")] = None,
    osteophytes: Annotated[Several, typer.Option(help="LEVEL:MM of the rims' growth.")] = None,
    sclerosis: Annotated[Several, typer.Option(help="LEVEL:DEPTH_MM:HU below the endplates.")] = None,
    count: Annotated[int, typer.Option(help="How many scans to make.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the first; the next ones count up.")] = 0,
    modality: Annotated[str, typer.Option(help="auto, ct or mr.")] = "auto",
    unknown_sides: Annotated[
        bool, typer.Option("--unknown-sides", help="Left and right of the scan are not to be trusted.")
    ] = False,
    grow: Annotated[
        bool, typer.Option("--grow", help="Enlarge the grid so that no vertebra leaves it.")
    ] = False,
    radiograph: Annotated[
        bool, typer.Option("--radiograph", help="Write AP and lateral films with corner points too.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Deform a scan and its mask: curves, collapse, degeneration, with the exact truth."""
    for name, value, allowed in (
        ("side", side, _SIDES), ("severity", severity, _SEVERITIES), ("modality", modality, _MODALITIES),
    ):  # fmt: skip
        if value is not None and value not in allowed:
            raise InputError(f"found --{name} {value}; wanted {', '.join(allowed)}")
    typed = {
        "collapse": collapse, "slip": slip, "narrow": narrow, "osteophytes": osteophytes,
        "sclerosis": sclerosis,
    }  # fmt: skip
    findings = [finding for kind, texts in typed.items() for finding in parse_findings(kind, texts or ())]
    curve = CurveRequest(cobb, apex, side, pattern, severity, posture)  # type: ignore[arg-type]
    options = SimulateOptions(
        curve=curve,
        angles=angles,
        findings=tuple(findings),
        count=count,
        seed=seed,
        modality=modality,  # type: ignore[arg-type]
        sides_known=not unknown_sides,
        grow=grow,
        radiograph=radiograph,
    )
    with progress_bar(scan.name, quiet=quiet or as_json) as tell:
        on_draw = None if tell is None else lambda done, wanted: tell("simulate", done / wanted)
        manifest = simulate_files(scan, mask, out, options, on_draw=on_draw)
    if as_json:
        say_json(manifest)
    elif not quiet:
        for draw in manifest["draws"]:
            curves = [
                f"{c['angle_deg']:.1f} degrees {c['upper']} to {c['lower']}, apex {c['apex']}"
                + (f", convex to the {c['convex']}" if c["convex"] else "")
                for c in draw["cobb_deg"]
            ]
            say(f"{draw['files'][0]} (simulated, seed {draw['seed']}): {'; '.join(curves) or 'no curve'}")
        for skipped in manifest["skipped"]:
            say(f"  skipped seed {skipped['seed']}: {skipped['reason']}")
