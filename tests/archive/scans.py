"""Small scans on disk whose voxels all have one value."""

from pathlib import Path

import numpy as np
import SimpleITK

from tests.io.dicom_files import SeriesSpec, write_series

SLICES, STEP_MM = 9, 7.5


def write_file(path: Path, value: int) -> Path:
    """Writes a volume file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.full((3, 4, 5), value, dtype=np.int16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), str(path))
    return path


def spec(value: int, uid: str, *, slices: int = SLICES, step_mm: float = STEP_MM, **changes) -> SeriesSpec:
    """Returns an axial CT series of a study whose UID is `uid` up to its last dot."""
    tags = {"StudyInstanceUID": uid.rpartition(".")[0], **changes.pop("tags", {})}
    return SeriesSpec(np.full((3, 4, slices), value), step=(0.0, 0.0, step_mm), uid=uid, tags=tags, **changes)


def write_study(folder: Path, value: int, uid: str, **changes) -> list[Path]:
    """Writes one series into a folder; images get the same UIDs each time."""
    files = write_series(folder, spec(value, uid, **changes))
    return sorted(files)
