"""The teacher: equal at the start, an exact moving average after, saved and never trained."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from lightly.models.modules import DINOProjectionHead
from torch import Tensor, nn

from sslbench.methods.base import Progress
from sslbench.methods.parts.teacher import Teacher, cosine_momentum, twin


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def inputs() -> Tensor:
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(1))


def move(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)


def at(step: int, total: int = 10) -> Progress:
    return Progress(step, total, 5)


def test_momentum_starts_where_told_and_rises_to_one() -> None:
    values = [cosine_momentum(0.9, at(step, 100)) for step in range(100)]
    assert values[0] == pytest.approx(0.9)
    assert values == sorted(values)
    assert values[50] == pytest.approx(0.95)
    assert values[-1] == pytest.approx(1.0, abs=1e-4)
    assert values[-1] < 1


def test_equals_the_student_and_gets_no_gradient() -> None:
    network = student()
    teacher = Teacher(network, momentum=0.9)
    assert torch.equal(teacher(inputs()), network(inputs()))
    assert not teacher(inputs().requires_grad_()).requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_update_is_the_moving_average() -> None:
    network = student()
    teacher = Teacher(network, momentum=0.9)
    old = [parameter.clone() for parameter in teacher.network.parameters()]
    move(network)
    teacher.update(at(3))
    momentum = 1 - 0.1 * (math.cos(math.pi * 0.3) + 1) / 2
    for slow, before, fast in zip(
        teacher.network.parameters(), old, network.parameters(), strict=True
    ):
        assert torch.allclose(slow, momentum * before + (1 - momentum) * fast, atol=1e-6)


def test_update_of_an_equal_teacher_changes_nothing() -> None:
    network = student()
    teacher = Teacher(network, momentum=0.9)
    before = copy.deepcopy(teacher.state_dict())
    teacher.update(at(0))
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_students_are_not_saved_with_the_teacher_nor_moved_by_it() -> None:
    network = student()
    teacher = Teacher(network, momentum=0.5)
    assert all(name.startswith("network.0.") for name in teacher.state_dict())
    move(teacher.network)
    assert not torch.equal(teacher.network[0][0].weight, network[0].weight)


def test_chained_students_are_applied_in_order() -> None:
    first, second = student(), nn.Linear(3, 2)
    teacher = Teacher(first, second, momentum=0.9)
    assert torch.equal(teacher(inputs()), second(first(inputs())))
    assert torch.equal(teacher[1](torch.ones(1, 3)), second(torch.ones(1, 3)))


def test_batch_statistics_keep_their_own_running_buffers() -> None:
    teacher = Teacher(student(), momentum=0.9)
    teacher(inputs())
    assert teacher.network[0][1].running_mean.any()
    assert teacher.network.training


def test_frozen_statistics_stay_in_eval_mode_and_average_buffers() -> None:
    network = student()
    holder = nn.ModuleList([network, Teacher(network, momentum=0.5, uses_batch_statistics=False)])
    holder.train()
    teacher = holder[1]
    assert not teacher.network.training
    assert network.training
    network(inputs())
    teacher.update(at(0))
    slow, fast = teacher.network[0][1], network[1]
    assert torch.allclose(slow.running_mean, 0.5 * fast.running_mean)
    assert slow.num_batches_tracked == fast.num_batches_tracked == 1


def test_a_head_with_weight_norm_is_copied_after_a_forward_pass() -> None:
    head = DINOProjectionHead(4, 8, 4, 6)
    expected = head(inputs())
    with pytest.raises(RuntimeError):  # the trap that `twin` is for
        copy.deepcopy(head)
    copied = twin(head)
    assert torch.equal(copied(inputs()), expected)
    move(head)
    assert torch.equal(copied(inputs()), expected)


def test_copying_a_method_keeps_teacher_and_student_together() -> None:
    network = student()
    pair = copy.deepcopy(nn.ModuleList([network, Teacher(network, momentum=0.5)]))
    assert pair[1]._students[0] is pair[0]
