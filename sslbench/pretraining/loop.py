"""The loop: one for every method, on Lightning Fabric.

Each step's randomness comes from (seed, step) alone, so a resumed run draws what an
uninterrupted one would have drawn, bit for bit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from sslbench.core import seeding
from sslbench.methods.base import EpochContext, Method, Progress, ViewBatch
from sslbench.pretraining import checkpoint, health, optimizers
from sslbench.pretraining.batches import Batches, Pending
from sslbench.pretraining.device import make_fabric
from sslbench.pretraining.schedules import cosine_with_warmup
from sslbench.pretraining.settings import Budget, Recipe

HEALTH_IMAGES = 512
PROTOTYPE_ENTROPY = "prototype_entropy"  # the one health figure that methods measure themselves
Parts = dict[str, Tensor]


@dataclass
class Loop:
    """Trains one method.

    Attributes:
        name: the method's name, for messages.
        scratch: where a killed run resumes from; outside every out.
        report: called with each epoch's history row.
    """

    name: str
    method: Method
    batches: Batches
    budget: Budget
    recipe: Recipe
    scratch: Path
    report: Callable[[dict[str, Any]], None]

    def run(self) -> list[dict[str, Any]]:
        """Train for the whole budget, resuming if a state is there; return the history."""
        first, history = self.start()
        for epoch in range(first, self.budget.epochs):
            row = self.epoch(epoch)
            history.append(row)
            self.report(row)
            if (epoch + 1) % self.budget.checkpoint_every_epochs == 0:
                checkpoint.save(self.scratch, epoch, self.method, self.optimizers, history)
        return history

    def start(self) -> tuple[int, list[dict[str, Any]]]:
        """Make the optimisers and load a saved state; return (epochs done, their history)."""
        self.fabric = make_fabric(self.batches.device, self.budget.precision)
        self.optimizers = optimizers.build(self.method, self.recipe.optimizer)
        wrapped = self.fabric.setup(self.method, *self.optimizers.values())
        self.steppers = dict(zip(self.optimizers, wrapped[1:], strict=True))
        return checkpoint.restore(self.scratch, self.method, self.optimizers)

    def epoch(self, epoch: int) -> dict[str, Any]:
        """Train for one epoch, counted from 0; return its history row."""
        steps = self.batches.per_epoch
        progress = Progress(epoch * steps, self.budget.epochs * steps, steps)
        self.method.on_epoch_start(
            EpochContext(progress, self._extract, self.batches.stream(f"epoch/{epoch}"))
        )
        losses: list[Tensor] = []
        parts: Parts = {}
        label = f"{self.name} seed {self.batches.seed} epoch {epoch + 1}/{self.budget.epochs}"
        hidden, started = not sys.stderr.isatty(), self.batches.steps(epoch, self.budget.accumulate)
        for pending in tqdm(started, label, steps, disable=hidden, leave=False):
            progress = Progress(epoch * steps + len(losses), self.budget.epochs * steps, steps)
            loss, step_parts = self._step(progress, pending)
            losses.append(loss)
            _add(parts, step_parts, 1 / steps)
        stacked = torch.stack(losses).cpu()
        health.refuse_non_finite(stacked, epoch * steps, self.name)
        return self._row(epoch, stacked, parts, progress)

    def _step(self, progress: Progress, pending: list[Pending]) -> tuple[Tensor, Parts]:
        # Libraries that draw from the global generator (drop path, dropout) are covered too.
        torch.manual_seed(seeding.stream_seed(self.batches.seed, f"global/{progress.step}"))
        factor = cosine_with_warmup(progress, self.recipe.warmup_fraction)
        self.method.before_step(progress)
        batches = [self.batches.finish(part) for part in pending]
        total, parts = torch.zeros((), device=self.batches.device), Parts()
        for phase, optimizer in self.optimizers.items():
            optimizers.set_learning_rate(optimizer, factor)
            total = total + self._phase(phase, batches, progress, parts)
        return total, parts

    def _phase(
        self, phase: str, batches: list[ViewBatch], progress: Progress, parts: Parts
    ) -> Tensor:
        mine = optimizers.parameters_of(self.optimizers[phase])
        total = torch.zeros((), device=self.batches.device)
        for batch in batches:
            # Not through Fabric's wrapper: it refuses the frozen records that methods exchange.
            with self.fabric.autocast():
                output = self.method(batch, progress, phase)
            # `inputs` confines gradients to this phase's own parameters.
            self.fabric.backward(output.loss / len(batches), inputs=mine)
            total = total + output.loss.detach().float() / len(batches)
            _add(parts, output.parts, 1 / len(batches))
        if self.recipe.gradient_clip is not None:
            clip_grad_norm_(mine, self.recipe.gradient_clip)
        self.method.after_backward(progress, phase)
        self.steppers[phase].step()
        self.steppers[phase].zero_grad(set_to_none=True)
        return total

    def _extract(self, function: Callable[[list[Tensor]], Tensor]) -> Tensor:
        with self.fabric.autocast():
            return self.batches.extract(function)

    def _row(self, epoch: int, losses: Tensor, parts: Parts, progress: Progress) -> dict[str, Any]:
        with self.fabric.autocast():
            figures = health.measure(self.method, self.batches.plain(HEALTH_IMAGES))
        if PROTOTYPE_ENTROPY in parts:
            figures[PROTOTYPE_ENTROPY] = float(parts.pop(PROTOTYPE_ENTROPY))
        if warning := health.collapse_warning(figures, self.name, epoch):
            print(f"warning: {warning}", file=sys.stderr)
        factor = cosine_with_warmup(progress, self.recipe.warmup_fraction)
        return {
            "epoch": epoch,
            "loss": float(losses.mean()),
            "parts": {name: float(value) for name, value in sorted(parts.items())},
            "learning_rate": self.recipe.optimizer.learning_rate * factor,
            "health": figures,
        }


def _add(sums: Parts, values: Parts, weight: float) -> None:
    """Add detached values, times a weight, to running sums by name."""
    for name, value in values.items():
        scaled = value.detach().float() * weight
        sums[name] = sums[name] + scaled if name in sums else scaled
