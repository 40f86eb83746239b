"""`spinelab evaluate`: predictions against references."""

from pathlib import Path
from typing import Annotated, Any

import typer

from spinelab.cli.console import progress_bar, say, say_json
from spinelab.cli.flags import with_flags
from spinelab.cli.parameters import AsJson, Quiet
from spinelab.evaluation import METRICS, EvaluateOptions, Interval, ScanScores
from spinelab.tasks.evaluate import Evaluation, evaluate_files


@with_flags(EvaluateOptions)
def evaluate_readings(
    reference: Annotated[Path, typer.Argument(help="Mask, _ctd.json or _spine.json; or a folder of them.")],
    prediction: Annotated[Path, typer.Argument(help="The same; folders are matched by stem.")],
    *,
    quiet: Quiet = False,
    as_json: AsJson = False,
    options: EvaluateOptions,
) -> None:
    """Score names, places and outlines of vertebrae against a reference, with intervals over scans."""
    with progress_bar("evaluate", quiet=quiet) as progress:
        found = evaluate_files(reference, prediction, options=options, progress=progress)
    if as_json:
        data = found.summary.to_dict()
        say_json({**data, "missing": list(found.missing), "ignored": list(found.ignored)})
    elif not quiet:
        _print(found)


def _print(found: Evaluation) -> None:
    summary = found.summary
    scans = f"{len(summary.scans)} scan{'s' if len(summary.scans) != 1 else ''}"
    say(f"{scans}, {summary.n_vertebrae} reference vertebrae")
    for name, meaning in METRICS.items():
        say(f"  {name:18} {_figure(summary.metrics[name]):24} {meaning}")
    say(f"  a missed vertebra counts {summary.options.missed_hausdorff_mm:g} mm in hausdorff95_mm")
    for scan in summary.scans:
        if not scan.all_right:
            say(f"  {scan.name}: {_mistakes(scan)}")
    for name in found.missing:
        say(f"  {name}: no prediction, every vertebra counts as missed")
    if found.ignored:
        say(f"  without a reference, left out: {', '.join(found.ignored)}")


def _figure(interval: Interval) -> str:
    if interval.value is None:
        return "not measured"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _mistakes(scan: ScanScores) -> str:
    parts: list[Any] = []
    for vertebra in scan.vertebrae:
        if vertebra.found_as is None:
            parts.append(f"{vertebra.level} missed")
        elif vertebra.found_as != vertebra.level:
            parts.append(f"{vertebra.level} called {vertebra.found_as}")
        elif not vertebra.identified:
            parts.append(f"{vertebra.level} out of place")
    parts += [f"{name} invented" for name in scan.invented]
    return ", ".join(parts) or "names differ"
