"""A folder for `timm.create_model("local-dir:FOLDER", pretrained=True)`, laid out as on a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sslbench.backbones import vit
from sslbench.backbones.base import Backbone
from sslbench.backbones.model_info import ModelInfo
from sslbench.core import artifacts
from sslbench.core.errors import UserError

SUITS = ("vit", "resnet")
_ENTRY = {"tiny": "resnet18", "18": "resnet18", "34": "resnet34", "50": "resnet50"}
_LAYERS = {"tiny": [1, 1, 1, 1]}  # where they are not those of the entry
_WIDTH = 64  # timm's first stage


def write(backbone: Backbone, info: ModelInfo, folder: Path) -> None:
    """Write model.safetensors and config.json.

    Raises:
        UserError: a residual network that timm's class cannot be: another stem or width.
    """
    entry, arguments = _entry(info)
    config = {
        "architecture": entry,
        "num_classes": 0,
        "num_features": info.feature_dim,
        "global_pool": "token" if entry.startswith("vit") else "avg",
        "model_args": arguments,
        "pretrained_cfg": {
            "input_size": [3, info.size, info.size],
            "fixed_input_size": entry.startswith("vit"),
            "mean": list(info.mean),
            "std": list(info.std),
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "num_classes": 0,
        },
    }
    artifacts.write_json(folder / "config.json", config)
    weights = {name.removeprefix("vit."): value for name, value in backbone.state_dict().items()}
    artifacts.write_tensors(folder / "model.safetensors", weights, {"format": "pt"})


def _entry(info: ModelInfo) -> tuple[str, dict[str, Any]]:
    """Return timm's entry point and the arguments that make it this network."""
    spec = info.backbone
    if spec["family"] == "vit":
        dim, depth, heads = vit.SIZES[spec["size"]]
        arguments = {
            "img_size": info.size, "patch_size": spec["patch_size"], "embed_dim": dim,
            "depth": depth, "num_heads": heads, "class_token": True, "global_pool": "token",
            "dynamic_img_size": True,
        }  # fmt: skip
        return "vit_tiny_patch16_224", arguments
    if spec["stem"] != "imagenet" or spec["width"] != _WIDTH:
        what = f"timm has no ResNet with stem {spec['stem']!r} and width {spec['width']}"
        mend = "export it as torchvision, onnx or safetensors"
        raise UserError(what, mend=mend)
    name = str(spec["depth"])
    return _ENTRY[name], {"layers": _LAYERS[name]} if name in _LAYERS else {}
