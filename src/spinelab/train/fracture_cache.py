"""Samples of the fracture network, drawn once and kept: one small file a case and draw."""

import json
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinelab.models import WINDOW_HU
from spinelab.tasks.fracture_crop import SLICES_MM
from spinelab.train.collapsed import Scan
from spinelab.train.fracture_draws import KEPT_SHAPE, DrawOptions, Sample, draw_samples

#: Grey values of a kept crop: 0 is not scanned, 1 to 255 the window of the networks.
_STEPS = 254
_USUAL = DrawOptions()
_SHAPE = (len(SLICES_MM), *KEPT_SHAPE)


@dataclass(frozen=True, eq=False)
class Kept:
    """Samples in memory.

    Attributes:
        grey: (n, 5, j, k) uint8, 0 where nothing was scanned, else 1 to 255 over the window.
        outline: (n, 5, j, k) int8.
        rows: One dict a sample: case, level, source, slice_mm, lost_percent, most_percent, probability,
            shape, geometry.
    """

    grey: NDArray[np.uint8]
    outline: NDArray[np.int8]
    rows: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def pick(self, chosen: Sequence[int]) -> "Kept":
        """Returns some of the samples."""
        places = np.asarray(chosen, dtype=int)
        return Kept(self.grey[places], self.outline[places], [self.rows[i] for i in places])


def to_grey(sample: Sample) -> NDArray[np.uint8]:
    """Returns (5, j, k) the grey values of a sample's crop."""
    low, high = WINDOW_HU
    share = (np.clip(sample.crop.hu, low, high) - low) / (high - low)
    return np.where(sample.crop.in_view, 1 + np.round(share * _STEPS), 0).astype(np.uint8)


def to_hu(grey: Any) -> Any:
    """Returns HU of grey values (array or tensor); the lower end of the window where nothing was scanned."""
    low, high = WINDOW_HU
    return (grey - 1).clip(0) * ((high - low) / _STEPS) + low


def keep_samples(samples: Iterable[Sample], path: Path) -> int:
    """Writes samples to a file, whole or not at all; returns how many."""
    kept = pack(list(samples))
    partial = path.with_name(f"{path.stem}_{os.getpid()}.part")
    with partial.open("wb") as file:
        np.savez_compressed(file, grey=kept.grey, outline=kept.outline, rows=np.array(json.dumps(kept.rows)))
    partial.replace(path)
    return len(kept)


def pack(samples: Sequence[Sample]) -> Kept:
    """Returns samples as they are kept."""
    rows = []
    for s in samples:
        row: dict[str, Any] = {
            key: getattr(s, key) for key in ("case", "level", "source", "slice_mm", "shape")
        }
        row |= {"probability": s.probability, "most_percent": list(s.most_percent), "geometry": s.geometry}
        row["lost_percent"] = [None if np.isnan(v) else float(v) for v in s.lost_percent]
        rows.append(row)
    if not samples:
        return Kept(np.zeros((0, *_SHAPE), np.uint8), np.zeros((0, *_SHAPE), np.int8), rows)
    return Kept(np.stack([to_grey(s) for s in samples]), np.stack([s.crop.outline for s in samples]), rows)


def load_samples(paths: Iterable[Path]) -> Kept:
    """Reads samples back, those of all files together."""
    parts = []
    for path in sorted(paths):
        with np.load(path) as file:
            parts.append(Kept(file["grey"], file["outline"], json.loads(str(file["rows"]))))
    return join(parts)


def join(parts: Sequence[Kept]) -> Kept:
    """Returns several lots of samples as one."""
    parts = [part for part in parts if len(part)] or [pack([])]
    return Kept(
        np.concatenate([part.grey for part in parts]),
        np.concatenate([part.outline for part in parts]),
        [row for part in parts for row in part.rows],
    )


def list_draws(name: str, folder: Path, draws: int) -> list[Path]:
    """Returns the files of a scan's draws, there or not."""
    return [folder / f"{name}_{draw:03d}.npz" for draw in range(draws)]


def fill_cache(
    scans: Sequence[Scan], folder: Path, *, draws: int, seed: int, options: DrawOptions = _USUAL
) -> list[Path]:
    """Draws what is not drawn yet: ``NAME_DRAW.npz`` for each scan and draw; returns all files.

    Every draw depends on the seed, the scan's name and its own number alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [list_draws(scan.name, folder, draws) for scan in scans]
    for draw in range(draws):
        for scan, own in zip(scans, paths, strict=True):
            if not (path := own[draw]).exists():
                rng = np.random.default_rng([seed, zlib.crc32(scan.name.encode()), draw])
                keep_samples(draw_samples(scan, rng, options), path)
    return [path for own in paths for path in own]
