"""Writes DICOM series with known geometry, faults included."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid


@dataclass(frozen=True)
class SeriesSpec:
    """A series: `voxels` (columns, rows, slices) in HU, slice k at `origin` + k * `step`."""

    voxels: np.ndarray
    number: int | None = 3
    origin: tuple[float, float, float] = (-20.0, -30.0, 100.0)
    step: tuple[float, float, float] = (0.0, 0.0, 2.5)
    spacing: tuple[float, float] = (0.5, 0.75)  # between columns, between rows
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0)
    slope: float = 1.0
    intercept: float = -1024.0
    modality: str = "CT"
    rle: bool = False
    uid: str = field(default_factory=generate_uid)
    tags: dict[str, object] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()


def voxels(shape=(8, 6, 12), seed=1) -> np.ndarray:
    """Returns whole HU from -1000 to 1500, (columns, rows, slices)."""
    return np.random.default_rng(seed).integers(-1000, 1500, shape)


def write_series(folder: Path, spec: SeriesSpec, keep=None) -> list[Path]:
    """Writes the slices (only those in `keep`) under names and instance numbers in shuffled order."""
    folder.mkdir(parents=True, exist_ok=True)
    count = spec.voxels.shape[2]
    shuffled = np.random.default_rng(5).permutation(count)
    paths = []
    for k in range(count) if keep is None else keep:
        data = slice_dataset(spec, k, int(shuffled[k]))
        path = folder / f"{spec.uid[-6:]}_{shuffled[k]:03d}_{len(list(folder.iterdir())):03d}"
        data.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def slice_dataset(spec: SeriesSpec, k: int, instance: int) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.PatientName, data.PatientID = "Secret^Name", "SECRET-4711"
    data.Modality, data.SeriesInstanceUID = spec.modality, spec.uid
    if spec.number is not None:
        data.SeriesNumber = spec.number
    data.InstanceNumber = instance
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.ImagePositionPatient = [float(o + k * s) for o, s in zip(spec.origin, spec.step, strict=True)]
    data.ImageOrientationPatient = [float(v) for v in spec.orientation]
    data.PixelSpacing = [spec.spacing[1], spec.spacing[0]]
    data.RescaleSlope, data.RescaleIntercept = spec.slope, spec.intercept
    data.Columns, data.Rows = spec.voxels.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    stored = np.rint((spec.voxels[:, :, k].T - spec.intercept) / spec.slope).astype("<u2")
    data.PixelData = stored.tobytes()
    for name, value in spec.tags.items():
        setattr(data, name, value)
    for name in spec.leave_out:
        delattr(data, name)
    if spec.rle:
        data.compress(RLELossless)
    return data
