"""One network in training: steps, checkpoints, learning curve; any recipe brings its samples and loss."""

import csv
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

Batch = Callable[[np.random.Generator], list[Tensor]]
Loss = Callable[[nn.Module, list[Tensor]], dict[str, Tensor]]


class FitOptions(Protocol):
    """What a recipe's options must hold; see `spinelab.train.segment.TrainOptions`."""

    @property
    def rate(self) -> float:
        """Peak learning rate."""

    @property
    def seed(self) -> int:
        """Seed of every draw."""

    @property
    def device(self) -> str:
        """ "cpu" or "cuda"."""

    @property
    def start(self) -> Path | None:
        """Folder of an earlier run whose weights to start from."""

    @property
    def save_every(self) -> int:
        """Steps between checkpoints."""


@dataclass
class Run:
    """One network in training: everything a checkpoint holds, and where it goes."""

    name: str
    net: nn.Module
    steps: int
    out: Path
    options: FitOptions

    def __post_init__(self) -> None:
        device = torch.device(self.options.device)
        solid = any(weight.dim() == 5 for weight in self.net.parameters())
        form = torch.channels_last_3d if solid else torch.preserve_format
        self.net = self.net.to(device, memory_format=form)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=self.options.rate, weight_decay=1e-2)
        self.average = torch.optim.swa_utils.AveragedModel(
            self.net,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995),  # type: ignore[no-untyped-call]
            use_buffers=True,
        )
        self.out.mkdir(parents=True, exist_ok=True)

    def resume(self) -> int:
        """Loads the checkpoint there is, or the weights to start from; returns the steps done."""
        path = self.out / f"{self.name}.pt"
        if path.exists():
            state = torch.load(path, map_location=self.options.device, weights_only=True)
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.load_state_dict(state["average"])
            self.net.load_state_dict(state["net"])
            return int(state["step"])
        if self.options.start is not None:
            path = self.options.start / f"{self.name}.pt"
            average = torch.load(path, map_location=self.options.device, weights_only=True)["average"]
            self.average.load_state_dict(average)
            self.net.load_state_dict(self.average.module.state_dict())
        return 0

    def save(self, step: int) -> None:
        """Writes the checkpoint beside its final name, then moves it there."""
        state = {
            "step": step,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        partial = self.out / f"{self.name}.part"
        torch.save(state, partial)
        partial.replace(self.out / f"{self.name}.pt")

    def step(self, parts: dict[str, Tensor], number: int) -> None:
        """Takes one step down the sum of the losses; the rate warms up, then falls to 2 %."""
        rate = self.options.rate * min(1, (number + 1) / 100) * max(0.02, (1 - number / self.steps) ** 0.9)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimizer.step()
        self.average.update_parameters(self.net)


def fit(run: Run, batch: Batch, loss: Loss, *, until: int | None = None) -> None:
    """Runs the steps that are left, or those `until` a step; the averaged weights count in the end.

    Every step draws from the seed and its own number, so that a resumed run repeats an uninterrupted one.
    """
    options = run.options
    done, last = run.resume(), run.steps if until is None else until
    started = time.perf_counter()
    recent: dict[str, list[float]] = {}
    run.net.train()
    for step in range(done, last):
        torch.manual_seed(options.seed * 1_000_003 + step)
        drawn = batch(np.random.default_rng([options.seed, step]))
        parts = loss(run.net, [part.to(options.device) for part in drawn])
        run.step(parts, step)
        for key, value in parts.items():
            recent.setdefault(key, []).append(float(value.detach()))
        if (step + 1) % 20 == 0 or step + 1 == last:
            _log(run.out / f"{run.name}.csv", step + 1, recent, time.perf_counter() - started)
            recent = {}
        if (step + 1) % options.save_every == 0 or step + 1 == last:
            run.save(step + 1)


def _log(path: Path, step: int, recent: dict[str, list[float]], seconds: float) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "seconds", "losses"])
        means = {key: round(float(np.mean(values)), 4) for key, values in recent.items()}
        writer.writerow([step, round(seconds, 1), json.dumps(means)])
