"""Runs a probe protocol on a folder of features; the test file is opened after the choice, once.

This module and every probe import numpy and nothing heavier, so that a probe cell starts fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from sslbench.core.feature_file import Features, features_path, read_features
from sslbench.evaluation.protocols.base import (
    Result,
    Sealed,
    check_other,
    check_train,
    check_val,
)


def run_probe(
    protocol: ModuleType, features_dir: Path, layers: Sequence[str], params: Any
) -> Result:
    """Return the measurements of one probe on one folder of features.

    Args:
        protocol: a module from `protocols.load` with KIND "probe".
        features_dir: holds train, val and test `.safetensors`.
        layers: layer names from input to output, as in model.json.
        params: an instance of the protocol's Params.

    Raises:
        UserError: a file is absent or damaged, a layer is missing, or labels cannot be used.
    """
    train = read_features(features_dir, "train", layers)
    check_train(protocol, train.labels, train.targets, features_path(features_dir, "train"))
    val = _read_other(protocol, features_dir, "val", layers, train)
    check_val(protocol, val.labels, features_path(features_dir, "val"))
    sealed = Sealed(
        lambda: _read_other(protocol, features_dir, "test", layers, train),
        features_path(features_dir, "test"),
    )
    with sealed.shut():
        choice = protocol.choose(train, val, params)
    measurements = protocol.measure(choice, train, val, sealed.open())
    return Result(protocol.NAME, protocol.VERSION, measurements, sealed.reads)


def _read_other(
    protocol: ModuleType, features_dir: Path, split: str, layers: Sequence[str], train: Features
) -> Features:
    features = read_features(features_dir, split, layers)
    check_other(protocol, features.labels, train.labels, features_path(features_dir, split))
    return features
