"""Is training alive? Non-finite losses stop it; collapse is measured and said aloud."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.core.errors import UserError
from sslbench.objectives.spread import unit_spread

# Alarm thresholds; no result depends on them. 1 is a spread like that of random directions.
MIN_FEATURE_STD = 0.05
MIN_EFFECTIVE_RANK = 1.5


def refuse_non_finite(losses: Tensor, first_step: int, method: str) -> None:
    """Raise if any loss of an epoch is NaN or infinite.

    Args:
        losses: (steps,) of one epoch.
        first_step: the epoch's first step.
        method: its name, for the message.

    Raises:
        UserError: names the step and what to change.
    """
    bad = (~torch.isfinite(losses)).nonzero()
    if len(bad):
        step = first_step + int(bad[0])
        raise UserError(
            f"the loss became {losses[bad[0]].item()} at step {step}",
            where=f"pretrain {method}",
            mend=f"lower recipes.{method}.optimizer.learning_rate or set a gradient_clip",
        )


def effective_rank(features: Tensor) -> float:
    """Return exp of the entropy of the normalised singular values of (batch, dim) features.

    Roy and Vetterli 2007; RankMe (Garrido et al. 2023, https://arxiv.org/abs/2210.02885, eq. 1).
    """
    singular = torch.linalg.svdvals(features.double())
    share = singular / singular.sum().clamp_min(1e-12) + 1e-12
    return float(torch.exp(-(share * share.log()).sum()))


def measure(features: Tensor) -> dict[str, float]:
    """Return the health figures of (batch, dim) features of un-augmented images."""
    return {
        "feature_std": float(unit_spread(features)),
        "effective_rank": effective_rank(features.float()),
    }


def collapse_warning(health: dict[str, float], method: str, epoch: int) -> str | None:
    """Return a sentence if the features look collapsed, else None."""
    spread, rank = health["feature_std"], health["effective_rank"]
    if spread >= MIN_FEATURE_STD and rank >= MIN_EFFECTIVE_RANK:
        return None
    return (
        f"pretrain {method}: features look collapsed after epoch {epoch} (std {spread:.3f}, "
        f"effective rank {rank:.1f}); see the health curves before trusting its numbers"
    )
