"""What params.yaml says about extraction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Extract:
    """The `extract` section.

    Attributes:
        batch_size: images per forward pass.
        max_dim: a feature map is average-pooled to at most this many values.
        precision: of the forward pass; features are stored as float32 in any case.
    """

    batch_size: int
    max_dim: int
    precision: Literal["fp32", "bf16"]
