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
from lightning.fabric import Fabric
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from sslbench import seeding
from sslbench.methods.base import EpochContext, Method, Progress, ViewBatch
from sslbench.pretraining import checkpoint, health, optimizers
from sslbench.pretraining.feed import Feed
from sslbench.pretraining.schedules import cosine_with_warmup
from sslbench.pretraining.settings import Budget, Recipe
from sslbench.views.apply import make_views, plain

HEALTH_IMAGES = 512


@dataclass
class Loop:
    """Trains one method on one feed.

    Attributes:
        name: the method's name, for messages.
        mean, std: (channel,) of the train split, for images in [0, 1].
        scratch: where a killed run resumes from; outside every out.
        report: called with each epoch's history row.
    """

    name: str
    method: Method
    feed: Feed
    mean: Tensor
    std: Tensor
    budget: Budget
    recipe: Recipe
    seed: int
    device: torch.device
    scratch: Path
    report: Callable[[dict[str, Any]], None]

    def run(self) -> list[dict[str, Any]]:
        """Train for the whole budget, resuming if a state is there; return the history."""
        self.fabric = Fabric(
            accelerator="cuda" if self.device.type == "cuda" else "cpu",
            devices=[self.device.index or 0] if self.device.type == "cuda" else 1,
            precision=self.budget.precision,
        )
        self.optimizers = optimizers.build(self.method, self.recipe.optimizer)
        wrapped = self.fabric.setup(self.method, *self.optimizers.values())
        self.steppers = dict(zip(self.optimizers, wrapped[1:], strict=True))
        first, history = checkpoint.restore(self.scratch, self.method, self.optimizers)
        for epoch in range(first, self.budget.epochs):
            row = self._epoch(epoch)
            history.append(row)
            self.report(row)
            if (epoch + 1) % self.budget.checkpoint_every_epochs == 0:
                checkpoint.save(self.scratch, epoch, self.method, self.optimizers, history)
        return history

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass."""
        return len(self.feed) // self.budget.batch_size

    def _epoch(self, epoch: int) -> dict[str, Any]:
        steps = self.steps_per_epoch
        order = torch.randperm(len(self.feed), generator=self._stream(f"order/{epoch}", "cpu"))
        start = Progress(epoch * steps, self.budget.epochs * steps, steps)
        self.method.on_epoch_start(
            EpochContext(start, self._extract, self._stream(f"epoch/{epoch}"))
        )
        losses: list[Tensor] = []
        parts: dict[str, Tensor] = {}
        bar = tqdm(
            range(steps),
            desc=f"{self.name} seed {self.seed} epoch {epoch + 1}/{self.budget.epochs}",
            disable=not sys.stderr.isatty(),
            leave=False,
        )
        for step in bar:
            index = order[step * self.budget.batch_size : (step + 1) * self.budget.batch_size]
            progress = Progress(start.step + step, start.total_steps, steps)
            loss, step_parts = self._step(progress, index)
            losses.append(loss)
            for name, value in step_parts.items():
                parts[name] = parts.get(name, torch.zeros_like(value)) + value / steps
        stacked = torch.stack(losses).cpu()
        health.refuse_non_finite(stacked, start.step, self.name)
        return self._row(epoch, stacked, parts, progress)

    def _step(self, progress: Progress, index: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        # Libraries that draw from the global generator (drop path, dropout) are covered too.
        torch.manual_seed(seeding.stream_seed(self.seed, f"global/{progress.step}"))
        stream = self._stream(f"step/{progress.step}")
        factor = cosine_with_warmup(progress, self.recipe.warmup_fraction)
        self.method.before_step(progress)
        batches = [self._batch(part, stream) for part in index.chunk(self.budget.accumulate)]
        total = torch.zeros((), device=self.device)
        parts: dict[str, Tensor] = {}
        for phase, optimizer in self.optimizers.items():
            optimizers.set_learning_rate(optimizer, factor)
            loss, phase_parts = self._phase(phase, batches, progress)
            total, parts = total + loss, parts | phase_parts
        return total, parts

    def _phase(
        self, phase: str, batches: list[ViewBatch], progress: Progress
    ) -> tuple[Tensor, dict[str, Tensor]]:
        mine = optimizers.parameters_of(self.optimizers[phase])
        total = torch.zeros((), device=self.device)
        parts: dict[str, Tensor] = {}
        for batch in batches:
            # Not through Fabric's wrapper: it refuses the frozen records that methods exchange.
            with self.fabric.autocast():
                output = self.method(batch, progress, phase)
            # `inputs` confines gradients to this phase's own parameters.
            self.fabric.backward(output.loss / len(batches), inputs=mine)
            total = total + output.loss.detach().float() / len(batches)
            for name, value in output.parts.items():
                parts[name] = parts.get(name, 0.0) + value.detach().float() / len(batches)
        if self.recipe.gradient_clip is not None:
            clip_grad_norm_(mine, self.recipe.gradient_clip)
        self.method.after_backward(progress, phase)
        self.steppers[phase].step()
        self.steppers[phase].zero_grad(set_to_none=True)
        return total, parts

    def _batch(self, index: Tensor, stream: torch.Generator) -> ViewBatch:
        index = index.to(self.device)
        size = self.budget.image_size
        images = self.feed.images(index)
        views = make_views(self.method.views, images, size, self.mean, self.std, stream)
        granted = self.method.needs.labels != "none"
        return ViewBatch(views, index, stream, self.feed.labels[index] if granted else None)

    def _extract(self, function: Callable[[list[Tensor]], Tensor]) -> Tensor:
        """Apply a function of a batch's training views to the whole split, in index order."""
        stream = self._stream("extract")
        was_training = self.method.training
        self.method.eval()
        with torch.no_grad(), self.fabric.autocast():
            chunks = torch.split(torch.arange(len(self.feed)), self.budget.batch_size)
            found = [function(self._batch(chunk, stream).views) for chunk in chunks]
        self.method.train(was_training)
        return torch.cat(found)

    def _row(
        self, epoch: int, losses: Tensor, parts: dict[str, Tensor], progress: Progress
    ) -> dict[str, Any]:
        figures = self._health()
        if warning := health.collapse_warning(figures, self.name, epoch):
            print(f"warning: {warning}", file=sys.stderr)
        rate = self.recipe.optimizer.learning_rate
        return {
            "epoch": epoch,
            "loss": float(losses.mean()),
            "parts": {name: float(value) for name, value in sorted(parts.items())},
            "learning_rate": rate * cosine_with_warmup(progress, self.recipe.warmup_fraction),
            "health": figures,
        }

    def _health(self) -> dict[str, float]:
        """Measure the backbone's features on the first images of the split, un-augmented."""
        index = torch.arange(min(HEALTH_IMAGES, len(self.feed)))
        images = plain(self.feed.images(index), self.mean, self.std)
        backbone = self.method.evaluation_backbone
        backbone.eval()
        with torch.no_grad(), self.fabric.autocast():
            features = backbone(images).float()
        self.method.train()
        return {
            "feature_std": health.feature_std(features),
            "effective_rank": health.effective_rank(features),
        }

    def _stream(self, name: str, device: str | None = None) -> torch.Generator:
        return seeding.generator(self.seed, name, device or str(self.device))
