"""Learning curves: read from the CSV files of a run, drawn as one picture."""

import csv
import json
from pathlib import Path

NETWORKS = ("locate", "outline")


def read_curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Returns loss -> its (step, mean) pairs in order; of a step written twice the later row counts."""
    rows: dict[int, dict[str, float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows[int(row["step"])] = json.loads(row["losses"])
    curves: dict[str, list[tuple[int, float]]] = {}
    for step in sorted(rows):
        for loss, value in rows[step].items():
            curves.setdefault(loss, []).append((step, value))
    return curves


def draw_curves(folder: Path) -> Path | None:
    """Writes ``curves.png`` beside the CSV files of a run; None (and no picture) where there are none."""
    from matplotlib.figure import Figure

    present = [name for name in NETWORKS if (folder / f"{name}.csv").exists()]
    if not present:
        return None
    figure = Figure(figsize=(5.5 * len(present), 4), layout="constrained")
    for place, name in enumerate(present):
        axes = figure.add_subplot(1, len(present), place + 1)
        for loss, points in read_curves(folder / f"{name}.csv").items():
            axes.plot(*zip(*points, strict=True), label=loss, linewidth=1)
        axes.set(title=name, xlabel="step", ylabel="training loss", yscale="log")
        axes.legend()
        axes.grid(alpha=0.3)
    path = folder / "curves.png"
    figure.savefig(path, dpi=110)
    return path
