"""What a training or a backbone cannot go on with: numbers that are not finite, single values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def single_values_refused() -> Iterator[None]:
    """Say in one line that batch norm has a single value a channel to take a deviation of.

    Raises:
        UserError: in place of torch's ValueError.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        what = "batch norm meets a single value a channel, which has no deviation"
        mend = "take two images or more a step (batch_size, images of train), or larger images"
        raise UserError(what, where="a training step", mend=mend) from None
