"""This backbone with torch, torchvision and safetensors alone; see model_card.md."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models import resnet

BLOCKS = {"BasicBlock": resnet.BasicBlock, "Bottleneck": resnet.Bottleneck}
HERE = Path(__file__).parent


def load(folder: Path = HERE) -> nn.Module:
    """Return the network: normalised images (n, 3, height, width) -> features (n, dim)."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    block = BLOCKS[config["block"]]
    network: nn.Module = resnet.ResNet(block, config["layers"])
    _rebuild(network, block, config)
    network.fc = nn.Identity()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    network.eval()
    return network


def features(images: np.ndarray) -> np.ndarray:
    """Return features (n, dim) of normalised float32 images (n, 3, height, width)."""
    with torch.inference_mode():
        found: np.ndarray = load()(torch.from_numpy(images)).numpy()
    return found


def _rebuild(network: Any, block: type, config: dict[str, Any]) -> None:
    """Give torchvision's network this one's width and first layer, with its own builder."""
    width, stem = config["width"], config["stem"]
    network.inplanes = width
    network.conv1 = nn.Conv2d(3, width, stem["kernel"], stem["stride"], stem["padding"], bias=False)
    network.bn1 = nn.BatchNorm2d(width)
    if not config["max_pool"]:
        network.maxpool = nn.Identity()
    for number, blocks in enumerate(config["layers"]):
        stage = network._make_layer(block, width * 2**number, blocks, stride=1 + (number > 0))
        setattr(network, f"layer{number + 1}", stage)
