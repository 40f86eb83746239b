"""Finds and names the vertebrae of a spine MR and marks centre, corners and discs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinelab import models
from spinelab.errors import InputError
from spinelab.io import check_mr, read, verse, write_spine
from spinelab.io.outputs import OutputFolder
from spinelab.io.picture import is_picture, read_picture
from spinelab.measurement.landmarks import measure_landmarks
from spinelab.report import write_preview, write_report
from spinelab.spine import Corners, Point, Spine, Vertebra
from spinelab.tasks.landmark_cautions import INFERRED_FLAG, caution
from spinelab.tasks.landmark_maps import FoundBody, map_landmarks, read_bodies
from spinelab.tasks.manifest import Stopwatch, run_manifest, stem_of
from spinelab.tasks.mr_volume import MrVolume, normalise_scan
from spinelab.tasks.naming import NamedColumn, TracedPoint, name_column, trace_column
from spinelab.volume import Image

Floats = NDArray[np.float64]

#: What `locate_file` writes, after the scan's stem.
OUTPUTS = {
    "centroids": "_ctd.json",
    "spine": "_spine.json",
    "report": "_report.html",
    "preview": "_preview.png",
}
_SACRUM = "S"
#: Least mean heat along a chain that is taken for a column, and for one of fewer bodies than `_SHORT`: rows
#: of folds and vessels in slices of brains and in planes across the body look like three to six faint bodies.
#: Columns in 60 slices and volumes of spines had 0.57 to 0.8, chains of 3 to 5 in brains 0.5 to 0.64.
_LEAST_SCORE, _LEAST_SHORT, _SHORT = 0.5, 0.63, 6
#: How a scan may be turned over, on (left, back, head) axes, and how much fainter the column may then be.
_TURNS = (((1, 2), "upside down"), ((2,), "mirrored head to foot"), ((1,), "mirrored front to back"))
_FAINTER = 0.03
_NO_COLUMN = (
    "give a sagittal MR through the middle of the spine, with the head end up, that shows at least two whole "
    "vertebrae, and check that its voxels are"
)


@dataclass(frozen=True)
class LocateOptions:
    """How to locate.

    Attributes:
        device: "cpu" or "cuda".
        threads: CPU threads, 0 for one a core.
        weights: Folder with ``weights.json`` of your own training run; none: the shipped weights.
    """

    device: str = "cpu"
    threads: int = 0
    weights: Path | None = None


@dataclass(frozen=True)
class LocateResult:
    """What came of one scan.

    Attributes:
        spine: Vertebrae with names, centres and corners; discs; warnings; manifest.
        files: Kind of output (a key of `OUTPUTS`) -> where it was written.
    """

    spine: Spine
    files: dict[str, Path]


def locate(image: Image, options: LocateOptions = LocateOptions()) -> Spine:
    """Finds the vertebrae of a spine MR: body centre, four mid-sagittal corners, discs, names, certainty.

    Args:
        image: MR of any contrast: a sagittal stack, a volume, or one sagittal slice; any axes.
        options: Device and threads.

    Returns:
        Vertebrae from the head down and the discs between neighbours, LPS mm, each with its standard
        deviation; heights of bodies and discs, kyphosis and lordosis as far as the corners tell them. Names
        rest on the sacrum where it is seen; where it is not, the numbering says so.

    Raises:
        ModalityError: A CT, or a film.
        GeometryError: Too coarse, too small, or not sagittal.
        InputError: No column of at least two vertebrae is seen, or the scan is upside down or mirrored.
        ModelError: Weights missing, damaged or unfit.
    """
    checked = check_mr(image)
    network = models.load("landmarks", folder=options.weights, device=options.device, threads=options.threads)
    volume = normalise_scan(checked.image)
    bodies, chain = _trace(volume, network)
    named = name_column(chain) if chain else None
    if named is None or not named.numbering.anchored:
        _refuse_turned(volume, network, chain)
    vertebrae = _vertebrae(checked.image, bodies, named) if named else ()
    if named is None or len(vertebrae) < 2:
        raise InputError(
            f"found {len(vertebrae) or 'no'} vertebra in this scan, wanted 2 or more; {_NO_COLUMN} "
            f"{' x '.join(f'{mm:.2g}' for mm in image.spacing_mm)} mm"
        )
    spine = Spine(vertebrae, named.numbering).with_warnings(
        *checked.warnings, *caution(image.geometry, vertebrae, named, belief=_belief(chain))
    )
    return measure_landmarks(spine, sacrum=_sacrum_below(named))


@dataclass(frozen=True)
class LocateJob:
    """A scan on its way through `read_job`, `locate_job` and `write_job`, which a batch lets overlap.

    Attributes:
        source: NIfTI, NRRD, MHA/MHD, DICOM folder or a zip of one; PNG or JPEG of one sagittal slice.
        out: Folder for the results; made if missing.
        options: Device, threads, weights.
        series: Which series, if the DICOM folder holds several.
        spacing_mm: Edge of a pixel of a PNG or JPEG.
        image: The scan, once read.
        spine: What was found, once located.
        watch: Seconds a stage.
    """

    source: Path
    out: Path
    options: LocateOptions = LocateOptions()
    series: str | None = None
    spacing_mm: float | None = None
    image: Image | None = None
    spine: Spine | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)


def locate_file(
    path: str | Path,
    out: str | Path,
    *,
    options: LocateOptions = LocateOptions(),
    series: str | None = None,
    spacing_mm: float | None = None,
) -> LocateResult:
    """Locates the vertebrae of a file's scan and writes the files in `OUTPUTS`, all of them or none.

    Args:
        path: NIfTI, NRRD, MHA/MHD, DICOM folder or a zip of one; PNG or JPEG of one sagittal slice.
        out: Folder for the results; made if missing.
        options: Device and threads.
        series: Which series, if the DICOM folder holds several.
        spacing_mm: Edge of a pixel of a PNG or JPEG.

    Raises:
        InputError: As in `locate`, or the file cannot be read.
        ModelError: Weights missing, damaged or unfit.
        OutputError: The folder cannot be written.
    """
    job = LocateJob(Path(path), Path(out), options, series, spacing_mm)
    return write_job(locate_job(read_job(job)))


def read_job(job: LocateJob) -> LocateJob:
    """Reads the scan of a job.

    Raises:
        InputError: It cannot be read, or `spacing_mm` is given for a file that states its own.
    """
    source = job.source
    picture = is_picture(source)
    if job.spacing_mm is not None and not picture:
        raise InputError(f"{source.name} states its own spacing; --spacing is for PNG and JPEG")
    with job.watch.stage("read"):
        image = read_picture(source, job.spacing_mm) if picture else read(source, series=job.series)
    return replace(job, image=image)


def locate_job(job: LocateJob) -> LocateJob:
    """Finds the vertebrae of a job's scan; raises what `locate` raises."""
    assert job.image is not None
    with job.watch.stage("locate"):
        spine = locate(job.image, job.options)
    return replace(job, spine=spine)


