"""The index bank: unit rows, addressed by image, kept through a save."""

from __future__ import annotations

import pytest
import torch

from sslbench.core import artifacts
from sslbench.methods.parts.memory import IndexBank


def rows(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))


def test_write_changes_only_its_rows_and_makes_them_unit() -> None:
    bank = IndexBank(6, 3)
    bank.fill(rows(6))
    before = bank.rows.clone()
    index = torch.tensor([4, 1])
    bank.write(index, 10 * rows(2, seed=1))
    assert torch.allclose(bank.read(index), torch.nn.functional.normalize(rows(2, seed=1)))
    assert torch.equal(bank.rows[[0, 2, 3, 5]], before[[0, 2, 3, 5]])
    assert torch.allclose(bank.rows.norm(dim=1), torch.ones(6))


def test_momentum_mixes_the_old_row() -> None:
    bank = IndexBank(2, 2, momentum=0.75)
    bank.fill(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    bank.write(torch.tensor([1]), torch.tensor([[0.0, 1.0]]))
    assert torch.allclose(bank.rows[1], torch.tensor([0.75, 0.25]) / (0.75**2 + 0.25**2) ** 0.5)


def test_rows_survive_a_save(tmp_path) -> None:
    bank, fresh = IndexBank(4, 3), IndexBank(4, 3)
    bank.fill(rows(4))
    artifacts.write_tensors(tmp_path / "bank", bank.state_dict())
    fresh.load_state_dict(artifacts.read_tensors(tmp_path / "bank"))
    assert torch.equal(fresh.rows, bank.rows)


def test_order_of_images_only_permutes_the_bank() -> None:
    bank, other = IndexBank(5, 3), IndexBank(5, 3)
    order = torch.tensor([3, 0, 4, 1, 2])
    bank.write(torch.arange(5), rows(5))
    other.write(order, rows(5)[order])
    assert torch.equal(bank.rows, other.rows)


def test_no_gradient_enters_the_bank() -> None:
    bank = IndexBank(2, 3)
    bank.write(torch.tensor([0]), rows(1).requires_grad_())
    assert not bank.rows.requires_grad


def test_half_precision_rows_are_stored_in_float32() -> None:
    bank = IndexBank(2, 3)
    bank.write(torch.tensor([0]), rows(1).bfloat16())
    assert bank.rows.dtype == torch.float32
    assert float(bank.rows[0].norm()) == pytest.approx(1.0, abs=1e-6)
