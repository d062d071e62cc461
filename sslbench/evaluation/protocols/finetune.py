"""Fine-tuning: the backbone is unfrozen under a new linear layer, beside a random twin.

Source   Kornblith et al. 2019, https://arxiv.org/abs/1805.08974, appendix A, as used by SimCLR,
         https://arxiv.org/abs/2002.05709, appendix B.8: SGD with Nesterov momentum, cosine
         schedule without warm-up, crops and flips alone, a grid of learning rate x weight decay
         chosen on val, weight decay divided by the learning rate, batch-norm momentum
         max(1 - 10/s, 0.9) for s steps an epoch, refit on train + val, test read once
Chosen   learning rate and weight decay on val (top1 after the last step), for the twin by itself
Twin     the same spec with the seed's random weights, the same steps and the same grid (the
         source gives random weights twice the steps and a grid of their own: ours asks what the
         weights are worth at equal cost)
Differs  steps, batch and grid are small and stand in params.yaml; the new layer starts at zero, so
         that the first step is the same for every backbone; inputs are normalised with the
         pretraining data's mean and std
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sslbench.core import seeding
from sslbench.data.store import Split
from sslbench.evaluation.features.model import plain_view, to_device
from sslbench.evaluation.protocols.base import Measurement, Role, best
from sslbench.evaluation.protocols.parts.metrics import mean_per_class, top1
from sslbench.evaluation.protocols.parts.row_batches import row_batches
from sslbench.evaluation.protocols.parts.transfer import Subject
from sslbench.views.apply import make_views
from sslbench.views.policy import PLAIN, Crop, View

NAME = "finetune"
VERSION = 1
KIND = "transfer"
LABELS = "one"


@dataclass(frozen=True, kw_only=True)
class Params:
    """The budget of one training run, its augmentation, and the grid that val chooses from.

    Attributes:
        steps: optimiser steps of every run, the refit and the twin's included.
        batch_size: images per step, at most as many as there are.
        learning_rate: at the first step; falls to 0 along a half cosine.
        weight_decay: shrinkage per step, whatever the learning rate (which divides it first).
        momentum: of SGD with Nesterov's correction.
        crop: random resized crop, or None.
        flip: probability of a horizontal flip.
    """

    steps: int
    batch_size: int
    learning_rate: tuple[float, ...]
    weight_decay: tuple[float, ...]
    momentum: float
    crop: Crop | None
    flip: float

    def __post_init__(self) -> None:
        """Refuse an empty grid or budget."""
        if min(self.steps, self.batch_size, len(self.learning_rate), len(self.weight_decay)) < 1:
            raise ValueError("steps, batch_size and both grids need one or more")
        if min(self.learning_rate) <= 0 or min(self.weight_decay) < 0:
            raise ValueError("learning rates must be positive and weight decays not negative")

    @property
    def view(self) -> View:
        """What a training image becomes."""
        return replace(PLAIN, crop=self.crop, flip=self.flip)


@dataclass(frozen=True)
class Setting:
    """One point of the grid."""

    learning_rate: float
    weight_decay: float


@dataclass(frozen=True)
class Chosen:
    """The setting that did best on val, and its top1 there."""

    setting: Setting
    val: float


@dataclass(frozen=True)
class FinetuneChoice:
    """The choices for the pretrained backbone and for its random twin."""

    pretrained: Chosen
    twin: Chosen
    params: Params


class _Images:
    """Splits joined end to end, with labels as indices of the train split's classes."""

    def __init__(self, splits: list[Split]) -> None:
        self.classes = np.unique(splits[0].labels)
        self.labels = np.searchsorted(self.classes, np.concatenate([s.labels for s in splits]))
        self._splits = splits
        self._starts = np.cumsum([0, *(len(split) for split in splits)])

    def __len__(self) -> int:
        return len(self.labels)

    def decode(self, rows: np.ndarray, size: int) -> np.ndarray:
        """Return images (len(rows), size, size, channel) uint8."""
        out = np.empty((len(rows), size, size, 3), np.uint8)
        for split, start in zip(self._splits, self._starts, strict=False):
            inside = (rows >= start) & (rows < start + len(split))
            if inside.any():
                out[inside] = split.decode(rows[inside] - start, size)
        return out