def write_job(job: LocateJob) -> LocateResult:
    """Writes the files of a job whose vertebrae are found, all of them or none.

    Raises:
        OutputError: The folder cannot be written.
    """
    assert job.image is not None
    assert job.spine is not None
    image, spine = job.image, _with_manifest(job.spine, job)
    stem = job.source.stem if is_picture(job.source) else stem_of(job.source)
    with OutputFolder(job.out) as folder:
        with job.watch.stage("write"):
            verse.write_centroids(spine, image.geometry, folder.path(stem + OUTPUTS["centroids"]))
        with job.watch.stage("report"):
            picture = write_preview(image, None, spine, folder.path(stem + OUTPUTS["preview"]))
            write_report(image, None, spine, folder.path(stem + OUTPUTS["report"]), picture=picture)
        spine = _with_manifest(spine, job)
        write_spine(spine, folder.path(stem + OUTPUTS["spine"]))
    return LocateResult(spine, {kind: job.out / (stem + ending) for kind, ending in OUTPUTS.items()})


def _with_manifest(spine: Spine, job: LocateJob) -> Spine:
    options = job.options
    chosen = {**asdict(options), "weights": options.weights.resolve().name if options.weights else None}
    digest = models.weights_digest(options.weights or models.weights_folder("landmarks"))
    return replace(spine, manifest=run_manifest(job.source.resolve().name, chosen, job.watch, weights=digest))


