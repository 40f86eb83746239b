"""How few labelled MR scans suffice, and what simulation and unlabelled scans add.

    python benchmarks/label_efficiency.py --out RUNS [--data shared/data] [--part 1/2]
        [--write docs/results.md]

Every cell trains one network with `spinelab.train.landmarks` from nothing and scores it on persons no cell
ever trained on: those held out in ``src/spinelab/train/development_mr.json`` and the SPIDER slices with
masks. A run that was stopped goes on; what is done lies in RUNS/cells*.jsonl. --part shares the cells among
processes.
"""

import argparse
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from held_out import replace_section
from matplotlib.figure import Figure
from mr_held_out import Person, all_right, interval, mean_centre, mean_corner, rate, score

from spinelab.tasks.landmarks import LocateOptions
from spinelab.train.cases import find_cases
from spinelab.train.export import export_landmarks
from spinelab.train.landmarks import LandmarkOptions, Sources, train_landmarks
from spinelab.train.mr_cases import (
    MrCase,
    PreparedMr,
    find_mr_cases,
    find_unlabelled,
    prepare_mr,
    prepare_painted,
)
from spinelab.train.spider import convert_spider

ROOT = Path(__file__).parents[1]
SPLIT = ROOT / "src" / "spinelab" / "train" / "development_mr.json"
#: Steps of every cell, and of pre-training before them where there is any.
STEPS, CONTRAST_STEPS = 1200, 150
#: Unlabelled SPIDER slices every cell with unlabelled scans may use.
SPIDER_SCANS = 40
METHODS = {
    "labels only": {"simulate": False, "painted": False, "contrast": False, "self": False},
    "+ simulation": {"simulate": True, "painted": True, "contrast": False, "self": False},
    "+ contrast": {"simulate": True, "painted": True, "contrast": True, "self": False},
    "+ own landmarks": {"simulate": True, "painted": True, "contrast": False, "self": True},
    "+ both": {"simulate": True, "painted": True, "contrast": True, "self": True},
}
#: (set, labelled persons, seeds); "all" persons are those of the set that are not held out.
PLAN = (
    ("lumbar_dixon", 8, (1,)),
    ("lumbar_dixon", 2, (1,)),
    ("lumbar_dixon", 17, (1,)),
    ("lumbar_t2", 5, (1,)),
    ("lumbar_dixon", 8, (2, 3)),
    ("lumbar_t2", 2, (1,)),
    ("lumbar_dixon", 1, (1,)),
    ("lumbar_dixon", 4, (1,)),
)
COLORS = ("tab:gray", "tab:orange", "tab:blue", "tab:green", "tab:red")


@dataclass(frozen=True)
class Cell:
    """One training: who is labelled, how it is trained, and which draw of persons and weights."""

    kind: str
    persons: int
    seed: int
    method: str

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.kind}-{self.persons}-{self.seed}-{self.method.replace('+ ', '').replace(' ', '_')}"


def list_cells() -> list[Cell]:
    """Lists the cells in the order they are trained."""
    return [Cell(kind, count, seed, m) for kind, count, seeds in PLAN for seed in seeds for m in METHODS]


class Pool:
    """All prepared scans, read once."""

    def __init__(self, data: Path, out: Path) -> None:
        split = json.loads(SPLIT.read_text(encoding="utf-8"))
        self.cases = {case.name: case for case in find_mr_cases(data / "mr")}
        self.spider = out / "spider"
        if not (self.spider / "done").exists():
            convert_spider(data / "mr_spider", self.spider)
            (self.spider / "done").touch()
        self.held_out = split["held_out"]
        keys = ("labelled", "unlabelled")
        self.open = {k: [n for key in keys for n in split[key].get(k, [])] for k in split["unlabelled"]}
        names = [name for some in self.open.values() for name in some]
        self.prepared = {case.name: case for case in prepare_mr([self.cases[name] for name in names])}
        maps = [case for case in find_cases(data / "ct_masks_only") if case.name in split["painted"]["ct"]]
        self.painted = prepare_painted(maps, out / "cache")
        self.slices = prepare_mr(self._spider_slices())

    def _spider_slices(self) -> list[MrCase]:
        """Draws unlabelled SPIDER slices of persons who are not scored."""
        scored = {case.name for case in find_mr_cases(self.spider / "labelled")}
        cases = find_unlabelled(self.spider / "unlabelled")
        free = [case for case in cases if "_".join(case.name.split("_")[:2]) not in scored]
        order = np.random.default_rng(0).permutation(len(free))
        return [free[k] for k in order[:SPIDER_SCANS]]

    def sources(self, cell: Cell) -> Sources:
        """Returns what a cell may learn from."""
        order = np.random.default_rng([11, cell.seed]).permutation(len(self.open[cell.kind]))
        labelled = [self.open[cell.kind][k] for k in order[: cell.persons]]
        rest = [without_labels(case) for name, case in self.prepared.items() if name not in labelled]
        return Sources(
            [self.prepared[name] for name in labelled],
            [*rest, *self.slices],
            self.painted if METHODS[cell.method]["painted"] else [],
        )

    def tests(self) -> dict[str, list[MrCase]]:
        """Returns the persons scored, by set."""
        sets = {kind: [self.cases[name] for name in sorted(names)] for kind, names in self.held_out.items()}
        return {**sets, "spider": find_mr_cases(self.spider / "labelled")}


def without_labels(case: PreparedMr) -> PreparedMr:
    """Forgets the landmarks of a case."""
    return replace(case, labels=case.labels[:0], points_mm=case.points_mm[:0])


