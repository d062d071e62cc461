"""A residual network for torchvision's own class: its names, in one safetensors file."""

from __future__ import annotations

from pathlib import Path

from sslbench.backbones.base import Backbone
from sslbench.backbones.model_info import ModelInfo
from sslbench.backbones.resnet import DEPTHS, STEMS
from sslbench.core import artifacts

SUITS = ("resnet",)


def write(backbone: Backbone, info: ModelInfo, folder: Path) -> None:
    """Write model.safetensors and config.json, which load.py builds the network from."""
    spec = info.backbone
    block, layers = DEPTHS[str(spec["depth"])]
    kernel, stride, padding = STEMS[spec["stem"]]
    config = {
        "block": block.__name__,
        "layers": list(layers),
        "width": spec["width"],
        "stem": {"kernel": kernel, "stride": stride, "padding": padding},
        "max_pool": spec["stem"] == "imagenet",
    }
    artifacts.write_json(folder / "config.json", config)
    artifacts.write_tensors(folder / "model.safetensors", backbone.state_dict())
