"""DICOM files of a folder told apart by study, and the scan to read of each study."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from spinelab.archive.queue import FoundScan
from spinelab.archive.series_choice import choose_to_read
from spinelab.io.dicom import is_dicom, read_slices
from spinelab.io.dicom_series import Series, find_series

_STUDY_TAG = 0x0020000D
_BLOCK = 1 << 20


def group_by_study(files: Iterable[Path], folder: Path) -> dict[str, list[Path]]:
    """Tells the DICOM files of a folder apart by study.

    Returns:
        Hash of the study -> its files. Those that do not say are of the folder's only study, or else are
        taken together as one of their own.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    unsaid = []
    for file in files:
        if not is_dicom(file):
            continue
        uid = _study_uid(file)
        if uid:
            groups[hash_text(uid)].append(file)
        else:
            unsaid.append(file)
    if unsaid:
        home = next(iter(groups)) if len(groups) == 1 else hash_text(f"folder {folder}")
        groups[home].extend(unsaid)
    return dict(groups)


def choose_scan(study: str, files: Sequence[Path]) -> FoundScan:
    """Reads the headers of a study's files and chooses what to read, or says why nothing can be."""
    slices, damaged = read_slices(files)
    series = find_series(slices)
    chosen = choose_to_read(series)
    sentence = chosen.sentence
    if damaged:
        sentence += f"; {damaged} damaged files left out"
    if chosen.series is None:
        key = hash_text(
            "\n".join(["no series", study, *sorted(_key_of(part) for part in series), str(damaged)])
        )
        source = os.path.commonpath([file.parent for file in files])
        return FoundScan(key, source, "dicom", (), study, None, sentence)
    paths = list(dict.fromkeys(item.path for item in chosen.series.slices))
    source = os.path.commonpath([path.parent for path in paths])
    names = tuple(os.path.relpath(path, source) for path in paths)
    return FoundScan(_key_of(chosen.series), source, "dicom", names, study, sentence)


def hash_files(files: Iterable[Path]) -> str:
    """Returns the sha256 of the content of files, one after the other.

    Raises:
        OSError: One cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def hash_text(text: str) -> str:
    """Returns the sha256 of a text."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _key_of(part: Series) -> str:
    """Returns the identity of a series with exactly these images, wherever they lie."""
    images = sorted(
        f"{item.facts.get('SOPInstanceUID', item.path.name)} {item.frame}" for item in part.slices
    )
    return hash_text("\n".join([part.uid, *images]))


def _study_uid(file: Path) -> str | None:
    """Returns the StudyInstanceUID of a file, reading no further than that; None if it has none."""
    from pydicom.filereader import read_partial

    try:
        with file.open("rb") as stream:
            data = read_partial(stream, lambda tag, vr, length: tag > _STUDY_TAG, force=True)
            return str(data.get("StudyInstanceUID") or "").strip() or None
    except Exception:  # pydicom raises nearly anything on damaged files
        return None
