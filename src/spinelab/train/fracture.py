"""The fracture recipe: simulated collapse of real bodies, labels of the workstation, bodies without labels.

Networks are trained with one part of the patients left out each, to fit how both readers are weighed, and to
judge bodies without labels; the last one is trained on everything that was accepted.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from spinelab.errors import InputError
from spinelab.nets.fracture import LOSS_UNIT_PERCENT, FractureNet
from spinelab.tasks.fracture_network import Combination
from spinelab.train.fitting import Run, fit
from spinelab.train.fracture_batches import FractureSampler, show_plain
from spinelab.train.fracture_cache import Kept, join
from spinelab.train.fracture_combination import fit_combination, gather_evidence
from spinelab.train.fracture_labels import is_sure
from spinelab.train.fracture_sources import Sources, gather_sources

Array = NDArray[np.float64]
#: Both readers agree on a body without a label where they differ by less than this (points).
AGREE_PERCENT = 8.0
#: A sample from an accepted body counts so much against a simulated one.
SHARES = {"outlined": 0.3, "unlabelled": 0.3, "labelled": 1.0}
_LOT = 256


@dataclass(frozen=True)
class FractureTrainOptions:
    """How to train.

    Attributes:
        steps: Steps of the last network.
        fold_steps: Steps of each network that leaves patients out.
        folds: Parts the patients are divided into.
        draws: Simulated columns drawn of each scan.
        batch: Samples a step.
        rate: Peak learning rate.
        seed: Seed of every draw.
        device: "cpu" or "cuda".
        threads: CPU threads, 0 for torch's own choice.
        split: JSON file with lists "train" and "held_out" of case names; none: train on all.
        start: Folder of an earlier run whose network to start the last one from.
        save_every: Steps between checkpoints.
        simulate_unlabelled: Collapse bodies of unlabelled scans too, as the networks outline them.
        learn_found: Learn from bodies as they are where they are sure: outlined ones by geometry, those of
            unlabelled scans where both readers agree.
    """

    steps: int = 1500
    fold_steps: int = 600
    folds: int = 3
    draws: int = 12
    batch: int = 16
    rate: float = 2e-3
    seed: int = 1
    device: str = "cpu"
    threads: int = 0
    split: Path | None = None
    start: Path | None = None
    save_every: int = 200
    simulate_unlabelled: bool = True
    learn_found: bool = False


def fracture_recipe(
    data: Path,
    out: Path,
    options: FractureTrainOptions,
    *,
    labels: Path | None = None,
    unlabelled: Path | None = None,
) -> None:
    """Trains the fracture network on the cases below `data` and writes everything to `out`.

    Args:
        data: Folder of cases with outlines, as `spinelab train segment` reads it.
        out: Folder for cache, weights, curves, ``accepted.csv`` and model card; a run goes on where it
            stopped.
        options: How to train.
        labels: Labels exported from the workstation.
        unlabelled: Folder of scans without outlines.

    Raises:
        InputError: No body to train on, fewer patients than folds, or a file that does not fit.
    """
    from spinelab.train.fracture_export import export_fracture

    torch.set_flush_denormal(True)
    if options.threads:
        torch.set_num_threads(options.threads)
    sources = gather_sources(data, out / "cache", options, labels=labels, unlabelled=unlabelled)
    basis = choose_basis(sources, options)
    parts = divide_patients(basis, options.folds)
    nets = [
        train_network(f"fold{number}", leave_out(basis, part), out, options, steps=options.fold_steps)
        for number, part in enumerate(parts)
    ]
    combination = calibrate(nets, parts, sources.simulated)
    accepted, told = accept_found(sources.found, nets)
    write_accepted(out / "accepted.csv", [*told, *tell_outlined(sources.found, options)])
    everything = join([basis, accepted]) if options.learn_found else basis
    train_network("fracture", everything, out, options, steps=options.steps)
    cases = {"with outlines": sources.outlined, "without labels, outlined by networks": sources.unlabelled}
    export_fracture(out, combination, cases, options)


def choose_basis(sources: Sources, options: FractureTrainOptions) -> Kept:
    """Returns what every network learns from.

    Raises:
        InputError: There is nothing simulated, so that no loss is exact.
    """
    simulated = sources.simulated
    if not len(simulated):
        raise InputError("no outlined body could be collapsed; give scans with whole vertebrae and masks")
    if not options.simulate_unlabelled:
        simulated = simulated.pick(
            [i for i, row in enumerate(simulated.rows) if row["case"] not in sources.unlabelled]
        )
    learn = {"labelled": True, "outlined": options.learn_found}
    rows = sources.found.rows
    sure = [
        i
        for i, row in enumerate(rows)
        if learn.get(row["source"]) and (row["source"] == "labelled" or is_sure(row))
    ]
    return join([simulated, sources.found.pick(sure)])


def divide_patients(kept: Kept, folds: int) -> list[frozenset[str]]:
    """Divides the patients into parts, by their names alone.

    Raises:
        InputError: Fewer patients than parts.
    """
    names = sorted({row["case"] for row in kept.rows})
    if len(names) < folds:
        raise InputError(f"found {len(names)} patients for {folds} folds; give more, or fewer --folds")
    return [frozenset(names[part::folds]) for part in range(folds)]


def leave_out(kept: Kept, names: frozenset[str]) -> Kept:
    """Returns the samples of other patients."""
    return kept.pick([i for i, row in enumerate(kept.rows) if row["case"] not in names])


def train_network(
    name: str, kept: Kept, out: Path, options: FractureTrainOptions, *, steps: int
) -> FractureNet:
    """Trains one network, or goes on with it; writes ``NAME.pt`` and ``NAME.csv``; returns its average."""
    sampler = FractureSampler(kept, SHARES)

    def batch(rng: np.random.Generator) -> list[Tensor]:
        return sampler.draw(rng, options.batch)

    torch.manual_seed(options.seed)
    start = options.start if name == "fracture" else None
    run = Run(name, FractureNet(), steps, out, replace(options, start=start))
    fit(run, batch, fracture_loss)
    net = run.average.module
    assert isinstance(net, FractureNet)
    return net.eval()


def fracture_loss(net: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    """Losses of the fracture network on a batch of `FractureSampler.draw`; within a range nothing is lost."""
    picture, facts, low, high, probability, shape = batch
    lost, spread, grave, shapes = net(picture, facts)
    known = torch.isfinite(low)
    least, most = low.nan_to_num() / LOSS_UNIT_PERCENT, high.nan_to_num() / LOSS_UNIT_PERCENT
    error = (functional.relu(least - lost) + functional.relu(lost - most))[known]
    exact = error.detach()
    width = spread[known]
    losses = {
        "lost": 4 * functional.smooth_l1_loss(error, torch.zeros_like(error)),
        "spread": 0.2 * (exact * torch.exp(-width) + width).mean(),
        "grave": functional.binary_cross_entropy_with_logits(grave, probability),
    }
    shaped = (shape >= 0) & (low[:, 3] >= 10)
    if bool(shaped.any()):
        losses["shape"] = 0.3 * functional.cross_entropy(shapes[shaped], shape[shaped])
    return losses


def ask(net: FractureNet, kept: Kept) -> tuple[Array, Array, Array]:
    """Returns the network's (n, 4) loss and spread in per cent and (n,) probability of plain samples."""
    said: list[list[Tensor]] = []
    with torch.no_grad():
        for start in range(0, len(kept), _LOT):
            lot = kept.pick(range(start, min(start + _LOT, len(kept))))
            lost, spread, grave, _ = net(*show_plain(lot))
            said.append([lost * LOSS_UNIT_PERCENT, spread.exp() * LOSS_UNIT_PERCENT, grave.sigmoid()])
    lost, spread, grave = (torch.cat(part).double().numpy() for part in zip(*said, strict=True))
    return lost, spread, grave


