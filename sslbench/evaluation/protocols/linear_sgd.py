"""Linear classifier trained by SGD on augmented images, over a frozen backbone.

Source   SimCLR, https://arxiv.org/abs/2002.05709, appendix B.6: crops and flips alone, SGD with
         Nesterov momentum .9, cosine schedule without warm-up, no weight decay; VISSL,
         https://github.com/facebookresearch/vissl (in1k_linear): the same with a rate that falls
         in steps
Chosen   the learning rate, on val after the last step. Every rate trains its own head on the
         same batches, so one pass through the backbone serves them all
Layer    the last one
Refit    none, as in the sources: the head that was measured on val is the head that is measured
         on test, and val trains nothing
Differs  the budget and the grid stand in params.yaml; heads start at zero; the backbone is in eval
         mode, so its batch norms keep their statistics; val and test images have their short side
         resized to the input size and the centre cropped (VISSL: short side 256, crop of 224).
         VISSL has weight decay 5e-4, 28 epochs and a batch norm before the linear layer
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.core.errors import UserError
from sslbench.data.store import Split
from sslbench.evaluation.protocols.base import Measurement, best, classified
from sslbench.evaluation.protocols.parts.divergence import is_finite, refuse_non_finite
from sslbench.evaluation.protocols.parts.images import JoinedImages, augmented_batches, predict
from sslbench.evaluation.protocols.parts.metrics import top1
from sslbench.evaluation.protocols.parts.transfer import Subject
from sslbench.views.policy import PLAIN, Crop, View

NAME = "linear_sgd"
VERSION = 2
KIND = "transfer"
LABELS = "one"


@dataclass(frozen=True, kw_only=True)
class Params:
    """The budget, the augmentation, the schedule, and the rates that val chooses from.

    Attributes:
        epochs: passes over train.
        batch_size: images per step, at most as many as there are.
        learning_rate: at the first step, not scaled by the batch size.
        momentum: of SGD with Nesterov's correction.
        weight_decay: as SGD adds it to the gradient, biases included.
        schedule: `cosine` falls to 0 along half a cosine; `steps` falls at each milestone.
        milestones: shares of the budget at which the rate falls; read for `steps` alone.
        decay: what a fall multiplies the rate by; read for `steps` alone.
        crop: random resized crop, or None.
        flip: probability of a horizontal flip.
    """

    epochs: int
    batch_size: int
    learning_rate: tuple[float, ...]
    momentum: float
    weight_decay: float
    schedule: Literal["cosine", "steps"]
    milestones: tuple[float, ...]
    decay: float
    crop: Crop | None
    flip: float

    def __post_init__(self) -> None:
        """Refuse an empty grid or budget, and rates or milestones without meaning."""
        if min(self.epochs, self.batch_size, len(self.learning_rate)) < 1:
            raise ValueError("epochs, batch_size and learning_rate need one or more")
        if min(self.learning_rate) <= 0 or self.weight_decay < 0:
            raise ValueError("learning rates must be positive and weight decay not negative")
        if any(not 0 < share < 1 for share in self.milestones):
            raise ValueError(f"milestones must lie between 0 and 1, found {self.milestones}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), found {self.momentum}")
        _ = self.view  # refuses a strange flip

    @property
    def view(self) -> View:
        """What a training image becomes."""
        return replace(PLAIN, crop=self.crop, flip=self.flip)

    def share(self, progress: float) -> float:
        """Return the rate as a share of the first one, at progress in [0, 1)."""
        if self.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        falls = sum(progress >= milestone for milestone in self.milestones)
        return float(self.decay**falls)


class Heads(nn.Module):
    """One linear layer per learning rate, from features to (batch, classes, heads)."""

    def __init__(self, feature_dim: int, num_classes: int, num_heads: int) -> None:
        super().__init__()
        self.each = nn.ModuleList(nn.Linear(feature_dim, num_classes) for _ in range(num_heads))
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        """Return the outputs of every head."""
        return torch.stack([head(features) for head in self.each], dim=2)


@dataclass(frozen=True)
class SgdChoice:
    """The trained heads, and which of them did best on val.

    Attributes:
        heads: all of them.
        index: of the best.
        classes: the labels that outputs stand for.
        setting: its learning rate, with a note where that is the edge of the grid.
        val: its top1 on val.
    """

    heads: Heads
    index: int
    classes: np.ndarray
    setting: dict[str, Any]
    val: float


def choose(subject: Subject, train: Split, val: Split, params: Params) -> SgdChoice:
    """Return heads trained on train, and the one with the best top1 on val.

    Raises:
        UserError: the features are not finite, or no head is.
    """
    data = JoinedImages([train])
    backbone = subject.backbone(is_pretrained=True).eval()
    heads = Heads(backbone.feature_dim, len(data.classes), len(params.learning_rate))
    heads.to(subject.device)
    train_heads(heads, _features(backbone, subject, data, params), len(data), params)
    predictions = data.classes[_predict(backbone, heads, val, subject)]
    index, value = _best_head(heads, [top1(row, val.labels) for row in predictions.T])
    setting: dict[str, Any] = {"learning_rate": params.learning_rate[index]}
    grid = sorted(params.learning_rate)
    if len(grid) > 1 and setting["learning_rate"] in (grid[0], grid[-1]):
        setting["note"] = "the best learning rate is at the edge of the grid"
    return SgdChoice(heads, index, data.classes, setting, value)


def measure(
    choice: SgdChoice,
    subject: Subject,
    train: Split,  # noqa: ARG001  (part of the contract)
    val: Split,  # noqa: ARG001
    test: Split,
) -> list[Measurement]:
    """Return top1 and mean_per_class on test of the head that val chose."""
    backbone = subject.backbone(is_pretrained=True).eval()
    predictions = choice.classes[_predict(backbone, choice.heads, test, subject)[:, choice.index]]

    def row(metric: str, value: float) -> Measurement:
        return Measurement(
            metric=metric, value=value, unit="fraction", n=len(test), split="test",
            layer=subject.info.layers[-1], role="headline",
            detail={**choice.setting, "val": choice.val},
        )  # fmt: skip

    return classified(predictions, test.labels, row)


def _best_head(heads: Heads, values: list[float]) -> tuple[int, float]:
    """Return the finite head with the largest value; of equals, the first."""
    finite = {i: value for i, value in enumerate(values) if is_finite(heads.each[i])}
    if not finite:
        mend = f"lower transfer.{NAME}'s learning_rate"
        raise UserError("no head stayed finite at any learning rate", where=NAME, mend=mend)
    index = best(finite)
    return index, finite[index]


def train_heads(
    heads: Heads, batches: Iterator[tuple[Tensor, Tensor]], num_samples: int, params: Params
) -> None:
    """Train every head, each at its own rate, on the same batches.

    Args:
        heads: changed in place.
        batches: features (batch, dim) and class indices (batch,).
        num_samples: images of an epoch.
        params: the budget.
    """
    groups = [
        {"params": head.parameters(), "lr": rate}
        for head, rate in zip(heads.each, params.learning_rate, strict=True)
    ]
    optimizer = torch.optim.SGD(
        groups, momentum=params.momentum, nesterov=params.momentum > 0,
        weight_decay=params.weight_decay,
    )  # fmt: skip
    steps = _steps(num_samples, params)
    for step, (features, labels) in enumerate(batches):
        share = params.share(step / steps)
        for group, rate in zip(optimizer.param_groups, params.learning_rate, strict=True):
            group["lr"] = rate * share
        outputs = heads(features)
        targets = labels[:, None].expand(-1, outputs.shape[2])
        optimizer.zero_grad()
        # A sum over heads: each head's gradient is that of its own mean loss.
        loss = functional.cross_entropy(outputs, targets, reduction="sum") / len(labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _features(
    backbone: Backbone, subject: Subject, data: JoinedImages, params: Params
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield features (batch, dim) of augmented images and class indices (batch,)."""
    size, steps = min(params.batch_size, len(data)), _steps(len(data), params)
    for images, labels in augmented_batches(subject, data, params.view, size, steps, NAME):
        with torch.no_grad():
            features = _finite(backbone, images, subject)
        yield features, labels


def _steps(num_samples: int, params: Params) -> int:
    return params.epochs * (num_samples // min(params.batch_size, num_samples))


def _predict(backbone: Backbone, heads: Heads, split: Split, subject: Subject) -> np.ndarray:
    """Return class indices (num_samples, heads)."""
    return predict(lambda images: heads(_finite(backbone, images, subject)), split, subject)


def _finite(backbone: Backbone, images: Tensor, subject: Subject) -> Tensor:
    return refuse_non_finite(backbone(images), subject.info.layers[-1], subject)
