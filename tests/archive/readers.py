"""Readers that need no network: they do what the voxel values of a study tell them."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from spinelab.archive.jobs import Job, Reading
from spinelab.errors import ModelError, UnreadableError
from spinelab.io import read
from spinelab.io.dicom_series import read_dicom
from spinelab.spine import Fracture, Spine, Vertebra

#: Voxel values that make `read_value` misbehave.
CRASH, HANG, HOG, RAISE, REFUSE, NO_WEIGHTS, CHANGE, VANISH, KEEP = range(901, 910)


def value_of(job: Job) -> int:
    """Returns the one value all voxels of a study have."""
    files = [job.source / name for name in job.files]
    values = np.unique((read_dicom(files, job.source) if files else read(job.source)).array)
    assert len(values) == 1
    return int(values[0])


def spine_of(value: int) -> Spine:
    """Returns a spine that tells of one fracture with a height loss of `value` per cent."""
    fracture = Fracture(True, min(value, 100) / 100, 2, "wedge", float(value), None, "neighbours")
    return Spine(
        (Vertebra("T12", (0.0, 0.0, 0.0), 0.9), Vertebra("L1", (0.0, 0.0, -30.0), 0.9, fracture=fracture))
    )


def read_value(job: Job, out: Path) -> Reading:
    """Reads the value, or does what it stands for."""
    value = value_of(job)
    if value in _DEEDS:
        _DEEDS[value](job)
    (out / f"{job.case}_spine.json").write_text(str(value), encoding="utf-8")
    return Reading(spine_of(value), {"spine": f"{job.case}_spine.json"}, 0.5, 100.0)


def _raise(error: Exception):
    def deed(job: Job) -> None:
        raise error

    return deed


def _change(job: Job) -> None:
    with job.source.open("ab") as stream:
        stream.write(b"\0")


_KEPT: list[bytearray] = []
_DEEDS = {
    CRASH: lambda job: os.kill(os.getpid(), signal.SIGKILL),
    HANG: lambda job: time.sleep(60),
    HOG: lambda job: [bytearray(os.urandom(1 << 20)) * 400, time.sleep(60)],
    RAISE: _raise(ValueError("odd")),
    REFUSE: _raise(UnreadableError("no spine in sight; give another")),
    NO_WEIGHTS: _raise(ModelError("weights are missing; reinstall")),
    CHANGE: _change,
    KEEP: lambda job: _KEPT.append(bytearray(os.urandom(1 << 20)) * 200),
    VANISH: lambda job: job.source.unlink(),
}
