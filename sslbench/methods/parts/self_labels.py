"""Balanced labels: Sinkhorn over all samples in logarithms, then rounding to equal counts."""

from __future__ import annotations

import torch
from torch import Tensor

# Bounds Sinkhorn where it converges slowly; the rounding balances the labels in any case.
MAX_ITERATIONS = 1000
# The error is read once in a while: reading waits for the device.
CHECK_EVERY = 10


@torch.no_grad()
def transport_plan(log_scores: Tensor, tolerance: float) -> Tensor:
    """Return log Q, Q = diag(u) exp(log_scores) diag(v) with rows 1/N and columns 1/K in sum.

    Rows sum up exactly, columns nearly. Between two looks at the error the iteration runs on a
    kernel whose sums are almost right already, so products of matrices do for logarithms and
    nothing overflows, however sharp the scores (Schmitzer 2019, https://arxiv.org/abs/1610.06519).

    Args:
        log_scores: (N, K) of N samples and K clusters.
        tolerance: stop when a round changes all rows' factors by less than this share, summed.
    """
    log_plan = _balance_once(log_scores.double())
    for _ in range(MAX_ITERATIONS // CHECK_EVERY):
        log_plan, error = _balance(log_plan)
        if error < tolerance:
            break
    return log_plan


def _balance_once(log_scores: Tensor) -> Tensor:
    """Return scores with rows, then columns, then rows brought to their sums, in logarithms."""
    num_rows, num_columns = log_scores.shape
    shares = {1: torch.tensor(num_rows).log(), 0: torch.tensor(num_columns).log()}
    for dim in (1, 0, 1):
        log_scores = log_scores - log_scores.logsumexp(dim=dim, keepdim=True)
        log_scores = log_scores - shares[dim].to(log_scores)
    return log_scores


def _balance(log_plan: Tensor) -> tuple[Tensor, float]:
    """Return the plan after some rounds, and the last round's summed relative change of rows."""
    num_rows, num_columns = log_plan.shape
    plan = log_plan.exp()
    rows, columns = log_plan.new_ones(num_rows), log_plan.new_ones(num_columns)
    before = rows
    for _ in range(CHECK_EVERY):
        before = rows
        columns = 1 / (num_columns * (plan.T @ rows))
        rows = 1 / (num_rows * (plan @ columns))
    error = float((before / rows - 1).abs().sum())
    return log_plan + rows.log()[:, None] + columns.log(), error


@torch.no_grad()
def round_to_balance(log_plan: Tensor) -> Tensor:
    """Return a cluster for each row (N,), with cluster sizes that differ by at most one.

    Each row asks for its best cluster; a full cluster keeps the rows that weigh most and refuses
    the others, which ask for their next best (Gale and Shapley 1962).

    Args:
        log_plan: (N, K) weight of each row in each cluster, finite.
    """
    room = _room(log_plan)
    open_to = log_plan.clone()
    while True:
        weight, wanted = open_to.max(dim=1)
        refused = (_rank_within(wanted, weight) >= room[wanted]).nonzero().flatten()
        if not len(refused):
            return wanted
        open_to[refused, wanted[refused]] = -torch.inf


def _room(log_plan: Tensor) -> Tensor:
    """Return the sizes (K,) of the clusters: N / K, rounded up for those most asked for."""
    num_rows, num_columns = log_plan.shape
    asked = log_plan.argmax(dim=1).bincount(minlength=num_columns)
    room = torch.full_like(asked, num_rows // num_columns)
    room[asked.argsort(descending=True, stable=True)[: num_rows % num_columns]] += 1
    return room


def _rank_within(groups: Tensor, weight: Tensor) -> Tensor:
    """Return each row's rank (rows,) by falling weight among the rows of its group, from 0."""
    order = weight.argsort(descending=True, stable=True)
    order = order[groups[order].argsort(stable=True)]
    ordered = groups[order]
    places = torch.arange(len(groups), device=groups.device)
    starts = torch.searchsorted(ordered, ordered)
    return torch.empty_like(places).scatter_(0, order, places - starts)
