"""The landmark recipe: bodies and corners in sagittal MR from few labelled and many unlabelled scans.

Unlabelled scans enter in two ways, each of which can be left out: as pictures whose places a network
learns to tell apart before it sees a label (`spinelab.train.contrast`), and with landmarks which the averaged
network of this very training draws at two points on the way, where a spine could look like that
(`spinelab.train.pseudo_labels`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from spinelab.errors import InputError
from spinelab.nets.landmarks import POINTS, LandmarkNet
from spinelab.tasks.landmark_maps import Answering
from spinelab.train.cases import find_cases
from spinelab.train.contrast import pretrain
from spinelab.train.fitting import Batch, Run, fit
from spinelab.train.mr_cases import (
    MrCase,
    PreparedMr,
    find_mr_cases,
    find_unlabelled,
    prepare_mr,
    prepare_painted,
    prepare_readable,
)
from spinelab.train.mr_samples import MrSampler
from spinelab.train.pseudo_labels import label_scans, write_verdicts

#: Shares of the steps after which landmarks are drawn in the unlabelled scans.
SELF_TRAINED_AT = (0.5, 0.75)


@dataclass(frozen=True)
class LandmarkOptions:
    """How to train.

    Attributes:
        steps: Steps in all.
        batch: Samples a step.
        rate: Peak learning rate.
        seed: Seed of every draw.
        device: "cpu" or "cuda".
        threads: CPU threads, 0 for torch's own choice.
        split: JSON file whose "labelled", "unlabelled" and "painted" name what to use, by set; none: all.
        start: Folder of an earlier run whose weights to start from.
        save_every: Steps between checkpoints.
        simulate: Bend the columns of some of the samples.
        painted: Folder of label maps (VerSe numbers) that are painted in random contrasts, if any.
        contrast_steps: Steps of pre-training on all scans, labels unused; 0 for none.
        self_train: Let the network draw landmarks in unlabelled scans and go on with those accepted.
    """

    steps: int = 3000
    batch: int = 2
    rate: float = 3e-3
    seed: int = 1
    device: str = "cpu"
    threads: int = 0
    split: Path | None = None
    start: Path | None = None
    save_every: int = 100
    simulate: bool = True
    painted: Path | None = None
    contrast_steps: int = 0
    self_train: bool = True


@dataclass(frozen=True)
class Sources:
    """What there is to learn from.

    Attributes:
        labelled: Scans with landmarks.
        unlabelled: Scans without.
        painted: Label maps.
        refused: Name of an unlabelled scan -> why it could not be read.
    """

    labelled: list[PreparedMr]
    unlabelled: list[PreparedMr] = field(default_factory=list)
    painted: list[PreparedMr] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def landmark_recipe(
    labelled: Sequence[Path], out: Path, options: LandmarkOptions, *, unlabelled: Sequence[Path] = ()
) -> dict[str, str]:
    """Trains the landmark network on folders of scans and writes everything to `out`.

    Returns:
        Name of an unlabelled scan -> why it could not be read; the others are used.

    Raises:
        InputError: Nothing is labelled, or the split names cases that are not there.
    """
    from spinelab.train.export import export_landmarks

    torch.set_flush_denormal(True)
    if options.threads:
        torch.set_num_threads(options.threads)
    sources = gather(labelled, unlabelled, out / "cache", options)
    drawn = train_landmarks(sources, out, options)
    used = {
        "Labelled persons": [case.name for case in sources.labelled],
        "Unlabelled scans looked at": [case.name for case in sources.unlabelled],
        "Of these with landmarks it drew itself": [case.name for case in drawn],
        "Painted label maps": [case.name for case in sources.painted],
    }
    export_landmarks(out, used, options)
    return sources.refused


def gather(
    labelled: Sequence[Path], unlabelled: Sequence[Path], cache: Path, options: LandmarkOptions
) -> Sources:
    """Reads all there is to learn from; unreadable unlabelled scans are named and left out."""
    cases = choose_labelled(labelled, options.split)
    known = {case.image for case in cases}
    others = [case for case in choose_unlabelled(unlabelled, options.split) if case.image not in known]
    plain, refused = prepare_readable(others)
    maps = find_cases(options.painted) if options.painted else []
    if options.split is not None:
        allowed = _named_by(options.split, "painted")
        maps = [case for case in maps if case.name in allowed]
    painted = prepare_painted(maps, cache)
    return Sources(prepare_mr(cases), plain, painted, refused)


def choose_labelled(folders: Sequence[Path], split: Path | None) -> list[MrCase]:
    """Lists the labelled cases of folders: those a split names, or all."""
    cases = [case for folder in folders for case in find_mr_cases(folder) if case.labelled]
    where = ", ".join(map(str, folders))
    if not cases:
        raise InputError(
            f"no scan in {where} has NAME_bodies.nii.gz or NAME_ctd.json beside it; label at least one"
        )
    if split is None:
        return cases
    wanted = _named_by(split, "labelled")
    missing = sorted(wanted - {case.name for case in cases})
    if missing:
        raise InputError(f"the split names cases that are not labelled in {where}: {', '.join(missing)}")
    return [case for case in cases if case.name in wanted]


def choose_unlabelled(folders: Sequence[Path], split: Path | None) -> list[MrCase]:
    """Lists the scans of folders that may be used without labels: those a split names, or all.

    A split names persons: all scans whose file name begins with one are meant. One without "unlabelled"
    allows all but those "held_out".
    """
    cases = [case for folder in folders for case in find_unlabelled(folder)]
    if split is None:
        return cases
    wanted, barred = (tuple(f"{n}_" for n in _named_by(split, key)) for key in ("unlabelled", "held_out"))
    return [
        case
        for case in cases
        if not f"{case.name}_".startswith(barred) and (not wanted or f"{case.name}_".startswith(wanted))
    ]


def _named_by(split: Path, key: str) -> set[str]:
    by_set = json.loads(split.read_text(encoding="utf-8")).get(key, {})
    return {name for names in by_set.values() for name in names}


def train_landmarks(sources: Sources, out: Path, options: LandmarkOptions) -> list[PreparedMr]:
    """Trains the network; writes ``landmarks.pt``, ``landmarks.csv`` and what became of unlabelled scans.

    Returns:
        The unlabelled scans with the landmarks that were drawn in them and accepted last.
    """
    net = LandmarkNet()
    if options.contrast_steps:
        net = pretrain([*sources.labelled, *sources.unlabelled], options.contrast_steps, out, options)
    torch.manual_seed(options.seed)
    run = Run("landmarks", net, options.steps, out, options)
    guessed: list[PreparedMr] = []
    stages = SELF_TRAINED_AT if options.self_train and sources.unlabelled else ()
    for number, share in enumerate((*stages, 1.0)):
        sampler = MrSampler(
            sources.labelled, guessed=guessed, painted=sources.painted, simulate=options.simulate
        )
        fit(run, _batches(sampler, options.batch), landmark_loss, until=round(share * options.steps))
        if share < 1:
            guessed = _guess(run, sources.unlabelled, out / f"unlabelled_{number + 1}")
    return guessed


def _batches(sampler: MrSampler, count: int) -> Batch:
    def batch(rng: np.random.Generator) -> list[Tensor]:
        drawn = [list(vars(sampler.draw(rng)).values()) for _ in range(count)]
        return [torch.stack(part) for part in zip(*drawn, strict=True)]

    return batch


def _guess(run: Run, unlabelled: list[PreparedMr], target: Path) -> list[PreparedMr]:
    """Draws landmarks with the averaged network, once: a resumed run finds them beside the checkpoint."""
    stored = target.with_suffix(".json")
    if not stored.exists():
        accepted, verdicts = label_scans(unlabelled, _answering(run))
        write_verdicts(verdicts, target.with_suffix(".csv"))
        found = {
            case.name: {
                "labels": case.labels.tolist(),
                "points_mm": case.points_mm.tolist(),
                "named": case.named,
            }
            for case in accepted
        }
        stored.write_text(json.dumps(found), encoding="utf-8")
    found = json.loads(stored.read_text(encoding="utf-8"))
    return [
        replace(
            case,
            labels=np.array(entry["labels"]),
            points_mm=np.array(entry["points_mm"], np.float64),
            named=entry["named"],
        )
        for case in unlabelled
        if (entry := found.get(case.name)) is not None
    ]


def _answering(run: Run) -> Answering:
    """The averaged network of a run as the tasks call a loaded one."""
    from spinelab.train.export import LandmarkAnswers

    answers = LandmarkAnswers(run.average.module).eval()

    def answer(scan: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        with torch.no_grad():
            return [part.cpu().numpy() for part in answers(torch.from_numpy(scan).to(run.options.device))]

    return answer


def landmark_loss(net: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    """Losses of the landmark network on a batch of `MrSample` fields."""
    x, heat, known, offsets, level = batch
    logits, told, spread, levels = net(x)
    weight = known * (1 + 60 * heat)
    parts = functional.binary_cross_entropy_with_logits(logits[:, 0], heat, reduction="none")
    losses = {"heat": 10 * (parts * weight).sum() / weight.sum().clamp(min=1)}
    target = offsets.reshape(len(offsets), POINTS, 3, *offsets.shape[2:])
    marked = torch.isfinite(target).all(2)
    if bool(marked.any()):
        error = (told.reshape(target.shape) - target.nan_to_num()).abs().mean(2)[marked]
        losses["offset"] = 4 * error.mean()
        log_scale = spread[marked]
        losses["spread"] = 0.2 * (error.detach() * torch.exp(-log_scale) + log_scale).mean()
    chosen = level >= 0
    if bool(chosen.any()):
        logits = levels.permute(0, 2, 3, 4, 1)[chosen]
        losses["level"] = functional.cross_entropy(logits, level[chosen], label_smoothing=0.03)
    return losses
