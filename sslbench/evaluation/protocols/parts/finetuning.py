"""Trains a whole network from one setting of the grid; shared by the protocols that fine-tune."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sslbench.core.errors import UserError
from sslbench.data.store import Split
from sslbench.evaluation.protocols.base import best
from sslbench.evaluation.protocols.parts.divergence import is_finite, single_values_refused
from sslbench.evaluation.protocols.parts.images import (
    JoinedImages,
    augmented_batches,
    outputs,
    predict,
)
from sslbench.evaluation.protocols.parts.several_labels import learnable
from sslbench.evaluation.protocols.parts.transfer import Subject
from sslbench.views.policy import PLAIN, Crop, View


@dataclass(frozen=True)
class Setting:
    """One point of the grid."""

    learning_rate: float
    weight_decay: float
    optimizer: Literal["sgd", "adamw"] = "sgd"


@dataclass(frozen=True, kw_only=True)
class AdamWGrid:
    """The part of the grid that AdamW trains.

    Source: MAE, https://arxiv.org/abs/2111.06377, table 9 (there with rates that fall from layer to
    layer, which we leave out).

    Attributes:
        learning_rate: as SGD's, along the same schedule.
        weight_decay: of weights with two or more axes (no bias, no norm; a transformer's tokens and
            places, which the source leaves out, have them), times the rate.
        betas: decay of the first and second moment, each in [0, 1).
    """

    learning_rate: tuple[float, ...]
    weight_decay: tuple[float, ...]
    betas: tuple[float, float]

    def __post_init__(self) -> None:
        """Refuse an empty grid, rates or decays out of range, and betas outside [0, 1)."""
        _refuse_grid(self.learning_rate, self.weight_decay)
        if any(not 0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), found {self.betas}")


def _refuse_grid(learning_rate: tuple[float, ...], weight_decay: tuple[float, ...]) -> None:
    if min(len(learning_rate), len(weight_decay)) < 1:
        raise ValueError("both grids need one or more")
    if min(learning_rate) <= 0 or min(weight_decay) < 0:
        raise ValueError("learning rates must be positive and weight decays not negative")


@dataclass(frozen=True, kw_only=True)
class Params:
    """The budget of one training run, its augmentation, and the grid that val chooses from.

    Attributes:
        steps: optimiser steps of every run, the refit and the twin's included.
        batch_size: images per step, at most as many as there are.
        learning_rate: of SGD; reached after warm-up, then falling to 0 along a half cosine.
        warmup_fraction: share of all steps with a linearly rising rate, in [0, 1).
        weight_decay: of SGD, divided by the learning rate first, as in the source, so that a step
            shrinks by it at any rate; momentum .9 makes that ten times as much, the cosine half: a
            weight without gradient shrinks by 1 - exp(-5 x steps x weight_decay).
        momentum: of SGD with Nesterov's correction.
        adamw: what AdamW adds to the grid, or None.
        standardised: whether batch norm without scale and shift comes before the new layer.
        crop: random resized crop, or None.
        flip: probability of a horizontal flip.
    """

    steps: int
    batch_size: int
    learning_rate: tuple[float, ...]
    warmup_fraction: float
    weight_decay: tuple[float, ...]
    momentum: float
    adamw: AdamWGrid | None
    standardised: bool
    crop: Crop | None
    flip: float

    def __post_init__(self) -> None:
        """Refuse an empty grid or budget, and batch norm over a single image."""
        if min(self.steps, self.batch_size) < 1:
            raise ValueError("steps and batch_size need one or more")
        if self.standardised and self.batch_size < 2:
            raise ValueError("standardised features need a batch_size of two or more")
        if not 0 <= self.warmup_fraction < 1:
            raise ValueError(f"warmup_fraction must lie in [0, 1), found {self.warmup_fraction}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), found {self.momentum}")
        _ = self.view  # refuses a strange flip
        _refuse_grid(self.learning_rate, self.weight_decay)

    def share(self, step: int) -> float:
        """Return the share of the learning rate at a step counted from 0."""
        warmup_steps = int(self.warmup_fraction * self.steps)
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (self.steps - warmup_steps)))

    @property
    def view(self) -> View:
        """What a training image becomes."""
        return replace(PLAIN, crop=self.crop, flip=self.flip)

    @property
    def grid(self) -> list[Setting]:
        """Every pair of learning rate and weight decay: SGD's, then AdamW's."""
        sgd = [Setting(*pair) for pair in product(self.learning_rate, self.weight_decay)]
        if self.adamw is None:
            return sgd
        pairs = product(self.adamw.learning_rate, self.adamw.weight_decay)
        return sgd + [Setting(*pair, "adamw") for pair in pairs]


def train_network(
    subject: Subject, is_pretrained: bool, data: JoinedImages, setting: Setting, params: Params
) -> nn.Sequential | None:
    """Return the network after all steps; the same seed gives every setting the same batches.

    None where it diverged: a loss, a weight or, in eval mode, an output for the last batch is not
    finite.

    Raises:
        UserError: the checkpoint's weights are not finite, or batch norm saw a single value a
            channel.
    """
    network = _network(subject, is_pretrained, len(data.classes), params.standardised)
    batch_size = min(params.batch_size, len(data))
    set_batch_norm(network, steps_per_epoch=len(data) // batch_size)
    optimizer = _optimizer(network, setting, params)
    batches = augmented_batches(subject, data, params.view, batch_size, params.steps, "finetune")
    for step, (images, labels) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = setting.learning_rate * params.share(step)
        optimizer.zero_grad()
        with single_values_refused():
            made = loss(network(images), labels)
        if not torch.isfinite(made):
            return None
        made.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        last = network.eval()(images)
    return network if is_finite(network) and torch.isfinite(last).all() else None


def _optimizer(network: nn.Module, setting: Setting, params: Params) -> torch.optim.Optimizer:
    rate, decay = setting.learning_rate, setting.weight_decay
    if setting.optimizer == "sgd":
        return torch.optim.SGD(
            network.parameters(),
            lr=rate,
            momentum=params.momentum,
            nesterov=params.momentum > 0,
            weight_decay=decay / rate,
        )
    assert params.adamw is not None, "the setting is of another grid"
    kernels = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=params.adamw.betas)


def best_setting(values: Mapping[Setting, float], protocol: str) -> Setting:
    """Return the setting with the largest value on val; of equals, the first.

    Raises:
        UserError: there is none, since every training diverged.
    """
    if not values:
        raise _diverged("at any setting", protocol)
    return best(values)


def trained(network: nn.Sequential | None, protocol: str) -> nn.Sequential:
    """Return the network of a chosen setting.

    Raises:
        UserError: its training diverged.
    """
    if network is None:
        raise _diverged("at the setting that val chose", protocol)
    return network


def _diverged(where: str, protocol: str) -> UserError:
    mend = f"lower transfer.{protocol}'s learning_rate"
    return UserError(f"fine-tuning did not stay finite {where}", where=protocol, mend=mend)


def loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of outputs (batch, classes), its mean over images.

    Args:
        outputs: of the network.
        labels: class indices (batch,), or targets (batch, classes): each class is then a question
            of its own, 1 or 0, whose losses are summed; what is unsaid (-1) is left out.
    """
    if labels.ndim == 1:
        return functional.cross_entropy(outputs, labels)
    known = labels >= 0
    questions = functional.binary_cross_entropy_with_logits(
        outputs[known], labels[known].float(), reduction="sum"
    )
    return questions / len(labels)


