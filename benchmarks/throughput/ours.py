"""Our side: the loop, the feed and the executor of views that `stages.pretrain` runs."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.rounds import Work
from benchmarks.throughput import images, recipes
from benchmarks.throughput.recipes import Case
from sslbench import backbones, methods
from sslbench.core import params
from sslbench.data.store import Split, split_path, write_split
from sslbench.methods.base import DataInfo, Method
from sslbench.pretraining.batches import Batches
from sslbench.pretraining.feed import Feed
from sslbench.pretraining.loop import Loop
from sslbench.pretraining.settings import Budget, OptimizerSettings, Recipe

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
_EPOCHS = 10_000  # never reached: the schedule stays at its warm end
NORM = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def views(case: Case) -> Work:
    """Return work that makes the views of every whole batch; counted in views."""
    batches = make_batches(case, torch.device("cpu"))
    epochs = itertools.count()

    def work() -> int:
        made = 0
        for parts in batches.steps(next(epochs), 1):
            made += sum(len(view) for part in parts for view in batches.finish(part).views)
        return made

    return work


def pretrain(case: Case, precision: str) -> Work:
    """Return work that trains for one epoch, health figures included; counted in images."""
    loop = make_loop(case, precision)
    return rounds_of(loop)


def rounds_of(loop: Loop) -> Work:
    """Return work that trains for one more epoch each time; counted in images."""
    epochs = itertools.count()

    def work() -> int:
        loop.epoch(next(epochs))
        return loop.batches.per_epoch * loop.batches.size

    return work


def make_loop(
    case: Case,
    precision: str,
    device: str = "cpu",
    batches_class: type[Batches] = Batches,
    seed: int = 0,
) -> Loop:
    """Return a started loop."""
    where = torch.device(device)
    batches = make_batches(case, where, batches_class, seed)
    batches.method.to(where).to(memory_format=torch.channels_last)
    budget = Budget(
        epochs=_EPOCHS,
        batch_size=case.batch_size,
        image_size=case.size,
        precision=PRECISIONS[precision],
        accumulate=1,
        checkpoint_every_epochs=_EPOCHS,
        keep_every_epochs=None,
    )
    optimizer = OptimizerSettings(
        name="adamw",
        learning_rate=recipes.LEARNING_RATE,
        weight_decay=recipes.WEIGHT_DECAY,
        momentum=None,
        betas=recipes.BETAS,
    )
    recipe = Recipe(backbone={}, optimizer=optimizer, warmup_fraction=0.0, gradient_clip=None)
    loop = Loop(case.method, batches.method, batches, budget, recipe, Path("nowhere"), _ignore)
    loop.start()
    return loop


def make_batches(
    case: Case, device: torch.device, batches_class: type[Batches] = Batches, seed: int = 0
) -> Batches:
    """Return batches of images held raw in memory, whatever their size."""
    mean, std = (torch.tensor(values, device=device) for values in NORM)
    return batches_class(
        feed=Feed(_split(case), device),
        method=make_method(case, seed),
        image_size=case.size,
        mean=mean,
        std=std,
        size=case.batch_size,
        seed=seed,
        device=device,
    )


def make_method(case: Case, seed: int = 0) -> Method:
    """Return the method, its weights drawn."""
    module = methods.load(case.method)
    torch.manual_seed(seed)
    views = [dataclasses.asdict(view) for view in recipes.views(case)]
    values = {**recipes.numbers(case), "views": views}
    settings = params.build(module.Params, values, f"methods.{case.method}")
    facts = DataInfo(case.images, 1, case.size, *NORM)
    method: Method = module.METHOD(backbones.build(recipes.backbone(case)), settings, facts)
    return method


def _split(case: Case) -> Split:
    """Return the images as a split of the store; its file is gone once it is mapped."""
    pixels = images.load(case.data, case.images, case.size)
    labels = np.full(len(pixels), -1, dtype=np.int64)
    with TemporaryDirectory() as folder:
        path = split_path(Path(folder), "train")
        write_split(path, pixels, labels, [str(row) for row in range(len(pixels))])
        return Split(path)


def _ignore(row: object) -> None:
    del row
