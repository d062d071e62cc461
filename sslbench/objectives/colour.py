"""Cross entropy of predicted colours, rare colours weighing more."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def rebalancing_weights(prior: Tensor, uniform_share: float) -> Tensor:
    """Return w proportional to 1 / ((1 - share) prior + share uniform), with E_prior[w] = 1.

    Source: Zhang et al. 2016, https://arxiv.org/abs/1603.08511, eq. 4; as in the authors' code the
    uniform distribution is that over bins in use. A bin never used gets the largest weight.

    Args:
        prior: (num_bins,) share of each bin, sums to one.
        uniform_share: in (0, 1].
    """
    uniform = 1.0 / (prior > 0).sum()
    weights = 1.0 / ((1 - uniform_share) * prior + uniform_share * uniform)
    return weights / (prior * weights).sum()


def weighted_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return -sum_q Z log p_q of each row times its weight, averaged over rows of positive weight.

    Source: the same paper, eq. 2; rows of grey images have weight 0 and are not counted, as in the
    authors' code. With all weights 1, uniform logits score log num_bins.

    Args:
        logits: (rows, num_bins).
        targets: (rows, num_bins), each row a distribution Z.
        weights: (rows,), not negative.
    """
    entropies = -(targets * functional.log_softmax(logits, dim=1)).sum(dim=1)
    return (weights * entropies).sum() / torch.count_nonzero(weights).clamp_min(1)
