"""`spinelab segment`: the mask and the centroids alone."""

from pathlib import Path

from spinelab.cli.batch import run_batch
from spinelab.cli.flags import with_flags
from spinelab.cli.parameters import AsJson, Out, Quiet, Scans, Series
from spinelab.tasks.analyze import AnalyzeResult, Progress, segment_scan
from spinelab.tasks.segment import SegmentOptions


@with_flags(SegmentOptions)
def segment_scans(
    scans: Scans,
    *,
    out: Out,
    series: Series = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    options: SegmentOptions,
) -> None:
    """Outline and name every vertebra of one or more CT scans; write the mask and the centroids."""

    def work(scan: Path, progress: Progress | None) -> AnalyzeResult:
        return segment_scan(scan, out, options=options, series=series, progress=progress)

    run_batch(scans, work, quiet=quiet, as_json=as_json)
