"""One call: data, method and seed in; checkpoint files and a history out."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sslbench import backbones, methods
from sslbench.backbones.base import Backbone
from sslbench.backbones.model_info import ModelInfo
from sslbench.core import artifacts, params, seeding
from sslbench.core.errors import UserError
from sslbench.core.records import LABELS
from sslbench.data.store import Dataset, DatasetInfo, Split
from sslbench.methods.base import DataInfo, EpochContext, Method, Progress
from sslbench.pretraining import batch_norm, label_subset, predecessor
from sslbench.pretraining.batches import Batches
from sslbench.pretraining.feed import Feed
from sslbench.pretraining.settings import Budget, Recipe
from sslbench.pretraining.trajectory import Trajectory


@dataclass(frozen=True)
class Request:
    """What to pretrain.

    Attributes:
        name: the method.
        seed: of weights, order, views and masks.
        data: folder of the prepared data set.
        predecessor: checkpoint folder that the method starts from, if it continues another.
        budget, recipe, method_params: slices of params.yaml, unchecked.
        device: torch's name for it.
        scratch: resumable state goes here.
        out: checkpoint folder.
    """

    name: str
    seed: int
    data: Path
    budget: Mapping[str, Any]
    recipe: Mapping[str, Any]
    method_params: Mapping[str, Any]
    device: str
    scratch: Path
    out: Path
    predecessor: Path | None = None


def pretrain(
    request: Request, report: Callable[[dict[str, Any]], None]
) -> tuple[list[dict[str, Any]], list[Path]]:
    """Pretrain, write the checkpoint and return (history, files written).

    Raises:
        UserError: a bad parameter, data that does not fit, or a loss that stopped being finite.
    """
    budget = params.build(Budget, request.budget, "pretrain")
    recipe = params.build(Recipe, request.recipe, f"recipes.{request.name}")
    dataset = Dataset.open(request.data)
    split = dataset.split("train")
    device = torch.device(request.device)
    method = _create(request, recipe, budget, dataset.info, split)
    # Filters decide the layout of a convolution's output; docs/decisions/0008 has the measurements.
    method = method.to(device).to(memory_format=torch.channels_last)
    trajectory = Trajectory(request.scratch, budget.keep_every_epochs, budget.epochs)
    history: list[dict[str, Any]] = []
    if method.trains:
        batches = _batches(request, method, budget, dataset.info, split)
        history = _train(request, batches, budget, recipe, split, trajectory, report)
    elif method.views:
        _look(_batches(request, method, budget, dataset.info, split))
    written = _write(request, method, recipe, budget, dataset.info, history)
    written.append(trajectory.write(request.out, is_trained=method.trains))
    shutil.rmtree(request.scratch, ignore_errors=True)
    return history, written


def _create(
    request: Request, recipe: Recipe, budget: Budget, info: DatasetInfo, split: Split
) -> Method:
    module = methods.load(request.name)
    settings = params.build(module.Params, request.method_params, f"methods.{request.name}")
    # Weights are drawn on the CPU, so that a seed means the same network on every device.
    torch.manual_seed(seeding.stream_seed(request.seed, "weights"))
    backbone = backbones.build({**recipe.backbone, "image_size": budget.image_size})
    facts = DataInfo(
        num_samples=len(split),
        num_classes=len(info.classes),
        image_size=budget.image_size,
        mean=tuple(info.mean),
        std=tuple(info.std),
    )
    method: Method = module.METHOD(backbone, settings, facts)
    if method.needs.labels != "none" and not info.classes:
        mend = "leave it out of grid.methods, or use labelled data"
        raise UserError("needs labels, but the data set has none", where=request.name, mend=mend)
    spec = {**recipe.backbone, "image_size": budget.image_size}
    predecessor.hand_over(request.predecessor, method, spec, request.name)
    if method.label_subset is not None:
        method.grant(label_subset.draw(split.labels, facts.num_classes, method.label_subset))
    return method


def _train(
    request: Request,
    batches: Batches,
    budget: Budget,
    recipe: Recipe,
    split: Split,
    trajectory: Trajectory,
    report: Callable[[dict[str, Any]], None],
) -> list[dict[str, Any]]:
    # Imported here: methods that do not train need not pay for Fabric (5 s).
    from sslbench.pretraining.loop import Loop

    if not batches.per_epoch:
        raise UserError(
            f"{len(split)} train images do not fill a batch of {budget.batch_size}",
            where="pretrain.batch_size",
            mend="lower it, or use more images",
        )
    method = batches.method

    def finish(backbone: Backbone) -> Backbone:
        if method.reestimates_batch_norms:
            images = batch_norm.whole_images(split, budget.image_size, batches.mean, batches.std)
            batch_norm.reestimate(backbone, images)
        return backbone

    def epoch_ended(row: dict[str, Any]) -> None:
        if (epoch := row["epoch"] + 1) in trajectory.kept:
            # A copy, so that training goes on as if nobody had looked.
            trajectory.keep(epoch, finish(copy.deepcopy(method.evaluation_backbone)))
        report(row)

    loop = Loop(request.name, method, batches, budget, recipe, request.scratch, epoch_ended)
    history = loop.run()
    finish(method.evaluation_backbone)
    return history


def _look(batches: Batches) -> None:
    """Run the hook of the first epoch of a method that looks at images but never steps."""
    first = Progress(step=0, total_steps=1, steps_per_epoch=1)
    context = EpochContext(first, batches.extract, batches.stream("epoch/0"))
    batches.method.on_epoch_start(context)


def _batches(
    request: Request, method: Method, budget: Budget, info: DatasetInfo, split: Split
) -> Batches:
    device = torch.device(request.device)
    return Batches(
        feed=Feed(split, device),
        method=method,
        image_size=budget.image_size,
        mean=torch.tensor(info.mean, device=device),
        std=torch.tensor(info.std, device=device),
        size=budget.batch_size,
        seed=request.seed,
        device=device,
    )


def _write(
    request: Request,
    method: Method,
    recipe: Recipe,
    budget: Budget,
    info: DatasetInfo,
    history: list[dict[str, Any]],
) -> list[Path]:
    backbone = method.evaluation_backbone
    model = ModelInfo(
        backbone={**recipe.backbone, "image_size": budget.image_size},
        layers=tuple(backbone.layers),
        feature_dim=backbone.feature_dim,
        size=budget.image_size,
        mean=tuple(info.mean),
        std=tuple(info.std),
        labels=_labels(request, method),
    )
    out = request.out
    artifacts.write_tensors(out / artifacts.BACKBONE, backbone.state_dict())
    artifacts.write_tensors(out / artifacts.METHOD, method.state_dict())
    model.write(out / artifacts.MODEL)
    artifacts.write_json(out / artifacts.HISTORY, history)
    names = (artifacts.BACKBONE, artifacts.METHOD, artifacts.MODEL, artifacts.HISTORY)
    return [out / name for name in names]


def _labels(request: Request, method: Method) -> str:
    """Return how many labels the weights stand on, a predecessor's included."""
    found: list[str] = [method.needs.labels]
    if request.predecessor is not None:
        found.append(ModelInfo.read(request.predecessor / artifacts.MODEL).labels)
    return max(found, key=LABELS.index)
