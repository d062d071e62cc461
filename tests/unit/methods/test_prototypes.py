"""Prototypes are unit, without bias, and stand still while frozen."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from sslbench.methods.base import Progress
from sslbench.methods.parts.prototypes import Prototypes


def test_prototypes_are_unit_from_the_start_and_after_normalising() -> None:
    prototypes = Prototypes(7, 5)
    assert torch.allclose(prototypes.weight.norm(dim=1), torch.ones(7))
    with torch.no_grad():
        prototypes.weight.mul_(3)
    prototypes.normalise()
    assert torch.allclose(prototypes.weight.norm(dim=1), torch.ones(7))
    assert [name for name, _ in prototypes.named_parameters()] == ["weight"]


def test_cosines_are_cosines_and_in_float32_under_autocast() -> None:
    prototypes, rows = Prototypes(7, 5), normalize(torch.randn(3, 5), dim=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = prototypes(rows)
    assert found.dtype == torch.float32
    expected = torch.cosine_similarity(rows[:, None], prototypes.weight[None], dim=2)
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("step", "frozen"), [(0, True), (9, True), (10, False), (99, False)])
def test_the_gradient_is_dropped_in_frozen_epochs_only(step: int, frozen: bool) -> None:
    prototypes = Prototypes(7, 5, frozen_epochs=2)
    prototypes(torch.ones(3, 5)).sum().backward()
    prototypes.freeze(Progress(step, 100, 5))
    assert (prototypes.weight.grad is None) == frozen
