"""How far apart rows lie: the figure that tells success from collapse."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


@torch.no_grad()
def unit_spread(rows: Tensor) -> Tensor:
    """Return the spread of (batch, dim) rows brought to unit length, a detached scalar.

    The mean standard deviation of a dimension times sqrt(dim): 0 collapsed, about 1 like random
    directions. Source: Chen and He 2020, https://arxiv.org/abs/2011.10566, section 4.1.
    """
    unit = functional.normalize(rows.float(), dim=1)
    return unit.std(dim=0).mean() * math.sqrt(rows.shape[1])
