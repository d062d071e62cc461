"""Numbers that are not finite: features of a diverged backbone, weights after a training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sslbench.core.errors import UserError
from sslbench.evaluation.protocols.parts.transfer import Subject


def is_finite(network: nn.Module) -> bool:
    """Return whether every weight and every running statistic of a network is finite."""
    return all(bool(torch.isfinite(value).all()) for value in network.state_dict().values())


def refuse_non_finite(features: Tensor, layer: str, subject: Subject) -> Tensor:
    """Return features as they are.

    Args:
        features: of any shape.
        layer: that gave them, for the message.
        subject: whose backbone gave them.

    Raises:
        UserError: NaN or infinity.
    """
    if not bool(torch.isfinite(features).all()):
        what = f"layer {layer!r} gives NaN or infinity"
        mend = "the pretraining diverged: lower its learning rate, or look at history.json"
        raise UserError(what, where=str(subject.checkpoint_dir), mend=mend)
    return features
