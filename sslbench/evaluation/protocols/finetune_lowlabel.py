"""Fine-tuning with few labels: 1 % and 10 % of the train split's, beside a random twin.

Source   SimCLR, https://arxiv.org/abs/2002.05709, section 4.2 and appendix B.5: class-balanced
         shares of the labels, all weights, crops and flips alone, no weight decay. MSN,
         https://arxiv.org/abs/2204.07141, for several draws of the labels
Chosen   optimiser, learning rate and weight decay on val, per share and for the twin by itself: the
         setting with the best mean over draws
Labels   of each class the first places of `parts.label_lists`, at least one: the same images for
         every method, and 1 % is part of 10 %
Refit    none: val has more labels than the few that are allowed, so it chooses and trains nothing.
         (To choose on a whole val split is kinder than a user's life; it is the same for all.)
Differs  as `finetune` does from its source; twin: the seed's random weights, by the same rules
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from sslbench.core.feature_file import id_hashes
from sslbench.data.store import Split
from sslbench.evaluation.protocols.base import Measurement
from sslbench.evaluation.protocols.parts import finetuning
from sslbench.evaluation.protocols.parts.finetuning import (
    Setting,
    best_setting,
    predicted_labels,
    train_network,
    trained,
)
from sslbench.evaluation.protocols.parts.images import JoinedImages
from sslbench.evaluation.protocols.parts.label_lists import places
from sslbench.evaluation.protocols.parts.metrics import top1
from sslbench.evaluation.protocols.parts.transfer import Subject

NAME = "finetune_lowlabel"
VERSION = 4
KIND = "transfer"
LABELS = "one"


@dataclass(frozen=True, kw_only=True)
class Params:
    """How many labels, how often, and the training of one network.

    Attributes:
        percent: whole shares of each class's labels in train.
        draws: how many lists of each share.
        training: budget, augmentation and grid; as in protocol `finetune`.
    """

    percent: tuple[int, ...]
    draws: int
    training: finetuning.Params

    def __post_init__(self) -> None:
        """Refuse no share, shares outside 1 to 100 and no draw."""
        if not self.percent or any(not 1 <= share <= 100 for share in self.percent):
            raise ValueError(f"percent must lie in 1 to 100, found {self.percent}")
        if self.draws < 1:
            raise ValueError("draws needs one or more")


@dataclass(frozen=True)
class ShareChoice:
    """The setting that did best for one share of the labels, and its mean top1 on val.

    Attributes:
        percent: the share.
        is_pretrained: whether it is the backbone's choice or its twin's.
        setting: the point of the grid.
        val: mean over draws.
    """

    percent: int
    is_pretrained: bool
    setting: Setting
    val: float


@dataclass(frozen=True)
class LowlabelChoice:
    """The choices for every share, the backbone's first, then the twin's."""

    shares: tuple[ShareChoice, ...]
    params: Params


def choose(subject: Subject, train: Split, val: Split, params: Params) -> LowlabelChoice:
    """Return the setting with the best mean top1 on val, per share, and for the twin.

    Raises:
        UserError: for a share, the training diverged at every setting.
    """
    shares = [
        _choose_one(subject, is_pretrained, train, val, percent, params)
        for is_pretrained in (True, False)
        for percent in params.percent
    ]
    return LowlabelChoice(tuple(shares), params)


def measure(
    choice: LowlabelChoice,
    subject: Subject,
    train: Split,
    val: Split,  # noqa: ARG001  (part of the contract; trains nothing)
    test: Split,
) -> list[Measurement]:
    """Return the mean top1 over draws on test per share, of the backbone, then of its twin.

    Raises:
        UserError: a training diverged.
    """
    rows = []
    for share in choice.shares:
        copies = []
        for data in _labelled(train, share.percent, choice.params.draws):
            training = choice.params.training
            made = train_network(subject, share.is_pretrained, data, share.setting, training)
            network = trained(made, NAME)
            copies.append(predicted_labels(network, data, test, subject) == test.labels)
        rows.append(_row(share, np.stack(copies), len(data)))
    return rows


def labelled_rows(ids: np.ndarray, labels: np.ndarray, percent: int, draw: int) -> np.ndarray:
    """Return the rows, ascending, of the images whose labels are used.

    Args:
        ids: (num_samples,) uint64 of `feature_file.id_hashes`.
        labels: (num_samples,) class indices.
        percent: of each class, rounded, at least one image.
        draw: which list.
    """
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    wanted = np.maximum(1, np.rint(counts * percent / 100)).astype(np.int64)
    rows: np.ndarray = np.flatnonzero(places(ids, labels, draw) < wanted[inverse])
    return rows


def _labelled(train: Split, percent: int, draws: int) -> Iterator[JoinedImages]:
    """Yield the labelled images of each draw."""
    ids = id_hashes(train.ids)
    for draw in range(draws):
        yield JoinedImages([train], labelled_rows(ids, train.labels, percent, draw))


def _choose_one(
    subject: Subject, is_pretrained: bool, train: Split, val: Split, percent: int, params: Params
) -> ShareChoice:
    values = {}
    for setting in params.training.grid:
        found = []
        for data in _labelled(train, percent, params.draws):
            network = train_network(subject, is_pretrained, data, setting, params.training)
            if network is None:
                break
            found.append(top1(predicted_labels(network, data, val, subject), val.labels))
        else:
            values[setting] = float(np.mean(found))
    setting = best_setting(values, NAME)
    return ShareChoice(percent, is_pretrained, setting, values[setting])


def _row(share: ShareChoice, right: np.ndarray, num_labels: int) -> Measurement:
    """Return the measurement of `right` (draws, num_samples), true where a network was right."""
    draws = right.mean(axis=1).tolist()
    detail = {**share.setting.__dict__, "val": share.val, "labels": num_labels, "draws": draws}
    row = Measurement(
        metric=f"top1_{share.percent}percent", value=float(right.mean()), unit="fraction",
        n=right.shape[1], split="test", layer=None,
        role="headline" if share.is_pretrained else "twin", detail=detail,
    )  # fmt: skip
    return replace(row, per_sample=right.mean(axis=0))