def calibrate(nets: Sequence[FractureNet], parts: Sequence[frozenset[str]], kept: Kept) -> Combination:
    """Fits how both readers are weighed, on simulated columns read by a network that never saw the patient.

    Raises:
        InputError: No column is that of a CT.
    """
    rows: list[dict[str, Any]] = []
    said: list[tuple[Array, Array, Array]] = []
    for net, part in zip(nets, parts, strict=True):
        own = [i for i, row in enumerate(kept.rows) if row["case"] in part and row["geometry"]]
        if own:
            rows += [kept.rows[i] for i in own]
            said.append(ask(net, kept.pick(own)))
    if not rows:
        raise InputError(
            "no simulated column is that of a CT, to weigh the readers by; label maps are not enough"
        )
    lost, spread, grave = (np.concatenate(part) for part in zip(*said, strict=True))
    return fit_combination(gather_evidence(rows, lost, spread, grave))


def accept_found(kept: Kept, nets: Sequence[FractureNet]) -> tuple[Kept, list[dict[str, Any]]]:
    """Chooses the bodies of unlabelled scans on which both readers agree and geometry is sure.

    Returns:
        Those accepted, and a row for every body with what was said of it and why.
    """
    kept = kept.pick([i for i, row in enumerate(kept.rows) if row["source"] == "unlabelled"])
    if not len(kept):
        return kept, []
    said = [ask(net, kept) for net in nets]
    percent = np.clip(np.mean([lost[:, 3] for lost, _, _ in said], axis=0), 0, 100)
    grave = np.mean([probability for _, _, probability in said], axis=0)
    chosen, told = [], []
    for i, row in enumerate(kept.rows):
        read = row["geometry"]["height_loss_percent"]
        reason = "accepted: both readers agree"
        if not is_sure(row):
            reason = "geometry unsure"
        elif (row["probability"] >= 0.5) != (grave[i] >= 0.5):
            reason = "readers disagree on a fracture"
        elif abs(read - percent[i]) > AGREE_PERCENT:
            reason = f"readers differ by more than {AGREE_PERCENT:g} points"
        else:
            chosen.append(i)
        told.append(_tell(row, reason, float(percent[i]), float(grave[i])))
    return kept.pick(chosen), told


def tell_outlined(kept: Kept, options: FractureTrainOptions) -> list[dict[str, Any]]:
    """Returns a row for every body with outlines or a label: whether it was learnt from, and why."""
    told = []
    for row in kept.rows:
        if row["source"] == "unlabelled":
            continue
        reason = "accepted: geometry sure" if is_sure(row) else "geometry unsure"
        if row["source"] == "labelled":
            reason = "accepted: label of the workstation"
        elif not options.learn_found:
            reason = "not asked for"
        told.append(_tell(row, reason, None, None))
    return told


def _tell(
    row: dict[str, Any], reason: str, percent: float | None, probability: float | None
) -> dict[str, Any]:
    return {
        "case": row["case"],
        "level": row["level"],
        "source": row["source"],
        "slice_mm": round(row["slice_mm"], 2),
        "geometry_percent": row["geometry"].get("height_loss_percent"),
        "geometry_probability": row["geometry"].get("probability"),
        "network_percent": None if percent is None else round(percent, 1),
        "network_probability": None if probability is None else round(probability, 4),
        "reason": reason,
    }


def write_accepted(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes what was accepted beside simulated collapse, what was not, and why."""
    empty: dict[str, Any] = {"case": "", "level": "", "source": "", "slice_mm": 0.0, "geometry": {}}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(_tell(empty, "", None, None)))
        writer.writeheader()
        writer.writerows(rows)