def run_cell(cell: Cell, pool: Pool, out: Path, threads: int) -> dict[str, list[Person]]:
    """Trains and scores one cell."""
    how = METHODS[cell.method]
    options = LandmarkOptions(
        steps=STEPS,
        seed=cell.seed,
        threads=threads,
        simulate=how["simulate"],
        contrast_steps=CONTRAST_STEPS if how["contrast"] else 0,
        self_train=how["self"],
        save_every=200,
    )
    folder = out / cell.name
    train_landmarks(pool.sources(cell), folder, options)
    export_landmarks(folder, {}, options)
    reading = LocateOptions(weights=folder, threads=threads)
    return {kind: [score(case, reading, None) for case in cases] for kind, cases in pool.tests().items()}


def read_results(out: Path) -> dict[Cell, dict[str, list[Person]]]:
    """Returns the cells done."""
    results = {}
    for path in sorted(out.glob("cells*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            results[Cell(**entry["cell"])] = {
                kind: [Person(**p) for p in some] for kind, some in entry["scores"].items()
            }
    return results


def pick(
    results: dict[Cell, dict[str, list[Person]]], kind: str, count: int, method: str, test: str
) -> list[Person]:
    """Returns all scored persons of a test set, over seeds."""
    chosen = [c for c in results if (c.kind, c.persons, c.method) == (kind, count, method)]
    return [person for cell in chosen for person in results[cell][test]]


def render(results: dict[Cell, dict[str, list[Person]]]) -> str:
    """Returns the Markdown section."""
    lines = [
        f"{STEPS} steps a cell (two samples each), {CONTRAST_STEPS} steps of pre-training before, where",
        "there is contrast. Unlabelled scans: the other persons of both sets who are not held out, five of",
        f"lumbar_discs, and {SPIDER_SCANS} SPIDER slices (T1, T2) of persons not scored. Intervals: 95 %",
        "bootstrap over persons (and seeds together).",
        "",
    ]
    tests = ("lumbar_dixon", "lumbar_t2", "spider")
    for figure, title, digits in (
        (rate, "id-rate (20 mm)", 2),
        (mean_centre, "mean distance of centres, mm", 1),
        (mean_corner, "mean distance of corners, mm", 1),
        (all_right, "share of scans with every name right", 2),
    ):
        lines += [
            f"**{title}**",
            "",
            f"| trained on | labelled | seeds | how | {' | '.join(f'on {test}' for test in tests)} |",
            "| --- " * (len(tests) + 4) + "|",
        ]
        for kind, count in sorted({(c.kind, c.persons) for c in results}):
            for method in METHODS:
                seeds = sum((c.kind, c.persons, c.method) == (kind, count, method) for c in results)
                if not seeds:
                    continue
                cells = [interval(pick(results, kind, count, method, t), figure, digits) for t in tests]
                lines.append(f"| {kind} | {count} | {seeds} | {method} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def draw(results: dict[Cell, dict[str, list[Person]]], path: Path) -> None:
    """Draws id-rate and distance of centres against the number of labelled persons of lumbar_dixon."""
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    counts = sorted({c.persons for c in results if c.kind == "lumbar_dixon"})
    tests = ("lumbar_dixon", "lumbar_t2", "spider")
    for row, (of, title) in enumerate(((rate, "id-rate"), (mean_centre, "centre, mm"))):
        for column, test in enumerate(tests):
            axes = figure.add_subplot(2, 3, 3 * row + column + 1)
            for method, color in zip(METHODS, COLORS, strict=True):
                found = [(n, pick(results, "lumbar_dixon", n, method, test)) for n in counts]
                points = [(n, of(some)) for n, some in found if some]
                axes.plot(
                    [n for n, _ in points], [v for _, v in points], "o-", color=color, label=method, ms=4
                )
            axes.set_xscale("log", base=2)
            axes.set_xticks(counts, [str(n) for n in counts])
            axes.set_title(f"lumbar_dixon to {test}: {title}", fontsize=9)
            axes.grid(alpha=0.3)
            if row == 0:
                axes.set_ylim(-0.02, 1.02)
            else:
                axes.set_xlabel("labelled persons", fontsize=8)
    figure.axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Reads the arguments, trains what is missing, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(os.environ.get("SPINELAB_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--part", default="1/1", help="2/3: every third cell from the second on")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--only-write", action="store_true", help="train nothing, write what is there")
    parser.add_argument("--write", type=Path, help="page whose section is replaced")
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    if options.threads:
        torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    part, parts = map(int, options.part.split("/"))
    if not options.only_write:
        pool = Pool(options.data, options.out)
        for cell in list_cells()[part - 1 :: parts]:
            if cell in read_results(options.out):
                continue
            scores = run_cell(cell, pool, options.out, options.threads)
            entry = {"cell": asdict(cell), "scores": {k: [asdict(p) for p in v] for k, v in scores.items()}}
            with (options.out / f"cells_{part}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
            print(
                cell.name,
                {k: (round(rate(v), 3), round(mean_centre(v), 1)) for k, v in scores.items()},
                flush=True,
            )
    text = render(read_results(options.out))
    print(text)
    if options.write:
        draw(read_results(options.out), options.write.parent / "pictures" / "label_efficiency.png")
        picture = "![Figures against labelled persons](pictures/label_efficiency.png)\n"
        replace_section(options.write, "label_efficiency", text + picture)


if __name__ == "__main__":
    main()
