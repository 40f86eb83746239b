"""What the fracture network may learn from: outlined scans, labels, unlabelled scans; drawn once and kept."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from spinelab.errors import InputError
from spinelab.io import check_ct, read, write_mask
from spinelab.train.cases import Case, find_scans
from spinelab.train.fracture_cache import Kept, fill_cache, join, keep_samples, load_samples
from spinelab.train.fracture_draws import Scan, open_scan
from spinelab.train.fracture_labels import Labels, find_samples, read_labels
from spinelab.train.prepare import prepare
from spinelab.train.segment import choose_cases, read_training_names


class SourceOptions(Protocol):
    """What of the recipe's options matters here; see `spinelab.train.fracture.FractureTrainOptions`."""

    @property
    def draws(self) -> int:
        """Simulated columns drawn of each scan."""

    @property
    def seed(self) -> int:
        """Seed of every draw."""

    @property
    def split(self) -> Path | None:
        """JSON file that names the training cases."""

    @property
    def learn_found(self) -> bool:
        """Whether bodies are learnt from as they are."""

    @property
    def threads(self) -> int:
        """CPU threads."""


@dataclass(frozen=True, eq=False)
class Sources:
    """What there is to learn from.

    Attributes:
        simulated: Bodies of drawn columns, collapsed and not; loss exact.
        found: Bodies as they are, of scans with labels and, where that is learnt from, of all.
        outlined, unlabelled: Names of the cases.
    """

    simulated: Kept
    found: Kept
    outlined: tuple[str, ...]
    unlabelled: tuple[str, ...]


def gather_sources(
    data: Path, cache: Path, options: SourceOptions, *, labels: Path | None, unlabelled: Path | None
) -> Sources:
    """Prepares, simulates and keeps everything; what is in the cache already is only read.

    Raises:
        InputError: There is no case with outlines, or the split names cases that are not there.
    """
    marked = {} if labels is None else read_labels(labels)
    cases = [c for c in choose_cases(data, options.split) if c.vertebrae is not None or c.organs is not None]
    if not cases:
        raise InputError(f"no case in {data} has outlines of its vertebrae; the fracture network needs some")
    known = {case.name for case in cases}
    more = [] if unlabelled is None else list_unlabelled(unlabelled, known, options.split)
    more = [outline_case(case, cache / "outlined", threads=options.threads) for case in more]
    outlined, others = _open_all(cases, cache), _open_all(more, cache)
    simulated = fill_cache([*outlined, *others], cache / "simulated", draws=options.draws, seed=options.seed)
    labelled = {case for case, _ in marked}
    wanted = [s for s in (*outlined, *others) if options.learn_found or s.name in labelled]
    found = [_find(scan, marked, cache, options.seed, unlabelled=scan in others) for scan in wanted]
    names = tuple(tuple(scan.name for scan in scans) for scans in (outlined, others))
    return Sources(load_samples(simulated), join(found), *names)


def list_unlabelled(folder: Path, known: set[str], split: Path | None) -> list[Case]:
    """Lists the scans below a folder that have no outlines; with a split only those it trains on."""
    wanted = read_training_names(split)
    return [
        Case(name, image=path)
        for name, path in find_scans(folder).items()
        if name not in known and (wanted is None or name in wanted)
    ]


def outline_case(case: Case, folder: Path, *, threads: int) -> Case:
    """Returns a case with the outlines the shipped networks give it, kept in a folder."""
    from spinelab.tasks.segment import SegmentOptions, segment

    path = folder / f"{case.name}_vert.nii.gz"
    if not path.exists():
        assert case.image is not None
        found = segment(check_ct(read(case.image)).image, SegmentOptions(threads=threads))
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"part_{path.name}"
        write_mask(found.mask, partial)
        partial.replace(path)
    return replace(case, vertebrae=path)


def _open_all(cases: Sequence[Case], cache: Path) -> list[Scan]:
    """Opens the cases that show a column with intact bodies; centres come from the outlines."""
    prepared = (prepare(replace(case, centers=None), cache / "prepared", spacing_mm=None) for case in cases)
    scans = [open_scan(one) for one in prepared if one.vertebrae.any()]
    return [scan for scan in scans if scan is not None]


def _find(scan: Scan, labels: Labels, cache: Path, seed: int, *, unlabelled: bool) -> Kept:
    """Returns the bodies of a scan as they are, from the cache where no label can have changed them."""
    folder = cache / "found"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{scan.name}.npz"
    labelled = any(case == scan.name for case, _ in labels)
    if labelled or not path.exists():
        rng = np.random.default_rng([seed, zlib.crc32(scan.name.encode())])
        keep_samples(find_samples(scan, labels, "unlabelled" if unlabelled else "outlined", rng), path)
    return load_samples([path])
