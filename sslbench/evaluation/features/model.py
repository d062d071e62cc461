"""A checkpoint's backbone, and images as it expects them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sslbench import backbones
from sslbench.backbones.base import Backbone
from sslbench.backbones.model_info import ModelInfo
from sslbench.core import artifacts, trajectory_file
from sslbench.core.errors import UserError
from sslbench.views.apply import plain


def load_backbone(checkpoint_dir: Path, *, epoch: int | None = None) -> tuple[Backbone, ModelInfo]:
    """Return the backbone with its trained weights, on the CPU, and its description.

    Args:
        checkpoint_dir: holds model.json and the weights.
        epoch: an earlier one of the trajectory; None for the end of training.

    Raises:
        UserError: a file is absent or damaged, or the weights are not those of the spec.
    """
    info = ModelInfo.read(checkpoint_dir / artifacts.MODEL)
    if epoch is None:
        path = checkpoint_dir / artifacts.BACKBONE
        weights = artifacts.read_tensors(path)
    else:
        path = checkpoint_dir / trajectory_file.NAME
        weights = trajectory_file.read(path, epoch)
    _refuse_size(info, weights, checkpoint_dir / artifacts.MODEL)
    backbone = backbones.build(info.backbone)
    try:
        backbone.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        what = "the weights are not those of model.json's backbone"
        first = " ".join(str(error).split())[:200]
        mend = "run the pretrain stage again"
        raise UserError(f"{what} ({first})", where=str(path), mend=mend) from None
    return backbone, info


def _refuse_size(info: ModelInfo, weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse a network larger than its weights before it is built: a file can name any width.

    Built without memory first, which draws nothing from the generators either.
    """
    try:
        with torch.device("meta"):
            state = backbones.build(info.backbone).state_dict()
    except UserError as error:
        mend = "run the pretrain stage again"
        raise UserError(str(error), where=str(path), mend=mend) from None
    named = sum(value.numel() for value in state.values())
    if named > (there := sum(value.numel() for value in weights.values())):
        what = f"the weights are not those of model.json's backbone: {there} and not {named}"
        raise UserError(what, where=str(path), mend="run the pretrain stage again")


def to_device(images: np.ndarray, device: str) -> Tensor:
    """Return images (batch, height, width, channel) uint8 as (batch, channel, height, width)."""
    return torch.from_numpy(np.array(images)).to(device).permute(0, 3, 1, 2)


def plain_view(images: np.ndarray, info: ModelInfo, device: str) -> Tensor:
    """Return evaluation's view: images scaled to [0, 1], less the pretraining mean, over its std.

    Args:
        images: (batch, size, size, channel) uint8.
        info: whose mean and std, those of the pretraining data whatever the images are.
        device: where the view goes.
    """
    mean = torch.tensor(info.mean, device=device)
    std = torch.tensor(info.std, device=device)
    return plain(to_device(images, device), mean, std)
