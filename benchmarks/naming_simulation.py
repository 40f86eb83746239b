"""How often the column is found and named right, and whether its certainty is honest: a simulation.

Real columns of patients whom the prior never saw (VID and VerSe tables, found through SPINELAB_DATA) are
cropped to random windows. The peaks a locate network would give are drawn around them: jittered, some
missing, some false, level vectors noisy and at times wrong by one level on the whole scan. Nothing here has
seen a picture.

    python benchmarks/naming_simulation.py --scans 2000
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinelab.anatomy import ORDER
from spinelab.tasks.column_prior import LOWER_SACRAL, RUNGS
from spinelab.tasks.naming import Candidate, NamedColumn, TracedPoint, name_column, trace_column
from spinelab.train.fit_column_prior import Column, read_columns

Float = NDArray[np.float64]
MATCH_MM = 9.0


@dataclass(frozen=True, eq=False)
class Scan:
    """A simulated scan: the truth and what a network might have said.

    Attributes:
        centers_mm: Level to (3,) LPS mm of every complete vertebra in view.
        extras_mm: (n, 3) LPS mm of cut vertebrae and sacral segments: neither demanded nor forbidden.
        candidates: In random order.
        biased: The level vectors are wrong by one level throughout.
        ribs: Rib and sacrum probabilities come with each candidate.
    """

    centers_mm: dict[str, Float]
    extras_mm: Float
    candidates: list[Candidate]
    biased: bool
    ribs: bool


def held_out_columns(data: Path) -> list[list[tuple[str, Float]]]:
    """Reads unbroken columns of held-out patients, S1 to S3 drawn on by `with_sacrum` later."""
    columns = []
    for column in read_columns(data / "tables"):
        names = sorted(column.centers_mm, key=ORDER.__getitem__)
        if column.held_out and len(names) >= 3 and _unbroken(column, names):
            columns.append([(name, column.centers_mm[name]) for name in names])
    return columns


def _unbroken(column: Column, names: list[str]) -> bool:
    places = [list(RUNGS).index(name) for name in names if name != "L6"]
    steps = np.linalg.norm(np.diff([column.centers_mm[name] for name in names], axis=0), axis=1)
    return places == list(range(places[0], places[0] + len(places))) and bool((steps < 55).all())


def with_sacrum(column: list[tuple[str, Float]], rng: np.random.Generator) -> list[tuple[str, Float]]:
    """Adds S1 to S3 below the last lumbar vertebra, turning backwards."""
    if column[-1][0] not in {"L5", "L6"}:
        return column
    step = column[-1][1] - column[-2][1]
    size = np.linalg.norm(step) / 36.0
    point, angle = column[-1][1], np.arctan2(step[1], -step[2])
    for name, usual in zip(("S", *LOWER_SACRAL[:2]), (34.6, 26.0, 22.0), strict=True):
        angle += np.radians(rng.normal(18, 6))
        length = usual * size * np.exp(rng.normal(0, 0.08))
        point = point + length * np.array([rng.normal(0, 0.04), np.sin(angle), -np.cos(angle)])
        column = [*column, (name, point)]
    return column


def draw_scan(column: list[tuple[str, Float]], rng: np.random.Generator) -> Scan:
    """Crops a window and draws the candidates."""
    column = with_sacrum(column, rng)
    length = int(rng.integers(3, min(len(column), 24) + 1))
    first = int(rng.integers(0, len(column) - length + 1))
    window = column[first : first + length]
    if not any(name not in ("S", *LOWER_SACRAL) for name, _ in window):
        window = column[:length]
    biased, ribs = bool(rng.random() < 0.15), bool(rng.random() < 0.5)
    bias = float(rng.choice([-1, 1])) if biased else 0.0
    candidates, extras, miss = [], [], rng.uniform(0.05, 0.1)
    cut = {k for k in (0, length - 1) if length > 3 and rng.random() < 0.3}
    drift = np.cumsum(rng.normal(0, 0.15, length))
    drift -= drift.mean()
    for k, (name, center) in enumerate(window):
        sacral = name in ("S", *LOWER_SACRAL)
        if sacral or k in cut:
            extras.append(center)
        present = rng.random() > (0.4 if k in cut or name in LOWER_SACRAL else miss)
        if present:
            score = rng.beta(2, 5) if k in cut else rng.beta(6, 2)
            vector = _draw_vector(name, bias + drift[k], rng)
            rib = _draw_rib(name, rng) if ribs else None
            above_sacrum = k + 1 < length and window[k + 1][0] == "S"
            sacrum = float(rng.beta(7, 2) if above_sacrum else rng.beta(1, 9)) if ribs else None
            candidates.append(Candidate(_jittered(center, rng), score, vector, rib, sacrum))
    points = np.array([center for _, center in window])
    candidates += _false_peaks(points, window, rng, ribs=ribs)
    order = rng.permutation(len(candidates))
    complete = {n: c for k, (n, c) in enumerate(window) if k not in cut and n not in ("S", *LOWER_SACRAL)}
    return Scan(complete, np.reshape(extras, (-1, 3)), [candidates[k] for k in order], biased, ribs)


def _jittered(center: Float, rng: np.random.Generator) -> tuple[float, float, float]:
    x, y, z = center + rng.normal(0, 1.8, 3)
    return (float(x), float(y), float(z))


def _draw_vector(name: str, bias: float, rng: np.random.Generator) -> Float:
    """Draws 26 probabilities: a smoothed one-hot, off by the bias and noise, at times with a second mode."""
    rung = RUNGS[name]
    classes = np.array([*range(24), 23.5])
    sharp = rung <= 1
    center = np.clip(rung + (rng.normal(0, 0.2) if sharp else bias + rng.normal(0, 0.45)), 0, 23.7)
    vector = np.exp(-0.5 * ((classes - center) / rng.uniform(0.45, 1.1)) ** 2)
    vector[24] *= 0.1
    if rng.random() < 0.2:
        other = center + rng.choice([-2, -1, 1, 2])
        vector += rng.uniform(0.2, 0.9) * np.exp(-0.5 * ((classes - other) / 0.6) ** 2)
    sacral = rng.beta(7, 2) if rung >= 24 else rng.beta(1, 9) if rung >= 22 else 0.005
    vector = np.r_[vector / vector.sum() * (1 - sacral), sacral] + 0.002
    return vector / vector.sum()


def _draw_rib(name: str, rng: np.random.Generator) -> float:
    has_rib = name.startswith("T")
    if name == "T12" and rng.random() < 0.15:
        has_rib = False
    elif rng.random() < 0.03:
        has_rib = not has_rib
    return float(rng.beta(8, 2) if has_rib else rng.beta(2, 8))


def _false_peaks(
    points: Float, window: list[tuple[str, Float]], rng: np.random.Generator, *, ribs: bool
) -> list[Candidate]:
    """Draws peaks 30 to 150 mm off the column (ribs, sternum, pelvis) and doubles at discs."""
    found = []
    for _ in range(rng.poisson(4.0)):
        near = int(rng.integers(len(points)))
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(30, 150)
        off = np.array([radius * np.cos(angle), radius * np.sin(angle), rng.uniform(-25, 25)])
        vector = _draw_vector(window[near][0], rng.normal(0, 3), rng)
        rib = float(rng.random()) if ribs else None
        found.append(Candidate(_jittered(points[near] + off, rng), rng.uniform(0.05, 0.8), vector, rib))
    for k in range(len(points) - 1):
        if rng.random() < 0.07:
            middle = points[k] + rng.uniform(0.35, 0.65) * (points[k + 1] - points[k])
            vector = _draw_vector(window[k][0], 0.5, rng)
            rib = _draw_rib(window[k][0], rng) if ribs else None
            found.append(Candidate(_jittered(middle, rng), rng.uniform(0.05, 0.7), vector, rib))
    return found


def draw_empty_scan(rng: np.random.Generator) -> list[Candidate]:
    """Draws false peaks alone, in a box of 300 x 250 x 300 mm."""
    found = []
    for _ in range(rng.poisson(6.0)):
        x, y, z = rng.uniform((0, 0, 0), (300, 250, 300))
        name = str(rng.choice(list(RUNGS)[1:25]))
        found.append(Candidate((x, y, z), rng.uniform(0.05, 0.8), _draw_vector(name, 0.0, rng)))
    return found


@dataclass
class Tally:
    """Counts over scans."""

    wanted: int = 0
    hit: int = 0
    given: int = 0
    false: int = 0
    right_names: int = 0
    scans: list[tuple[float, bool, bool, bool, int, bool]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, scan: Scan, chain: tuple[TracedPoint, ...], named: NamedColumn | None) -> None:
        truth = np.array(list(scan.centers_mm.values()))
        names = list(scan.centers_mm)
        self.wanted += len(truth)
        if named is None:
            return
        matched: set[str] = set()
        wrong = 0
        for point, level in zip(named.points, named.levels, strict=True):
            away = np.linalg.norm(truth - point.center_mm, axis=1)
            extra = scan.extras_mm - np.array(point.center_mm)
            best = int(away.argmin())
            if away[best] <= MATCH_MM and names[best] not in matched:
                matched.add(names[best])
                self.right_names += level == names[best]
                wrong += level != names[best]
            elif len(extra) and np.linalg.norm(extra, axis=1).min() <= MATCH_MM:
                continue
            else:
                self.false += 1
        self.given += len(named.points)
        self.hit += len(matched)
        anchored, probability = named.numbering.anchored, named.numbering.probability
        odd = "L6" in scan.centers_mm
        self.scans.append((probability, wrong == 0, anchored, scan.biased, len(truth), odd))


def simulate(columns: list[list[tuple[str, Float]]], count: int, seed: int) -> Iterator[Scan]:
    """Draws scans, half of them from the long columns, so that necks and chests are there too."""
    rng = np.random.default_rng(seed)
    long = [column for column in columns if len(column) >= 13 or column[0][0].startswith("C")]
    for _ in range(count):
        pool = long if rng.random() < 0.5 else columns
        scan = draw_scan(pool[int(rng.integers(len(pool)))], rng)
        if len(scan.centers_mm) >= 2:
            yield scan


def report(tally: Tally, empty_found: float) -> None:
    rows = np.array(tally.scans, dtype=float)
    probability, right = rows[:, 0], rows[:, 1].astype(bool)
    print(f"vertebrae wanted {tally.wanted}, found {tally.hit / tally.wanted:.4f}")
    print(f"points given {tally.given}, of them false {tally.false / tally.given:.4f}")
    print(f"found vertebrae with the right name {tally.right_names / tally.hit:.4f}")
    print(f"scans named {len(rows)}, all names right {right.mean():.4f}")
    groups = {
        "anchored": rows[:, 2] == 1,
        "not anchored": rows[:, 2] == 0,
        "vectors shifted throughout": rows[:, 3] == 1,
        "vectors not shifted": rows[:, 3] == 0,
        "up to 6 vertebrae": rows[:, 4] <= 6,
        "7 to 12": (rows[:, 4] > 6) & (rows[:, 4] <= 12),
        "13 and more": rows[:, 4] > 12,
        "with L6": rows[:, 5] == 1,
    }
    for name, chosen in groups.items():
        if chosen.any():
            print(f"  {name:28s} n {chosen.sum():5d}  right {right[chosen].mean():.3f}", end="")
            print(f"  said {probability[chosen].mean():.3f}")
    print("reliability: said, came true, scans")
    for low, high in ((0, 0.5), (0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 0.99), (0.99, 1.01)):
        chosen = (probability >= low) & (probability < high)
        if chosen.any():
            print(f"  {probability[chosen].mean():.3f}  {right[chosen].mean():.3f}  {chosen.sum()}")
    clipped = np.clip(np.where(right, probability, 1 - probability), 1e-3, 1)
    print(f"log loss {-np.log(clipped).mean():.4f}, Brier {np.mean((probability - right) ** 2):.4f}")
    print(f"scans without a spine in which one was found {empty_found:.4f}")
    milliseconds = 1000 * np.array(tally.seconds)
    print(f"ms a scan: median {np.median(milliseconds):.1f}, 99 % {np.percentile(milliseconds, 99):.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    data = Path(os.environ.get("SPINELAB_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    columns, tally = held_out_columns(data), Tally()
    for scan in simulate(columns, chosen.scans, chosen.seed):
        start = time.perf_counter()
        chain = trace_column(scan.candidates)
        named = name_column(chain) if chain else None
        tally.seconds.append(time.perf_counter() - start)
        tally.add(scan, chain, named)
    rng = np.random.default_rng(chosen.seed)
    found = [len(trace_column(draw_empty_scan(rng))) > 0 for _ in range(chosen.scans)]
    print(f"{len(columns)} held-out columns, seed {chosen.seed}")
    report(tally, float(np.mean(found)))


if __name__ == "__main__":
    main()
