"""Everything the contract tests build: tiny images, tiny methods, and a loop of a few steps.

A method is found by listing its folder; its numbers are those of conf/recipes/small.yaml, with
widths cut down by their suffix, so a new method is tested without a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslbench import backbones, methods
from sslbench.core import params, seeding
from sslbench.methods.base import DataInfo, EpochContext, Method, Progress, ViewBatch
from sslbench.views.apply import make_views

ROOT = Path(__file__).parents[2]
SMALL = params.load(ROOT / "conf" / "recipes" / "small.yaml")

NUM_IMAGES, NUM_CLASSES, SIZE, BATCH = 16, 4, 32, 8
STEPS_PER_EPOCH = NUM_IMAGES // BATCH
MEAN, STD = torch.full((3,), 0.5), torch.full((3,), 0.25)

# Sizes by suffix, where they are of the same type; anything else keeps its value.
SHRUNK = {
    "pca_dim": 4,  # below the number of images: more axes would whiten rounding errors
    "_dim": 32,
    "num_prototypes": [4, 3],
    "num_clusters": 4,  # at most one for each image
    "queue_size": 16,
    "decoder_depth": 1,
    "per_class": 2,
    "num_negatives": 16,
    "num_permutations": 10,
}
TINY_BACKBONES = {
    "lab_resnet": {"width": 8},
    "resnet": {"width": 8},
    "vit": {"size": "micro", "patch_size": 8},
}

TRAINING = [name for name in methods.names() if methods.load(name).METHOD.trains]


def images(num: int = NUM_IMAGES, seed: int = 0) -> Tensor:
    """Smooth, distinct colour images (num, 3, 32, 32) uint8."""
    coarse = torch.rand(num, 3, 4, 4, generator=seeding.generator(seed, "images"))
    smooth = torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear")
    return (smooth * 255).to(torch.uint8)


LABELS = torch.arange(NUM_IMAGES) % NUM_CLASSES
GRANTED = torch.arange(BATCH)  # whose labels a method that needs "some" is shown


def shrink(values: Any) -> Any:
    """Return method values with widths cut down by their suffix."""
    if not isinstance(values, dict):
        return values
    return {key: _shrunk(key, value) for key, value in values.items()}


def _shrunk(key: str, value: Any) -> Any:
    for suffix, small in SHRUNK.items():
        if key.endswith(suffix) and type(value) is type(small):
            return small
    return shrink(value)


def data_info(num_samples: int = NUM_IMAGES, num_classes: int = NUM_CLASSES) -> DataInfo:
    """Return what a method may know of the images."""
    return DataInfo(num_samples, num_classes, SIZE, tuple(MEAN.tolist()), tuple(STD.tolist()))


def build_params(name: str, **changes: Any) -> Any:
    """Return the method's Params, small, with some values changed."""
    values = shrink(SMALL["methods"][name]) | changes
    return params.build(methods.load(name).Params, values, f"methods.{name}")


def build_method(name: str, seed: int = 0, **changes: Any) -> Method:
    """Return a freshly initialised method on the tiny form of its recipe's backbone.

    One that continues another starts from a freshly initialised predecessor.
    """
    torch.manual_seed(seed)
    spec = SMALL["recipes"][name]["backbone"]
    spec = spec | TINY_BACKBONES[spec["family"]] | {"image_size": SIZE}
    made = methods.load(name).METHOD
    method: Method = made(backbones.build(spec), build_params(name, **changes), data_info())
    if method.continues:
        before = build_method(SMALL["recipes"][name]["predecessor"], seed)
        method.continue_from(before.state_dict())
    if method.label_subset is not None:
        method.grant(GRANTED)
    return method


def granted_labels(method: Method) -> Tensor | None:
    """Return labels (NUM_IMAGES,) as the loop grants them: -1 where hidden, None if all are."""
    if method.needs.labels == "some":
        return torch.where(torch.isin(torch.arange(NUM_IMAGES), GRANTED), LABELS, -1)
    return LABELS if method.needs.labels == "all" else None


def make_batch(method: Method, index: Tensor, seed: int = 0, step: int = 0) -> ViewBatch:
    """Return one batch as the loop would make it, its randomness a function of (seed, step)."""
    generator = seeding.generator(seed, f"step/{step}")
    views = make_views(method.views, images()[index], SIZE, MEAN, STD, generator)
    labels = granted_labels(method)
    shown = None if labels is None else labels[index]
    return ViewBatch(views=views, index=index, generator=generator, labels=shown)


def start_epoch(method: Method, progress: Progress, seed: int = 0) -> None:
    """Run the method's epoch hook with a whole-split extract in eval mode."""

    def extract(function: Callable[[list[Tensor]], Tensor]) -> Tensor:
        method.eval()
        with torch.no_grad():
            found = function(make_batch(method, torch.arange(NUM_IMAGES), seed, -1).views)
        method.train()
        return found

    stream = seeding.generator(seed, f"epoch/{progress.epoch}")
    method.on_epoch_start(EpochContext(progress, extract, stream))


def phase_parameters(method: Method, phase: str) -> list[torch.nn.Parameter]:
    """Return the parameters that a phase's optimiser holds."""
    groups = [group for group in method.parameter_groups() if group.phase == phase]
    return [parameter for group in groups for parameter in group.parameters]


Optimizers = dict[str, torch.optim.Optimizer]
Make = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]


def adam(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser for tests that learn."""
    return torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.0)


def sgd(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """An optimiser without state, for tests of the method's own state."""
    return torch.optim.SGD(parameters, lr=1e-2)


def train(
    method: Method,
    steps: range,
    *,
    seed: int = 0,
    make: Make = sgd,
    total_steps: int = 100,
    steps_per_epoch: int = STEPS_PER_EPOCH,
    batch_of: Callable[[Progress], ViewBatch] | None = None,
) -> Iterator[dict[str, float]]:
    """Yield each step's losses by phase, in the loop's order of hooks."""
    optimizers = {phase: make(phase_parameters(method, phase)) for phase in method.phases}
    method.train()
    for step in steps:
        progress = Progress(step, total_steps, steps_per_epoch)
        if step % steps_per_epoch == 0:
            start_epoch(method, progress, seed)
        method.before_step(progress)
        batch = batch_of(progress) if batch_of else _default_batch(method, progress, seed)
        yield {phase: _step(method, batch, progress, phase, optimizers) for phase in method.phases}


def _default_batch(method: Method, progress: Progress, seed: int) -> ViewBatch:
    rows = GRANTED if method.needs.labels == "some" else torch.arange(NUM_IMAGES)
    start = progress.step * BATCH % len(rows)
    return make_batch(method, rows[start : start + BATCH], seed, progress.step)


def _step(
    method: Method, batch: ViewBatch, progress: Progress, phase: str, optimizers: Optimizers
) -> float:
    output = method(batch, progress, phase)
    optimizers[phase].zero_grad(set_to_none=True)
    torch.autograd.backward(output.loss, inputs=phase_parameters(method, phase))
    method.after_backward(progress, phase)
    optimizers[phase].step()
    return float(output.loss.detach())


def one_backward(method: Method, seed: int = 0) -> dict[str, float]:
    """Run the first step's phases, leaving gradients in place; return the losses."""
    progress = Progress(0, 100, STEPS_PER_EPOCH)
    start_epoch(method, progress, seed)
    method.before_step(progress)
    batch = _default_batch(method, progress, seed)
    losses = {}
    for phase in method.phases:
        loss = method(batch, progress, phase).loss
        torch.autograd.backward(loss, inputs=phase_parameters(method, phase))
        losses[phase] = float(loss.detach())
    return losses
