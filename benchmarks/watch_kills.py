"""Kill `watch` again and again while it reads small synthetic studies, and count what is lost or doubled.

    python benchmarks/watch_kills.py [--kills 50] [--studies 200] [--seed 1] [--json] [--database URL]

Studies (DICOM series with a localizer beside them, NRRD files, copies of earlier ones, broken files) arrive
while a worker runs. At random moments the worker gets SIGKILL: some during its start, most while it reads.
Then another one goes on. At the end each study must have exactly one result with its own content, each
broken file a reason, and nothing half written may be left. Everything but the reader, which only looks at
the voxels, is what `spinelab watch` runs.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from sqlalchemy import select

from spinelab.archive.jobs import Job, Reading
from spinelab.archive.options import WatchOptions
from spinelab.archive.store import Store, open_store
from spinelab.archive.tables import DONE, SKIPPED, Result, Scan, VertebraRow
from spinelab.archive.watch import INCOMING, WORKLIST, WatchSummary, watch
from spinelab.io import read
from spinelab.io.dicom_series import read_dicom
from spinelab.spine import Spine, Vertebra

_SLICES, _STEP_MM = 9, 7.5
_START_S, _WAIT_S, _READ_S = 3.0, 60.0, (0.0, 0.06)
_IN_START = 0.25
_KINDS = ("dicom", "dicom", "dicom", "nrrd", "dicom", "copy", "dicom", "nrrd", "broken", "dicom")
_UID = "1.2.826.0.1.3680043.8.498.77"


@dataclass(frozen=True)
class Verdict:
    """What came of the studies.

    Attributes:
        readable: Different studies that can be read.
        read: Results, one a scan.
        lost: Studies without a result.
        doubled: Studies with more than one result, or read again after they had one.
        damaged: Results whose numbers or files are not those of their study.
        broken: Broken files; each must be skipped with a reason.
        broken_told: Those that are.
        left: Files and folders of interrupted readings that are still there.
        listed: Rows of the work list.
        begun: Readings begun; those above `readable` plus `broken` were interrupted and done again.
    """

    readable: int
    read: int
    lost: int
    doubled: int
    damaged: int
    broken: int
    broken_told: int
    left: int
    listed: int
    begun: int

    @property
    def passed(self) -> bool:
        """True when nothing is lost, doubled, damaged, left over or untold."""
        bad = self.lost + self.doubled + self.damaged + self.left
        return bad == 0 and self.broken_told == self.broken and self.read == self.listed == self.readable


def add_study(folder: Path, number: int) -> str:
    """Puts study `number` below the folder at one stroke and returns its kind, which goes by its number.

    Its voxels all hold its number; a copy is one of the study before.
    """
    kind = _KINDS[number % len(_KINDS)]
    draft = folder / f".arriving-{number}"
    if kind in {"dicom", "copy"}:
        write_dicom_study(draft, number if kind == "dicom" else number - 1)
    else:
        draft.mkdir()
        voxels = np.full((_SLICES, 4, 4), number, dtype=np.int16)
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), str(draft / "scan.nrrd"))
        if kind == "broken":
            whole = (draft / "scan.nrrd").read_bytes()
            (draft / "scan.nrrd").write_bytes(whole[: len(whole) // 2] + bytes([number % 256]))
    draft.rename(folder / f"study-{number:04d}")
    return kind


def write_dicom_study(folder: Path, number: int) -> None:
    """Writes an axial CT series of constant voxels and a localizer, each in a folder of its own."""
    for series, (count, kind) in enumerate(((_SLICES, "AXIAL"), (1, "LOCALIZER")), start=1):
        (folder / f"series-{series}").mkdir(parents=True)
        for place in range(count):
            data = _dicom_slice(f"{_UID}.{number}", series, place, number)
            data.ImageType = ["ORIGINAL", "PRIMARY", kind]
            data.save_as(folder / f"series-{series}" / f"IM{place:03d}", enforce_file_format=True)


def _dicom_slice(study: str, series: int, place: int, number: int) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.StudyInstanceUID, data.SeriesInstanceUID = study, f"{study}.{series}"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{study}.{series}.{place}"
    data.Modality, data.SeriesNumber, data.InstanceNumber = "CT", series, place
    data.ImagePositionPatient = [0.0, 0.0, place * _STEP_MM]
    data.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    data.PixelSpacing, data.RescaleSlope, data.RescaleIntercept = [1.0, 1.0], 1, 0
    data.Rows = data.Columns = 4
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelData = np.full(16, number, dtype="<u2").tobytes()
    return data


def read_number(job: Job, out: Path, *, log: Path) -> Reading:
    """Reads a study's number off its voxels, slowly enough to be killed at it; logs that it began."""
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"{job.case} {job.attempt} {time.time()}\n")
    files = [job.source / name for name in job.files]
    image = read_dicom(files, job.source) if files else read(job.source)
    numbers = np.unique(image.array)
    assert len(numbers) == 1
    names = {kind: f"{job.case}_{kind}.txt" for kind in ("spine", "mask", "report")}
    for name in names.values():
        (out / name).write_text(str(numbers[0]), encoding="utf-8")
        time.sleep(random.uniform(*_READ_S))
    level = Vertebra("L1", (float(numbers[0]), 0.0, 0.0), 1.0)
    return Reading(Spine((level,)), names, 0.1)


