"""`spinelab convert-labels`: renumber a mask, refusing to lose labels silently."""

from pathlib import Path
from typing import Annotated

import typer

from spinelab.cli.console import say, say_json
from spinelab.cli.parameters import AsJson, Quiet
from spinelab.labels import SCHEMES
from spinelab.tasks.convert import NAMES, convert_files

_CHOICES = ", ".join((*SCHEMES, NAMES))


def convert_labels(
    source: Annotated[Path, typer.Argument(help="Mask file, or a folder of masks with --from names.")],
    target: Annotated[Path, typer.Argument(help="Mask file to write, or a folder with --to names.")],
    *,
    scheme: Annotated[str, typer.Option("--from", help=f"Scheme of SOURCE: {_CHOICES}.")],
    wanted: Annotated[str, typer.Option("--to", help="Scheme of TARGET, likewise.")] = "verse",
    drop: Annotated[
        bool, typer.Option("--drop", help="Accept losses: S1 joins the sacrum, the rest becomes 0.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Renumber a mask between VerSe, TotalSegmentator, TotalSpineSeg, SPIDER and one file a name."""
    files = convert_files(source, target, scheme=scheme, wanted=wanted, drop=drop)
    if as_json:
        say_json({"target": str(target), "files": files})
    elif not quiet:
        say(f"{target}: {wanted}" + (f", {len(files)} files" if wanted == NAMES else ""))
