"""The kNN probe after every kept epoch of pretraining, and what choosing among epochs does.

Source   kNN as in `knn`: Wu et al. 2018, https://arxiv.org/abs/1805.01978, section 3.4. Published
         tables often hold the best epoch on the test set: lightly's ImageNet benchmark
         (https://github.com/lightly-ai/lightly, knn_eval.py, linear_eval.py) prints the largest
         validation value of a run; solo-learn's CIFAR tables come from probes beside training
Chosen   k, temperature and layer of each epoch on val, as in `knn`; the epoch for
         top1_best_val_epoch on val, of equals the latest
Headline top1 is that of the last epoch, `knn`'s own number where `extract.precision` is fp32.
         top1_best_val_epoch is honest too: early stopping on val. top1_best_test_epoch is not: the
         epoch is chosen on test. It ranks nobody and is there to show what such a choice is worth
Epochs   the trajectory, which `pretrain.keep_every_epochs` asks for, and the end of training; a
         method that does not train has its weights alone, and three equal values
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from sslbench.core.feature_file import Features
from sslbench.data.store import Split
from sslbench.evaluation.features.extract import pool_layer
from sslbench.evaluation.protocols.base import (
    Choice,
    LayerChoice,
    Measurement,
    Role,
    layer_row,
)
from sslbench.evaluation.protocols.parts import neighbours
from sslbench.evaluation.protocols.parts.frozen import features_of
from sslbench.evaluation.protocols.parts.neighbours import choose_layer, voted
from sslbench.evaluation.protocols.parts.transfer import Subject

NAME = "knn_by_epoch"
VERSION = 1
KIND = "transfer"
LABELS = "one"


@dataclass(frozen=True, kw_only=True)
class Params:
    """The features, and the grid that val chooses from.

    Attributes:
        max_dim: a feature map is average-pooled to at most this many values.
        batch_size: images per forward pass.
        knn: as in protocol `knn`.
    """

    max_dim: int
    batch_size: int
    knn: neighbours.Params

    def __post_init__(self) -> None:
        """Refuse sizes below one."""
        if min(self.max_dim, self.batch_size) < 1:
            raise ValueError("max_dim and batch_size need one or more")


@dataclass(frozen=True)
class EpochChoice:
    """What val chose for each epoch, from the first to the end of training (None)."""

    epochs: Mapping[int | None, LayerChoice]
    params: Params

    @property
    def best_on_val(self) -> int | None:
        """The epoch that did best on val; of equals, the latest."""
        return max(reversed(list(self.epochs)), key=lambda epoch: self.epochs[epoch].val)


def choose(subject: Subject, train: Split, val: Split, params: Params) -> EpochChoice:
    """Return each epoch's layer, k and temperature with the best top1 on val."""

    def chosen(epoch: int | None) -> LayerChoice:
        seen = _features(subject, epoch, train, params)
        held_out = _features(subject, epoch, val, params)
        layers = (choose_layer(layer, seen, held_out, params.knn) for layer in seen.layers)
        return Choice(tuple(layers)).headline

    return EpochChoice({epoch: chosen(epoch) for epoch in subject.epochs()}, params)


def measure(
    choice: EpochChoice,
    subject: Subject,
    train: Split,
    val: Split,  # noqa: ARG001  (part of the contract)
    test: Split,
) -> list[Measurement]:
    """Return top1 on test at the end, at val's best epoch and at test's, then at each epoch."""
    right: dict[int | None, np.ndarray] = {}
    for epoch, chosen in choice.epochs.items():
        bank, queries = (
            _features(subject, epoch, split, choice.params, chosen.layer) for split in (train, test)
        )
        right[epoch] = voted(chosen, bank, queries) == test.labels

    def row(metric: str, epoch: int | None, role: Role) -> Measurement:
        value, chosen = float(right[epoch].mean()), choice.epochs[epoch]
        return layer_row(metric, value, chosen, role, len(test), {"epoch": epoch})

    best_on_test = max(reversed(list(right)), key=lambda epoch: float(right[epoch].mean()))
    return [
        replace(row("top1", None, "headline"), per_sample=right[None]),
        row("top1_best_val_epoch", choice.best_on_val, "headline"),
        replace(row("top1_best_test_epoch", best_on_test, "headline"), better="neither"),
        *(row("top1", epoch, "epoch") for epoch in right),
    ]


def _features(
    subject: Subject, epoch: int | None, split: Split, params: Params, layer: str | None = None
) -> Features:
    """Return the pooled features of a split after an epoch: of one layer, or of all."""

    def pooled(maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        wanted = maps if layer is None else {layer: maps[layer]}
        return {name: pool_layer(values, params.max_dim) for name, values in wanted.items()}

    backbone = subject.backbone_after(epoch)
    return features_of(backbone, split, subject, params.batch_size, pooled)