def work(folder: Path, database: str, log: Path, *, once: bool) -> WatchSummary:
    """Watches the folder as `spinelab watch` does, with `read_number` as the reader."""
    store = open_results(folder.parent, database)
    try:
        options = WatchOptions(once=once, poll_s=0.2, settle_s=0.0)
        return watch(store, folder, options, reader=partial(read_number, log=log))
    finally:
        store.close()


def open_results(root: Path, database: str) -> Store:
    """Opens the database of a run, whatever it is, with its files below the run's folder."""
    return open_store(database, files=root / "results_files")


def start_command(folder: Path, database: str, log: Path) -> int:
    """Starts a worker as a program of its own; returns its process number."""
    command = [sys.executable, __file__, "--work", str(folder), database, str(log)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL).pid


def kill_again_and_again(
    root: Path,
    *,
    studies: int,
    kills: int,
    seed: int,
    database: str | None = None,
    start: Callable[[Path, str, Path], int] = start_command,
    tell: Callable[[str], None] = lambda text: None,
) -> Verdict:
    """Lets studies arrive and kills worker after worker, then lets the last one finish, and counts.

    Args:
        root: Empty folder to work in.
        studies: How many arrive.
        kills: How many workers are killed.
        seed: Of the moments of death.
        database: URL of an empty one; an SQLite file in `root` if None.
        start: Starts a worker on (folder, database, log) and returns its process number.
        tell: Called with how it goes.
    """
    draw = random.Random(seed)
    folder, log = root / "in", root / "begun.txt"
    database = database or str(root / "results.db")
    folder.mkdir()
    log.touch()
    kinds: list[str] = []
    for kill in range(kills):
        due = studies * (kill + 1) // kills
        worker = psutil.Process(start(folder, database, log))
        for number in range(len(kinds), due):
            kinds.append(add_study(folder, number))
        _wait_for_a_moment(draw, log, worker)
        kill_with_children(worker)
        tell(f"kill {kill + 1} of {kills}, {due} studies there, {len(log.read_text().splitlines())} begun")
    kinds += [add_study(folder, number) for number in range(len(kinds), studies)]
    work(folder, database, log, once=True)
    store = open_results(root, database)
    try:
        return judge(store, kinds, log)
    finally:
        store.close()


def _wait_for_a_moment(draw: random.Random, log: Path, worker: psutil.Process) -> None:
    if draw.random() < _IN_START:
        time.sleep(draw.uniform(0.0, _START_S))
        return
    before, until = log.stat().st_size, time.monotonic() + _WAIT_S
    while log.stat().st_size == before and time.monotonic() < until and worker.is_running():
        time.sleep(0.005)
    time.sleep(draw.uniform(0.0, 10 * _READ_S[1]))