def _trace(volume: MrVolume, network: models.Network) -> tuple[list[FoundBody], tuple[TracedPoint, ...]]:
    """Returns the bodies seen and the column among them; none where the network hardly believes in it."""
    bodies = read_bodies(map_landmarks(volume, network))
    chain = trace_column([body.candidate for body in bodies])
    seen = sum(not point.inserted for point in chain)
    return bodies, chain if _belief(chain) >= (_LEAST_SHORT if seen < _SHORT else _LEAST_SCORE) else ()


def _belief(chain: Sequence[TracedPoint]) -> float:
    """Mean heat of what was seen of a column; 0 where there is none."""
    scores = [point.score for point in chain if not point.inserted]
    return float(np.mean(scores)) if scores else 0.0


def _refuse_turned(volume: MrVolume, network: models.Network, chain: Sequence[TracedPoint]) -> None:
    """Refuses a scan whose sacrum is seen only once it is turned over, on a column about as clear or clearer.

    Raises:
        InputError: It does.
    """
    for axes, how in _TURNS:
        turned = replace(volume, array=np.flip(volume.array, axes), seen=np.flip(volume.seen, axes))
        _, other = _trace(turned, network)
        if not other or _belief(other) <= _belief(chain) - _FAINTER:
            continue
        if "sacrum" in name_column(other).numbering.anchors:
            raise InputError(f"this scan looks {how}; turn it, or check how it was converted")


def _vertebrae(image: Image, bodies: Sequence[FoundBody], named: NamedColumn) -> tuple[Vertebra, ...]:
    return tuple(
        _vertebra(
            image, name, probability, None if point.candidate is None else bodies[point.candidate], point
        )
        for point, name, probability in zip(named.points, named.levels, named.probabilities, strict=True)
        if name != _SACRUM
    )


def _sacrum_below(named: NamedColumn) -> Point | None:
    """The centre of S1 where it was seen below the last vertebra."""
    last = named.points[-1]
    seen = named.levels[-1] == _SACRUM and last.candidate is not None
    return last.center_mm if seen else None


def _vertebra(
    image: Image, name: str, probability: float, body: FoundBody | None, point: TracedPoint
) -> Vertebra:
    if body is None:
        return Vertebra(name, point.center_mm, probability, flags=(INFERRED_FLAG,))
    corners = [_point(corner) for corner in body.points_mm[1:]]
    a, b, c, d = (round(float(sd), 2) for sd in body.sd_mm[1:])
    complete = _shows(image, body.points_mm[1:])
    return Vertebra(
        level=name,
        center_mm=_point(body.points_mm[0]),
        probability=probability,
        complete=complete,
        detection=body.candidate.score,
        center_sd_mm=round(float(body.sd_mm[0]), 2),
        corners=Corners(corners[0], corners[1], corners[2], corners[3], (a, b, c, d)),
        flags=() if complete else ("cut",),
    )


def _shows(image: Image, points_mm: Floats) -> bool:
    """Whether points lie in view from front to back and head to foot; a slice has no depth across."""
    index = image.geometry.world_to_index(points_mm)
    across = image.geometry.axes_by_world[0]
    upper = np.asarray(image.geometry.shape) - 0.5
    inside = (index >= -0.5) & (index <= upper)
    inside[:, across] = True
    return bool(inside.all())


def _point(values: Floats) -> Point:
    x, y, z = (round(float(value), 2) for value in values)
    return (x, y, z)
