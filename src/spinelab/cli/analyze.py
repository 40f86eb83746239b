"""`spinelab analyze`: everything, from one or many scans."""

from pathlib import Path

from spinelab.cli.batch import run_batch
from spinelab.cli.flags import with_flags
from spinelab.cli.parameters import AsJson, Out, Quiet, Scans, Series
from spinelab.tasks.analyze import AnalyzeResult, Progress, analyze
from spinelab.tasks.segment import SegmentOptions


@with_flags(SegmentOptions)
def analyze_scans(
    scans: Scans,
    *,
    out: Out,
    series: Series = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    options: SegmentOptions,
) -> None:
    """Outline, name and measure every vertebra of one or more CT scans; write masks, tables and a report."""

    def work(scan: Path, progress: Progress | None) -> AnalyzeResult:
        return analyze(scan, out, options=options, series=series, progress=progress)

    run_batch(scans, work, quiet=quiet, as_json=as_json)