def choose(subject: Subject, train: Split, val: Split, params: Params) -> FinetuneChoice:
    """Return the setting with the best top1 on val, for the backbone and for its twin."""
    return FinetuneChoice(
        _choose_one(subject, True, train, val, params),
        _choose_one(subject, False, train, val, params),
        params,
    )


def measure(
    choice: FinetuneChoice, subject: Subject, train: Split, val: Split, test: Split
) -> list[Measurement]:
    """Return top1 and mean_per_class on test of the backbone, then of its twin."""
    data = _Images([train, val])
    rows = []
    for is_pretrained, chosen in ((True, choice.pretrained), (False, choice.twin)):
        network = _train(subject, is_pretrained, data, chosen.setting, choice.params)
        predictions = data.classes[_predict(network, test, subject)]
        rows += _rows(predictions, test, chosen, "headline" if is_pretrained else "twin")
    return rows


def _rows(predictions: np.ndarray, test: Split, chosen: Chosen, role: Role) -> list[Measurement]:
    detail = {**chosen.setting.__dict__, "val": chosen.val}
    values = {
        "top1": top1(predictions, test.labels),
        "mean_per_class": mean_per_class(predictions, test.labels),
    }
    return [
        Measurement(
            metric=metric, value=value, unit="fraction", n=len(test), split="test",
            layer=None, role=role, detail=detail,
        )
        for metric, value in values.items()
    ]  # fmt: skip


def _choose_one(
    subject: Subject, is_pretrained: bool, train: Split, val: Split, params: Params
) -> Chosen:
    data = _Images([train])
    values = {}
    for pair in product(params.learning_rate, params.weight_decay):
        setting = Setting(*pair)
        network = _train(subject, is_pretrained, data, setting, params)
        predictions = data.classes[_predict(network, val, subject)]
        values[setting] = top1(predictions, val.labels)
    chosen = best(values)
    return Chosen(chosen, values[chosen])


def _train(
    subject: Subject, is_pretrained: bool, data: _Images, setting: Setting, params: Params
) -> nn.Sequential:
    """Return the network after all steps; the same seed gives every setting the same batches."""
    network = _network(subject, is_pretrained, len(data.classes))
    batch_size = min(params.batch_size, len(data))
    _set_batch_norm(network, steps_per_epoch=len(data) // batch_size)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=setting.learning_rate,
        momentum=params.momentum,
        nesterov=params.momentum > 0,
        weight_decay=setting.weight_decay / setting.learning_rate,
    )
    batches = _batches(subject, data, params, batch_size)
    for step, (images, labels) in enumerate(batches):
        cosine = 0.5 * (1 + math.cos(math.pi * step / params.steps))
        optimizer.param_groups[0]["lr"] = setting.learning_rate * cosine
        optimizer.zero_grad()
        functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network


def _network(subject: Subject, is_pretrained: bool, num_classes: int) -> nn.Sequential:
    backbone = subject.backbone(is_pretrained=is_pretrained)
    head = nn.Linear(backbone.feature_dim, num_classes, device=subject.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(backbone, head).train()


def _set_batch_norm(network: nn.Module, steps_per_epoch: int) -> None:
    """Set the share of a new batch in the running statistics (one less the source's momentum)."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = min(10 / max(1, steps_per_epoch), 0.1)


def _batches(
    subject: Subject, data: _Images, params: Params, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield augmented images (batch, channel, size, size) and class indices (batch,)."""
    info, device = subject.info, subject.device
    order = seeding.generator(subject.seed, "finetune/order")
    chance = seeding.generator(subject.seed, "finetune/views", device)
    mean, std = torch.tensor(info.mean, device=device), torch.tensor(info.std, device=device)
    for rows in row_batches(len(data), batch_size, params.steps, order):
        images = to_device(data.decode(rows, info.size), device)
        (view,) = make_views((params.view,), images, info.size, mean, std, chance)
        yield view, torch.from_numpy(data.labels[rows]).to(device)


@torch.no_grad()
def _predict(network: nn.Sequential, split: Split, subject: Subject) -> np.ndarray:
    """Return class indices (num_samples,) of a split's plain views."""
    network.eval()
    found = []
    for rows in np.array_split(np.arange(len(split)), math.ceil(len(split) / 256)):
        images = plain_view(split.decode(rows, subject.info.size), subject.info, subject.device)
        found.append(network(images).argmax(dim=1).cpu().numpy())
    return np.concatenate(found)