def _network(
    subject: Subject, is_pretrained: bool, num_classes: int, standardised: bool
) -> nn.Sequential:
    backbone = subject.backbone(is_pretrained=is_pretrained)
    if not is_finite(backbone):
        mend = "the pretraining diverged: lower its learning rate, or look at history.json"
        where = str(subject.checkpoint_dir)
        raise UserError("the weights hold NaN or infinity", where=where, mend=mend)
    head = nn.Linear(backbone.feature_dim, num_classes, device=subject.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    if not standardised:
        return nn.Sequential(backbone, head).train()
    norm = nn.BatchNorm1d(backbone.feature_dim, affine=False, device=subject.device)
    return nn.Sequential(backbone, norm, head).train()


def set_batch_norm(network: nn.Module, steps_per_epoch: int) -> None:
    """Set the share of a new batch in the running statistics (one less the source's momentum)."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = min(10 / max(1, steps_per_epoch), 0.1)


def predicted_labels(
    network: nn.Sequential, data: JoinedImages, split: Split, subject: Subject
) -> np.ndarray:
    """Return the labels (num_samples,) that a network, left in eval mode, gives to a split."""
    labels: np.ndarray = data.classes[predict(network.eval(), split, subject)]
    return labels


def class_scores(
    network: nn.Sequential, data: JoinedImages, split: Split, subject: Subject
) -> np.ndarray:
    """Return (num_samples, num_classes): outputs for a split of a network, left in eval mode.

    A class that is always or never there in what it was trained on is NaN: it was not learned.
    """
    found = outputs(network.eval(), split, subject)
    found[:, np.setdiff1d(data.classes, learnable(data.labels))] = np.nan
    return found