def kill_with_children(worker: psutil.Process) -> None:
    """Kills a worker as the kernel would and makes sure that its reader does not live on."""
    children = worker.children(recursive=True)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(10)
    until = time.monotonic() + _WAIT_S  # one that is still loading its modules sees it only afterwards
    while any(_lives(child) for child in children):
        if time.monotonic() > until:
            raise RuntimeError("a reader lives on after its worker was killed")
        time.sleep(0.01)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def judge(store: Store, kinds: Sequence[str], log: Path) -> Verdict:
    """Compares what is in the database and on disk with the studies that arrived."""
    readable = {number for number, kind in enumerate(kinds) if kind in ("dicom", "nrrd")}
    begun = [line.split() for line in log.read_text(encoding="utf-8").splitlines()]
    with store.reading() as session:
        pairs = [(row[0], row[1]) for row in session.execute(select(Scan, Result).outerjoin(Result))]
        rows = Counter(session.scalars(select(VertebraRow.scan_id)).all())
        done = [(scan, result) for scan, result in pairs if result is not None]
        numbers = Counter(_number_of(result) for _, result in done)
        finished = {scan.case: scan.finished_at or 0.0 for scan, _ in done}
        late = sum(float(moment) > finished.get(case, np.inf) for case, _, moment in begun)
        damaged = sum(not _is_whole(store, scan, result, rows[scan.id]) for scan, result in done)
        told = sum(scan.status == SKIPPED and bool(scan.reason) for scan, _ in pairs)
    cases = {scan.case for scan, _ in done}
    entries = {entry.name for entry in store.files.iterdir()} - {INCOMING, WORKLIST}
    incoming = store.files / INCOMING
    left = len(entries - cases) + (len(list(incoming.iterdir())) if incoming.exists() else 0)
    return Verdict(
        readable=len(readable),
        read=len(done),
        lost=len(readable - set(numbers)),
        doubled=sum(count - 1 for count in numbers.values()) + late,
        damaged=damaged + len(set(numbers) - readable),
        broken=sum(kind == "broken" for kind in kinds),
        broken_told=told,
        left=left,
        listed=len((store.files / WORKLIST).read_text(encoding="utf-8").splitlines()) - 1,
        begun=len(begun),
    )


def _number_of(result: Result) -> int:
    return int(result.spine["vertebrae"][0]["center_mm"][0])


def _is_whole(store: Store, scan: Scan, result: Result, vertebrae: int) -> bool:
    """Tells whether a result has its row a vertebra and all of its files, each with the study's number."""
    folder = store.files / result.folder
    wanted = dict.fromkeys(result.files.values(), str(_number_of(result)))
    found = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    return scan.status == DONE and vertebrae == 1 and found == wanted


def main() -> None:
    """Runs from the command line; ends with 1 if anything was lost, doubled or damaged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--database", help="URL of an empty database instead of an SQLite file")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        folder, database, log = asked.work
        work(Path(folder), database, Path(log), once=False)
        return
    root = Path(tempfile.mkdtemp(prefix="watch-kills-"))
    began = time.monotonic()
    try:
        verdict = kill_again_and_again(
            root,
            studies=asked.studies,
            kills=asked.kills,
            seed=asked.seed,
            database=asked.database,
            tell=lambda text: print(text, file=sys.stderr),
        )
    finally:
        shutil.rmtree(root, ignore_errors=True)
    seconds = round(time.monotonic() - began)
    figures = {"studies": asked.studies, "kills": asked.kills, "seed": asked.seed, "seconds": seconds}
    if asked.json:
        print(json.dumps({**figures, **asdict(verdict), "passed": verdict.passed}, indent=2))
    else:
        for name, value in {**figures, **asdict(verdict)}.items():
            print(f"{name:12} {value}")
        print("nothing lost, nothing doubled" if verdict.passed else "FAILED")
    sys.exit(0 if verdict.passed else 1)


if __name__ == "__main__":
    main()
