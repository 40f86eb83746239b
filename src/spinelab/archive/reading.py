"""Reads one scan of the queue: finds its voxels, analyzes them, names the outputs after the case."""

import time
from collections.abc import Sequence
from pathlib import Path

from spinelab.archive.jobs import Job, Reading
from spinelab.archive.series_choice import choose_to_read
from spinelab.errors import InputError, UnreadableError
from spinelab.io import read
from spinelab.io.archive import unpacked
from spinelab.io.dicom import is_dicom, read_slices
from spinelab.io.dicom_series import build_volume, choose_series, find_series
from spinelab.tasks.analyze import analyze_image
from spinelab.tasks.manifest import peak_memory_mb
from spinelab.tasks.segment import SegmentOptions
from spinelab.volume import Image


def read_scan(job: Job, out: Path, *, options: SegmentOptions) -> Reading:
    """Reads a scan with `spinelab.tasks.analyze`; a `Reader` once `options` is bound.

    Raises:
        InputError: The scan cannot be read (with its subclasses); the message holds no path.
        ModelError: The weights are missing or damaged.
        OutputError: The folder cannot be written.
    """
    began = time.perf_counter()
    try:
        image, choice = load_scan(job.source, job.kind, job.files)
    except InputError as error:
        raise type(error)(str(error).replace(str(job.source), "the scan")) from error
    found = analyze_image(image, out, name=job.case, options=options)
    files = {kind: path.name for kind, path in found.files.items()}
    return Reading(found.spine, files, round(time.perf_counter() - began, 2), peak_memory_mb(), choice)


def load_scan(source: Path, kind: str, files: Sequence[str]) -> tuple[Image, str | None]:
    """Returns the voxels of a scan, (i, j, k) as stored, and why this series of several.

    Args:
        source: As in `Job`.
        kind: Likewise.
        files: Likewise.

    Raises:
        InputError: It cannot be read (with its subclasses).
    """
    if kind == "zip":
        with unpacked(source) as folder:
            return _load_folder(folder)
    if kind == "dicom":
        return _load_series([source / name for name in files], source), None
    return read(source), None


def _load_series(files: list[Path], where: Path) -> Image:
    gone = sum(not file.is_file() for file in files)
    if gone:
        raise UnreadableError(f"{gone} of {len(files)} files of the series are no longer there")
    slices, damaged = read_slices(files)
    if damaged or not slices:
        raise UnreadableError(f"{damaged or len(files)} of {len(files)} files of the series are damaged")
    return build_volume(choose_series(find_series(slices), where), where)


def _load_folder(folder: Path) -> tuple[Image, str | None]:
    files = sorted(entry for entry in folder.rglob("*") if entry.is_file())
    dicom = [entry for entry in files if is_dicom(entry)]
    if not dicom:
        return read(folder), None
    slices, damaged = read_slices(dicom)
    choice = choose_to_read(find_series(slices))
    if choice.series is None:
        raise UnreadableError(choice.sentence + (f"; {damaged} files are damaged" if damaged else ""))
    return build_volume(choice.series, Path("the zip")), choice.sentence
