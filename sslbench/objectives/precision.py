"""Losses in float32 whatever the precision of the forward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def in_float32(criterion: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Return criterion(*tensors) with float tensors in float32 and autocast off.

    Exponentials of similarities divided by a small temperature lose their digits in bfloat16;
    integer tensors (class indices) pass through unchanged.
    """
    wide = [tensor.float() if tensor.is_floating_point() else tensor for tensor in tensors]
    with torch.autocast(tensors[0].device.type, enabled=False):
        return criterion(*wide)
