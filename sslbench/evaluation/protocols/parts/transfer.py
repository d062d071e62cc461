"""Runs a transfer protocol on a checkpoint and a data set; test opens after the choice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from sslbench import backbones
from sslbench.backbones.base import Backbone
from sslbench.backbones.model_info import ModelInfo
from sslbench.core import seeding, trajectory_file
from sslbench.data.store import Dataset, Split, split_path
from sslbench.evaluation.features.model import load_backbone
from sslbench.evaluation.protocols.base import (
    Result,
    Sealed,
    check_other,
    check_train,
    check_val,
)


@dataclass(frozen=True)
class Subject:
    """The checkpoint under test, and what a protocol needs to train it further.

    Attributes:
        checkpoint_dir: where the trained weights are.
        info: the backbone's description.
        seed: of this cell; streams of chance are drawn from it by name.
        device: such as `cpu` or `cuda:0`.
    """

    checkpoint_dir: Path
    info: ModelInfo
    seed: int
    device: str

    def epochs(self) -> list[int | None]:
        """Return the epochs whose weights were kept, from 1, and None for the end of training.

        Raises:
            UserError: pretraining was told to keep none.
        """
        return [*trajectory_file.epochs_of(self.checkpoint_dir / trajectory_file.NAME), None]

    def backbone_after(self, epoch: int | None) -> Backbone:
        """Return the backbone on the device as it was after one of `epochs`."""
        return load_backbone(self.checkpoint_dir, epoch=epoch)[0].to(self.device)

    def backbone(self, *, is_pretrained: bool) -> Backbone:
        """Return a fresh copy on the device: trained weights, or the seed's random ones."""
        if is_pretrained:
            return self.backbone_after(None)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeding.stream_seed(self.seed, "transfer/random_weights"))
            backbone = backbones.build(self.info.backbone)
        backbone.set_normalisation(self.info.mean, self.info.std)
        return backbone.to(self.device)


def run_transfer(
    protocol: ModuleType,
    checkpoint_dir: Path,
    dataset_dir: Path,
    params: Any,
    seed: int,
    device: str,
) -> Result:
    """Return the measurements of one transfer of one checkpoint to one data set.

    Args:
        protocol: a module from `protocols.load` of any kind but "probe".
        checkpoint_dir: holds model.json and backbone.safetensors.
        dataset_dir: holds dataset.json and the three splits.
        params: an instance of the protocol's Params.
        seed: of the streams that the protocol draws.
        device: such as `cpu` or `cuda:0`.

    Raises:
        UserError: a file is absent or damaged, or labels cannot be used.
    """
    subject = Subject(checkpoint_dir, load_backbone(checkpoint_dir)[1], seed, device)
    dataset = Dataset.open(dataset_dir)
    train = dataset.split("train")
    check_train(protocol, train.labels, train.targets, train.path)
    val = _open(protocol, dataset, "val", train)
    check_val(protocol, val.labels, val.path)
    sealed = Sealed(
        lambda: _open(protocol, dataset, "test", train), split_path(dataset_dir, "test")
    )
    with sealed.shut():
        choice = protocol.choose(subject, train, val, params)
    measurements = protocol.measure(choice, subject, train, val, sealed.open())
    return Result(protocol.NAME, protocol.VERSION, measurements, sealed.reads)


def _open(protocol: ModuleType, dataset: Dataset, name: str, train: Split) -> Split:
    split = dataset.split(name)
    check_other(protocol, split.labels, train.labels, split.path)
    return split
