"""What the fracture network may learn from: outlined scans, labels, unlabelled scans; drawn once and kept."""

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from spinelab.errors import InputError
from spinelab.train.cases import Case, find_scans
from spinelab.train.collapsed import open_scan, outline_case
from spinelab.train.fracture_cache import Kept, fill_cache, keep_samples, list_draws, load_samples
from spinelab.train.fracture_draws import Source
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
    labelled = {case for case, _ in marked}
    simulated, found = [], []
    for case in (*cases, *more):
        kind: Source = "outlined" if case in cases else "unlabelled"
        wanted = options.learn_found or case.name in labelled
        drawn, seen = _draw_case(case, cache, options, kind, marked if wanted else None)
        simulated += drawn
        found += seen
    names = tuple(tuple(case.name for case in part) for part in (cases, more))
    return Sources(load_samples(simulated), load_samples(found), *names)


def list_unlabelled(folder: Path, known: set[str], split: Path | None) -> list[Case]:
    """Lists the scans below a folder that have no outlines; with a split only those it trains on."""
    wanted = read_training_names(split)
    return [
        Case(name, image=path)
        for name, path in find_scans(folder).items()
        if name not in known and (wanted is None or name in wanted)
    ]


def _draw_case(
    case: Case, cache: Path, options: SourceOptions, kind: Source, labels: Labels | None
) -> tuple[list[Path], list[Path]]:
    """Returns the files of a case's draws and, unless labels are None, of its bodies as they are.

    The scan itself is opened only where one of them is missing, or labels may have changed.
    """
    drawn, found = cache / "simulated", cache / "found" / f"{case.name}.npz"
    paths = list_draws(case.name, drawn, options.draws)
    stale = labels is not None and (not found.exists() or any(name == case.name for name, _ in labels))
    if stale or not all(path.exists() for path in paths):
        prepared = prepare(replace(case, centers=None), cache / "prepared", spacing_mm=None)
        scan = open_scan(prepared) if prepared.vertebrae.any() else None
        if scan is None:
            return [], []
        fill_cache([scan], drawn, draws=options.draws, seed=options.seed)
        if stale and labels is not None:
            found.parent.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng([options.seed, zlib.crc32(case.name.encode())])
            keep_samples(find_samples(scan, labels, kind, rng), found)
    return paths, [] if labels is None else [found]
