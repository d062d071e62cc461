"""Balanced labels: marginals, the form of the plan, equal counts, and a stable rounding."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from sslbench.methods.parts.self_labels import round_to_balance, transport_plan


def scores(rows: int, columns: int, sharpness: float = 10.0, spread: float = 1.0) -> Tensor:
    """Sharpened log probabilities that favour the first columns."""
    drawn = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)).double()
    skew = torch.linspace(2, 0, columns).double()
    return sharpness * log_softmax(spread * (drawn + skew), dim=1)


def restated_plan(log_scores: Tensor, rounds: int = 5000) -> list[list[float]]:
    """Eq. 7 and 8 of arXiv 1911.05371 with loops: alpha and beta in turn."""
    table = [[math.exp(value) for value in row] for row in log_scores.tolist()]
    count, width = len(table), len(table[0])
    beta = [1.0] * width
    alpha = [1.0] * count
    for _ in range(rounds):
        alpha = [1 / (count * sum(t * b for t, b in zip(row, beta, strict=True))) for row in table]
        columns = zip(*table, strict=True)
        beta = [1 / (width * sum(t * a for t, a in zip(c, alpha, strict=True))) for c in columns]
    return [
        [a * t * b for t, b in zip(row, beta, strict=True)]
        for a, row in zip(alpha, table, strict=True)
    ]


def test_plan_equals_its_restatement() -> None:
    log_scores = scores(12, 4, sharpness=3.0)
    found = transport_plan(log_scores, 1e-10).exp()
    expected = torch.tensor(restated_plan(log_scores), dtype=torch.float64)
    assert torch.allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("sharpness", [1.0, 10.0, 25.0])
def test_rows_and_columns_have_their_sums(sharpness: float) -> None:
    plan = transport_plan(scores(500, 20, sharpness), 1e-6).exp()
    assert torch.allclose(plan.sum(dim=1) * 500, torch.ones(500).double(), atol=1e-9)
    assert torch.allclose(plan.sum(dim=0) * 20, torch.ones(20).double(), atol=1e-3)


def test_plan_is_the_scores_times_a_row_and_a_column() -> None:
    log_scores = scores(30, 6)
    factors = transport_plan(log_scores, 1e-6) - log_scores
    crossed = factors - factors[:1] - factors[:, :1] + factors[0, 0]
    assert torch.allclose(crossed, torch.zeros_like(crossed), atol=1e-8)


def test_scores_that_underflow_do_no_harm() -> None:
    sharp = scores(200, 10, sharpness=25.0, spread=60.0)
    assert sharp.exp().eq(0).any(dim=0).all(), "float64 cannot hold these"
    plan = transport_plan(sharp, 1e-3)
    assert torch.isfinite(plan).all()
    assert torch.allclose(plan.exp().sum(dim=1) * 200, torch.ones(200).double(), atol=1e-6)


@pytest.mark.parametrize(("rows", "columns"), [(100, 4), (1003, 7), (16, 4), (5, 5), (7, 3)])
def test_counts_differ_by_at_most_one(rows: int, columns: int) -> None:
    log_plan = transport_plan(scores(rows, columns), 1e-3)
    counts = round_to_balance(log_plan).bincount(minlength=columns)
    assert counts.sum() == rows
    assert counts.max() - counts.min() <= 1


def test_without_balancing_they_differ_by_far() -> None:
    counts = scores(1003, 7).argmax(dim=1).bincount(minlength=7)
    assert counts.max() - counts.min() > 100


def test_rounding_alone_balances_a_plan_that_did_not_converge() -> None:
    counts = round_to_balance(scores(1003, 7)).bincount(minlength=7)
    assert counts.max() - counts.min() <= 1


def test_a_balanced_argmax_is_kept() -> None:
    labels = torch.arange(40) % 5
    log_plan = torch.nn.functional.one_hot(labels, 5).double() + 0.1 * scores(40, 5, 0.1)
    assert torch.equal(log_plan.argmax(dim=1), labels)
    assert torch.equal(round_to_balance(log_plan), labels)


def test_rounding_is_stable() -> None:
    """No row and cluster would both rather have one another than what they got."""
    log_plan = transport_plan(scores(60, 5), 1e-3)
    labels = round_to_balance(log_plan)
    worst = [float(log_plan[labels == k, k].min()) for k in range(5)]
    for row, own in zip(log_plan, labels.tolist(), strict=True):
        for other in range(5):
            assert not (row[other] > row[own] and float(row[other]) > worst[other])
