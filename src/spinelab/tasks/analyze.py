"""From a scan's file to every output: read, check, outline, name, measure, draw, write."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from spinelab.io import check_ct, read, slicer, table, verse, write_mask, write_spine
from spinelab.io.outputs import OutputFolder
from spinelab.io.plausibility import looks_like_mr
from spinelab.measurement import measure
from spinelab.models import weights_digest
from spinelab.report import write_preview, write_report
from spinelab.spine import Spine
from spinelab.tasks.fracture import grade_fractures
from spinelab.tasks.fracture_network import digest_of_reader, read_network
from spinelab.tasks.landmarks import LocateJob, LocateOptions, locate_job, write_job
from spinelab.tasks.manifest import Stopwatch, run_manifest, stem_of
from spinelab.tasks.segment import Segmentation, SegmentOptions, segment
from spinelab.volume import Image, Mask

Progress = Callable[[str, float], None]

#: What `analyze` writes, after the scan's stem.
OUTPUTS = {
    "mask": "_vert.nii.gz",
    "centroids": "_ctd.json",
    "spine": "_spine.json",
    "measurements": "_measurements.csv",
    "slicer": ".seg.nrrd",
    "report": "_report.html",
    "preview": "_preview.png",
}
_TAKEN_FOR_MR = (
    "Taken for an MR, because hardly any voxel is below zero. A CT is to be converted again so that it holds "
    "HU."
)


@dataclass(frozen=True)
class AnalyzeResult:
    """What came of one scan.

    Attributes:
        mask: VerSe numbers (i, j, k) on the scan's own grid; None for an MR, of which landmarks are found.
        spine: Vertebrae, names, measurements, warnings, manifest.
        files: Kind of output (a key of `OUTPUTS`) -> where it was written.
    """

    mask: Mask | None
    spine: Spine
    files: dict[str, Path]


def analyze(
    path: str | Path,
    out: str | Path,
    *,
    options: SegmentOptions = SegmentOptions(),  # noqa: B008 frozen
    series: str | None = None,
    progress: Progress | None = None,
) -> AnalyzeResult:
    """Outlines, names, measures and grades the vertebrae of a CT and writes all results.

    An MR is recognised and goes through `spinelab.tasks.landmarks` instead.

    Args:
        path: NIfTI, NRRD, MHA/MHD, DICOM folder or a zip of one.
        out: Folder for the files in `OUTPUTS` (of an MR those of `landmarks.OUTPUTS`); made if missing. It
            gets all of them or none.
        options: Device, threads and the like.
        series: Which series, if the DICOM folder holds several.
        progress: Called with the stage's name and its fraction done.

    Raises:
        InputError: The scan cannot be read or is neither CT nor an MR of a spine (with its subclasses).
        ModelError: The weights are missing or damaged.
        OutputError: The folder cannot be written.
    """
    source, tell = Path(path), progress or _ignore
    called = _Called(stem_of(source), source.resolve().name)
    tell("read", 0.0)
    with called.watch.stage("read"):
        image = read(source, series=series)
    if looks_like_mr(image):
        tell("locate", 0.0)
        chosen = LocateOptions(options.device, options.threads, options.weights)
        job = LocateJob(source, Path(out), chosen, image=_say_how_known(image), watch=called.watch)
        located = write_job(locate_job(job))
        return AnalyzeResult(None, located.spine, located.files)
    loaded = [image]
    del image  # so that the scan as read can go once it is checked
    return _analyze(loaded.pop, Path(out), called, options, tell)


def analyze_image(
    image: Image,
    out: str | Path,
    *,
    name: str,
    options: SegmentOptions = SegmentOptions(),  # noqa: B008 frozen
    progress: Progress | None = None,
) -> AnalyzeResult:
    """Does what `analyze` does with a scan that is in memory already.

    Args:
        image: CT in HU, (i, j, k) voxels on any grid.
        out: As in `analyze`.
        name: What files and manifest are called after, in place of the scan's own file name.
        options: As in `analyze`.
        progress: As in `analyze`.

    Raises:
        InputError: The image is no CT (with its subclasses).
        ModelError: The weights are missing or damaged.
        OutputError: The folder cannot be written.
    """
    return _analyze(lambda: image, Path(out), _Called(name, name), options, progress or _ignore)


def _say_how_known(image: Image) -> Image:
    """Returns an MR with a warning where no header said that it is one."""
    if image.modality != "unknown":
        return image
    warnings = [line for line in (image.info.get("warnings"), _TAKEN_FOR_MR) if line]
    return replace(image, info={**image.info, "warnings": "\n".join(warnings)})


@dataclass(frozen=True)
class _Called:
    """What outputs are named after, the input's name in the manifest, and the seconds so far."""

    stem: str
    source: str
    watch: Stopwatch = field(default_factory=Stopwatch)


