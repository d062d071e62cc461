"""The checkpoint as sslbench itself keeps it: for every family, loaded by sslbench."""

from __future__ import annotations

from pathlib import Path

from sslbench.backbones.base import Backbone
from sslbench.backbones.model_info import ModelInfo
from sslbench.core import artifacts

SUITS = ("resnet", "vit", "alexnet", "lab_resnet")


def write(backbone: Backbone, info: ModelInfo, folder: Path) -> None:
    """Write backbone.safetensors and model.json."""
    artifacts.write_tensors(folder / artifacts.BACKBONE, backbone.state_dict())
    info.write(folder / artifacts.MODEL)
