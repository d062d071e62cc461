"""Fine-tuning: the backbone is unfrozen under a new linear layer, beside a random twin.

Source   Kornblith et al. 2019, https://arxiv.org/abs/1805.08974, appendix A, as used by SimCLR,
         https://arxiv.org/abs/2002.05709, appendix B.8: SGD with Nesterov momentum, cosine
         schedule without warm-up, crops and flips alone, a grid of learning rate x weight decay
         chosen on val, weight decay divided by the learning rate, batch-norm momentum
         max(1 - 10/s, 0.9) for s steps an epoch, refit on train + val, test read once
         AdamW in the same grid (docs/decisions/0021), its decay and betas as in MAE's fine-tuning,
         https://arxiv.org/abs/2111.06377, table 9; a linear warm-up, as there; batch norm without
         scale and shift before the new layer, as for linear probes there (appendix A), after
         Doersch et al. 2015, https://arxiv.org/abs/1505.05192 (docs/decisions/0022)
Chosen   optimiser, learning rate and weight decay on val (top1 after the last step; several labels:
         11-point mAP), for the twin by itself
Twin     the same spec with the seed's random weights, the same steps and the same grid (the
         source gives random weights twice the steps and a grid of their own: ours asks what the
         weights are worth at equal cost)
Several  where images have several labels, binary cross-entropy summed over classes; an unsaid label
         is left out (https://github.com/linusericsson/ssl-transfer finetune.py takes the mean over
         classes, which divides the rate by their number; measured: benchmarks/several_labels.py)
Differs  steps, batch and grid are small and stand in params.yaml; the new layer starts at zero, so
         that the first step is the same for every backbone; inputs are normalised with the
         pretraining data's mean and std; val and test images have their short side resized to the
         input size and the centre cropped (SimCLR: short side 256, centre crop of 224)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import nn

from sslbench.data.store import Split
from sslbench.evaluation.protocols.base import Measurement, Role, classified
from sslbench.evaluation.protocols.parts.finetuning import (
    Params,
    Setting,
    best_setting,
    class_scores,
    predicted_labels,
    train_network,
    trained,
)
from sslbench.evaluation.protocols.parts.images import JoinedImages
from sslbench.evaluation.protocols.parts.metrics import top1
from sslbench.evaluation.protocols.parts.several_labels import RULES, map_11point, ranked
from sslbench.evaluation.protocols.parts.transfer import Subject

NAME = "finetune"
VERSION = 4
KIND = "transfer"
LABELS = "either"


@dataclass(frozen=True)
class Chosen:
    """The setting that did best on val, and its value there (top1, or mAP)."""

    setting: Setting
    val: float


@dataclass(frozen=True)
class FinetuneChoice:
    """The choices for the pretrained backbone and for its random twin."""

    pretrained: Chosen
    twin: Chosen
    params: Params


def choose(subject: Subject, train: Split, val: Split, params: Params) -> FinetuneChoice:
    """Return the setting with the best value on val, for the backbone and for its twin.

    Raises:
        UserError: the training diverged at every setting.
    """
    return FinetuneChoice(
        _choose_one(subject, True, train, val, params),
        _choose_one(subject, False, train, val, params),
        params,
    )


def measure(
    choice: FinetuneChoice, subject: Subject, train: Split, val: Split, test: Split
) -> list[Measurement]:
    """Return top1 and mean_per_class on test of the backbone, then of its twin.

    Where images have several labels: map_11point and map_area.

    Raises:
        UserError: a refit diverged.
    """
    data = JoinedImages([train, val])
    rows = []
    for is_pretrained, chosen in ((True, choice.pretrained), (False, choice.twin)):
        refit = train_network(subject, is_pretrained, data, chosen.setting, choice.params)
        network = trained(refit, NAME)
        role: Role = "headline" if is_pretrained else "twin"
        if train.targets is None:
            predictions = predicted_labels(network, data, test, subject)
            rows += _rows(predictions, test, chosen, role)
        else:
            scores = class_scores(network, data, test, subject)
            rows += _rows_of_several(scores, test, chosen, role)
    return rows


def _rows(predictions: np.ndarray, test: Split, chosen: Chosen, role: Role) -> list[Measurement]:
    row = partial(_row, test=test, chosen=chosen, role=role)
    return classified(predictions, test.labels, row)


def _rows_of_several(
    scores: np.ndarray, test: Split, chosen: Chosen, role: Role
) -> list[Measurement]:
    row = partial(_row, test=test, chosen=chosen, role=role)
    targets, is_headline = test.column("targets"), role == "headline"
    return [ranked(metric, scores, targets, row, with_error=is_headline) for metric in RULES]


def _row(metric: str, value: float, test: Split, chosen: Chosen, role: Role) -> Measurement:
    return Measurement(
        metric=metric, value=value, unit="fraction", n=len(test), split="test", layer=None,
        role=role, detail={**chosen.setting.__dict__, "val": chosen.val},
    )  # fmt: skip


def _choose_one(
    subject: Subject, is_pretrained: bool, train: Split, val: Split, params: Params
) -> Chosen:
    data = JoinedImages([train])
    values = {}
    for setting in params.grid:
        network = train_network(subject, is_pretrained, data, setting, params)
        if network is not None:
            values[setting] = value(network, data, val, subject)
    setting = best_setting(values, NAME)
    return Chosen(setting, values[setting])


def value(network: nn.Sequential, data: JoinedImages, val: Split, subject: Subject) -> float:
    """Return what val chooses by: top1, or where images have several labels the 11-point mAP."""
    if val.targets is None:
        return top1(predicted_labels(network, data, val, subject), val.labels)
    return map_11point(class_scores(network, data, val, subject), val.targets, "val")
