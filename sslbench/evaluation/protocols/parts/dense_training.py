"""How a dense protocol trains: SGD, warm-up, drops at fractions of the steps, a rate from val."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from sslbench.core.errors import UserError
from sslbench.evaluation.protocols.base import best
from sslbench.evaluation.protocols.parts.divergence import is_finite, single_values_refused
from sslbench.evaluation.protocols.parts.row_batches import row_batches

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Training:
    """The budget and the optimiser of one training run.

    Attributes:
        steps: optimiser steps, the twin's too.
        batch_size: images per step, at most as many as there are.
        learning_rate: those that val chooses from; a single one is taken as it is.
        warmup_steps: over which the rate rises linearly to its value.
        drops: fractions of the steps after which the rate falls to a tenth.
        momentum: of SGD.
        weight_decay: of SGD, multiplied by the rate as usual.
        flip: probability of a horizontal flip.
    """

    steps: int
    batch_size: int
    learning_rate: tuple[float, ...]
    warmup_steps: int
    drops: tuple[float, ...]
    momentum: float
    weight_decay: float
    flip: float

    def __post_init__(self) -> None:
        """Refuse an empty grid or budget, and fractions outside [0, 1]."""
        if min(self.steps, self.batch_size, len(self.learning_rate)) < 1:
            raise ValueError("steps, batch_size and learning_rate need one or more")
        if min(self.learning_rate) <= 0 or min(self.weight_decay, self.warmup_steps) < 0:
            raise ValueError("rates must be positive; weight_decay, warmup_steps not negative")
        if not all(0 <= share <= 1 for share in (*self.drops, self.flip)):
            raise ValueError("drops and flip are fractions in [0, 1]")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), found {self.momentum}")

    def share(self, step: int) -> float:
        """Return the share of the learning rate at a step counted from 0."""
        warm = min(1.0, (step + 1) / (self.warmup_steps + 1))
        return float(warm * 0.1 ** sum(step >= share * self.steps for share in self.drops))


@dataclass(frozen=True)
class Trained:
    """A trained network, the rate that val chose for it, and its value there.

    Attributes:
        network: as it was when val was read; it is measured as it stands.
        learning_rate: of the grid.
        val: the metric on val; None where the grid has one rate and val was not asked.
    """

    network: nn.Module
    learning_rate: float
    val: float | None


def choose_rate(
    rates: tuple[float, ...],
    train: Callable[[float], nn.Module | None],
    score: Callable[[nn.Module], float],
    where: str,
) -> Trained:
    """Return the network of the rate that does best on val; of equals, that of the first.

    Args:
        rates: the grid.
        train: rate -> trained network, or None where the loss did not stay finite.
        score: network -> its value on val.
        where: the protocol, for the message.

    Raises:
        UserError: no rate kept the loss finite.
    """
    trained: dict[float, Trained] = {}
    for rate in rates:
        network = train(rate)
        if network is not None:
            value = score(network) if len(rates) > 1 else None
            trained[rate] = Trained(network, rate, value)
            kept = best({r: -1.0 if t.val is None else t.val for r, t in trained.items()})
            trained = {kept: trained[kept]}
    if not trained:
        mend = f"lower transfer.{where}'s learning_rate"
        raise UserError("the loss was not finite at any learning rate", where=where, mend=mend)
    return next(iter(trained.values()))


def learn(
    network: N,
    loss_of: Callable[[np.ndarray], Tensor],
    num_samples: int,
    rate: float,
    training: Training,
    order: torch.Generator,
) -> N | None:
    """Return the network after all steps, or None where its loss or its weights were not.

    Args:
        network: in training mode; parameters without gradient stay as they are.
        loss_of: numbers of images (batch,) -> the loss, with its graph.
        num_samples: images to draw from.
        rate: the learning rate.
        training: budget and optimiser.
        order: the stream that shuffles.

    Raises:
        UserError: batch norm saw a single value a channel.
    """
    optimizer = torch.optim.SGD(
        [weight for weight in network.parameters() if weight.requires_grad],
        lr=rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
    )
    batch_size = min(training.batch_size, num_samples)
    for step, rows in enumerate(row_batches(num_samples, batch_size, training.steps, order)):
        optimizer.param_groups[0]["lr"] = rate * training.share(step)
        optimizer.zero_grad()
        with single_values_refused():
            loss = loss_of(rows)
        if not torch.isfinite(loss):
            return None
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network if is_finite(network) else None
