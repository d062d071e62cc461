"""An ONNX graph: images (batch, 3, size, size), normalised -> features (batch, feature_dim)."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch

from sslbench.backbones.base import Backbone
from sslbench.backbones.model_info import ModelInfo
from sslbench.core import artifacts

SUITS = ("resnet", "vit", "alexnet", "lab_resnet")


def write(backbone: Backbone, info: ModelInfo, folder: Path) -> None:
    """Write model.onnx, whose batch may be of any size."""
    example = torch.zeros(2, 3, info.size, info.size)
    batch = {0: torch.export.Dim("batch", min=1)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            backbone, (example,), dynamo=True, dynamic_shapes=(batch,), verbose=False,
            input_names=["images"], output_names=["features"],
        )  # fmt: skip
    assert program is not None
    artifacts.write_bytes(folder / "model.onnx", program.model_proto.SerializeToString())
