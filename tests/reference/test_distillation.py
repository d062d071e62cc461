"""Distillation against its sum written out, and SimCLR v2's first loss against its own pairs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sslbench.objectives.distillation import distillation
from tests.contract import harness


def logits(seed: int, rows: int = 5, classes: int = 4) -> Tensor:
    return 3 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed)).double()


def kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    least = torch.special.entr((teacher / temperature).softmax(1)).sum(dim=1).mean()
    return distillation(student, teacher, temperature) - least


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
def test_it_is_the_sum_of_the_paper(temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    total = 0.0
    for row in range(5):
        taught, learned = (torch.exp(each[row] / temperature) for each in (teacher, student))
        for y in range(4):
            total -= float(taught[y] / taught.sum() * torch.log(learned[y] / learned.sum()))
    assert float(distillation(student, teacher, temperature)) == pytest.approx(total / 5)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
def test_its_kl_is_zero_only_where_logits_are_equal_up_to_a_constant(temperature: float) -> None:
    teacher = logits(1)
    shifted = teacher + torch.arange(5.0).double()[:, None]
    assert float(kl(shifted, teacher, temperature)) == pytest.approx(0, abs=1e-12)
    other = teacher.clone()
    other[2, 1] += 0.5
    assert float(kl(other, teacher, temperature)) > 1e-12


def test_the_temperature_divides_both_logits() -> None:
    student, teacher = logits(0), logits(1)
    assert torch.equal(
        distillation(student, teacher, 2.0), distillation(student / 2, teacher / 2, 1.0)
    )
    hot = distillation(student, teacher, 1e6)
    assert float(hot) == pytest.approx(float(torch.log(torch.tensor(4.0))), rel=1e-5)


def test_the_gradient_is_the_difference_of_probabilities() -> None:
    student, teacher = logits(0).requires_grad_(), logits(1)
    distillation(student, teacher, 2.0).backward()
    wanted = ((student / 2).softmax(1) - (teacher / 2).softmax(1)) / 2 / 5
    assert student.grad is not None
    assert torch.allclose(student.grad, wanted.detach())


def test_simclrv2_is_nt_xent_through_a_head_of_three_layers() -> None:
    method = harness.build_method("simclrv2")
    linear = [layer for layer in method.projection_head.layers if hasattr(layer, "in_features")]
    assert len(linear) == 3
    batch = harness.make_batch(method, torch.arange(harness.BATCH))
    rows = torch.nn.functional.normalize(
        method.projection_head(method.backbone(torch.cat(batch.views))), dim=1
    )
    similarity = torch.exp(rows @ rows.T / method.criterion.temperature)
    total = 0.0
    for i in range(2 * harness.BATCH):
        others = similarity[i].sum() - similarity[i, i]
        partner = (i + harness.BATCH) % (2 * harness.BATCH)
        total -= float(torch.log(similarity[i, partner] / others).detach())
    loss = method(batch, harness.Progress(0, 1, 1), "main").loss
    assert float(loss.detach()) == pytest.approx(total / (2 * harness.BATCH), rel=1e-4)


def test_fine_tuning_is_the_cross_entropy_of_the_granted_labels() -> None:
    method = harness.build_method("simclrv2_finetune").eval()
    batch = harness.make_batch(method, harness.GRANTED[:4])
    loss = method(batch, harness.Progress(0, 1, 1), "main").loss
    with torch.no_grad():
        rows = method.head(method.backbone(batch.views[0])).double().exp()
    total = 0.0
    for row, label in zip(rows, batch.labels, strict=True):
        total -= float(torch.log(row[label] / row.sum()))
    assert float(loss.detach()) == pytest.approx(total / 4, abs=1e-6)