def _analyze(
    load: Callable[[], Image], target: Path, called: _Called, options: SegmentOptions, tell: Progress
) -> AnalyzeResult:
    watch, stem = called.watch, called.stem
    with OutputFolder(target) as folder:
        image, found = _read_and_segment(load, options, tell, watch)
        with watch.stage("measure"):
            tell("measure", 0.0)
            measured = measure(image, found.mask, found.spine, outlines=found.outlines)
            spine = grade_fractures(measured)
            spine = read_network(
                image,
                found.mask,
                spine,
                outlines=found.outlines,
                weights=options.weights,
                threads=options.threads,
            )
        spine = _with_manifest(spine, called.source, options, watch)
        with watch.stage("write"):
            tell("write", 0.0)
            _write_data(found.mask, spine, folder, stem)
        with watch.stage("report"):
            tell("report", 0.0)
            picture = write_preview(image, found.mask, spine, folder.path(stem + OUTPUTS["preview"]))
            report = folder.path(stem + OUTPUTS["report"])
            write_report(image, found.mask, spine, report, picture=picture)
        spine = _with_manifest(spine, called.source, options, watch)
        write_spine(spine, folder.path(stem + OUTPUTS["spine"]))
    tell("report", 1.0)
    return AnalyzeResult(
        found.mask, spine, {kind: target / (stem + ending) for kind, ending in OUTPUTS.items()}
    )


def segment_scan(
    path: str | Path,
    out: str | Path,
    *,
    options: SegmentOptions = SegmentOptions(),  # noqa: B008 frozen
    series: str | None = None,
    progress: Progress | None = None,
) -> AnalyzeResult:
    """Outlines and names the vertebrae of a CT and writes the mask and the centroids alone.

    Arguments and errors are those of `analyze`.
    """
    watch = Stopwatch()
    source, target = Path(path), Path(out)
    stem = stem_of(source)
    kinds = ("mask", "centroids")
    with OutputFolder(target) as folder:
        _, found = _read_and_segment(lambda: read(source, series=series), options, progress or _ignore, watch)
        write_mask(found.mask, folder.path(stem + OUTPUTS["mask"]))
        verse.write_centroids(found.spine, found.mask.geometry, folder.path(stem + OUTPUTS["centroids"]))
    spine = _with_manifest(found.spine, source.resolve().name, options, watch, graded=False)
    return AnalyzeResult(found.mask, spine, {kind: target / (stem + OUTPUTS[kind]) for kind in kinds})


def _ignore(stage: str, fraction: float) -> None:
    """Takes progress nobody watches."""


def _read_and_segment(
    load: Callable[[], Image], options: SegmentOptions, tell: Progress, watch: Stopwatch
) -> tuple[Image, Segmentation]:
    with watch.stage("read"):
        tell("read", 0.0)
        checked = check_ct(load())
    with watch.stage("segment"):
        found = segment(checked.image, options, progress=tell)
    watch.include(found.seconds, replacing="segment")
    warned = found.spine.with_warnings(*checked.warnings)
    return checked.image, replace(found, spine=warned)


def _write_data(mask: Mask, spine: Spine, folder: OutputFolder, stem: str) -> None:
    write_mask(mask, folder.path(stem + OUTPUTS["mask"]))
    verse.write_centroids(spine, mask.geometry, folder.path(stem + OUTPUTS["centroids"]))
    table.write_measurements(spine, folder.path(stem + OUTPUTS["measurements"]))
    slicer.write_segmentation(mask, spine, folder.path(stem + OUTPUTS["slicer"]))


def _with_manifest(
    spine: Spine, source: str, options: SegmentOptions, watch: Stopwatch, *, graded: bool = True
) -> Spine:
    chosen = asdict(options)
    chosen["weights"] = options.weights.resolve().name if options.weights else None
    digest = weights_digest(options.weights) | (digest_of_reader(options.weights) if graded else {})
    manifest = run_manifest(source, chosen, watch, weights=digest)
    return replace(spine, manifest={**spine.manifest, **manifest})
