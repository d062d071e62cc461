"""Momentum contrast: no leak by batch statistics, no current key among the negatives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sslbench.core.errors import UserError
from sslbench.methods.base import Progress
from sslbench.methods.parts.device_groups import in_groups, in_shuffled_groups
from sslbench.methods.parts.momentum_contrast import ContrastParams, MomentumContrast
from tests.contract import harness

DIM = 16


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))


def contrast(*students: nn.Module, queue_size: int = 64, num_groups: int = 1) -> MomentumContrast:
    torch.manual_seed(0)
    params = ContrastParams(
        queue_size=queue_size, temperature=0.2, teacher_momentum=0.9, num_groups=num_groups
    )
    return MomentumContrast(*students, output_dim=DIM, params=params)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class GroupMean(nn.Module):
    """The worst cheat: an image's row is the mean of its group and says nothing of the image."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.mean(dim=0, keepdim=True).expand_as(inputs)


def cheated(num_groups: int) -> float:
    """Return the share of keys found by the cheat, once the queue holds other batches' keys."""
    part = contrast(GroupMean(), num_groups=num_groups)
    found = []
    for step in range(12):
        batch = images(32, seed=step)
        found.append(float(part(batch, batch, stream(step)).parts["accuracy"]))
    return sum(found[2:]) / len(found[2:])


def test_batch_statistics_give_the_keys_away_without_groups_but_few_with_them() -> None:
    assert cheated(num_groups=1) == 1.0
    assert cheated(num_groups=8) < 0.5


def test_groups_are_passed_one_by_one_and_come_back_in_order() -> None:
    seen: list[list[float]] = []

    def network(some: Tensor) -> Tensor:
        seen.append(some[:, 0].tolist())
        return 2 * some

    numbered = torch.arange(8.0)[:, None]
    assert torch.equal(in_groups(network, numbered, 4), 2 * numbered)
    assert seen == [[0, 1], [2, 3], [4, 5], [6, 7]]
    seen.clear()
    assert torch.equal(in_shuffled_groups(network, numbered, 4, stream()), 2 * numbered)
    assert sorted(image for group in seen for image in group) == list(range(8))
    assert seen != [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_keys_become_negatives_only_of_later_batches() -> None:
    part = contrast(nn.Identity(), queue_size=6)
    first, second = images(4), images(4, seed=1)
    before = part.queue.rows.clone()
    loss = float(part(first, second, stream()).loss)
    positive = (unit(first) * unit(second)).sum(dim=1, keepdim=True)
    logits = torch.cat([positive, unit(first) @ before.T], dim=1) / 0.2
    assert loss == pytest.approx(float(-logits.log_softmax(dim=1)[:, 0].mean()), abs=1e-5)
    assert torch.allclose(part.queue.rows[:4], unit(second), atol=1e-6)


def test_the_encoder_of_keys_follows_at_a_constant_pace() -> None:
    student = nn.Linear(DIM, DIM)
    part = contrast(student)
    with torch.no_grad():
        student.weight.add_(1.0)
    gap = 1.0
    for step in range(3):
        part.update(Progress(90 + step, 100, 10))
        gap *= 0.9
        behind = (student.weight - part.teacher[0].weight).detach()
        assert torch.allclose(behind, torch.full_like(behind, gap), atol=1e-5)


@pytest.mark.parametrize("key", ["queue_size", "num_groups"])
def test_nothing_is_refused(key: str) -> None:
    values = harness.SMALL["methods"]["mocov2"]["contrast"] | {key: 0}
    with pytest.raises(UserError, match=f"{key} must be at least 1"):
        harness.build_params("mocov2", contrast=values)
