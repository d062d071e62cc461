"""NCE against a bank: which rows are compared, and the constant that is estimated once."""

from __future__ import annotations

import pytest
import torch

from sslbench.core import artifacts, seeding
from sslbench.methods.parts.bank_nce import BankNCE, compare, own_and_others, own_row_wins


def stream(seed: int = 0) -> torch.Generator:
    return seeding.generator(seed, "bank_nce")


def test_the_own_row_comes_first_and_never_again() -> None:
    index = torch.tensor([0, 3, 4])
    found = own_and_others(index, 5, 400, stream())
    assert torch.equal(found[:, 0], index)
    assert not (found[:, 1:] == index[:, None]).any()


def test_with_two_images_the_negative_is_the_other_one() -> None:
    found = own_and_others(torch.tensor([0, 1]), 2, 50, stream())
    assert found[0, 1:].eq(1).all()
    assert found[1, 1:].eq(0).all()


def test_the_others_are_uniform() -> None:
    found = own_and_others(torch.tensor([2]), 5, 8000, stream())[:, 1:]
    shares = torch.bincount(found.flatten(), minlength=5) / found.numel()
    assert shares.tolist() == pytest.approx([0.25, 0.25, 0.0, 0.25, 0.25], abs=0.02)


def test_compare_is_the_dot_product_with_each_row() -> None:
    projections = torch.randn(3, 4, generator=stream())
    rows = torch.randn(3, 5, 4, generator=stream(1))
    expected = torch.stack([rows[i] @ projections[i] for i in range(3)])
    assert torch.allclose(compare(projections, rows), expected, atol=1e-6)


def test_the_share_of_wins() -> None:
    assert float(own_row_wins(torch.tensor([[0.9, 0.1], [0.2, 0.3]]))) == 0.5


def test_z_is_estimated_from_the_first_batch_of_negatives_and_kept() -> None:
    criterion = BankNCE(100, temperature=0.5)
    first = torch.tensor([[0.9, 0.1, -0.2], [0.8, 0.3, 0.0]])
    criterion(first)
    expected = 100 * float((first[:, 1:] / 0.5).exp().mean())
    assert float(criterion.normaliser) == pytest.approx(expected, rel=1e-6)
    criterion(first + 0.1)
    assert float(criterion.normaliser) == pytest.approx(expected, rel=1e-6)
    criterion.forget()
    criterion(first + 0.1)
    assert float(criterion.normaliser) > 1.1 * expected


def test_z_survives_a_save(tmp_path) -> None:
    criterion, fresh = BankNCE(10, 0.5), BankNCE(10, 0.5)
    criterion(torch.tensor([[0.9, 0.1]]))
    artifacts.write_tensors(tmp_path / "nce", criterion.state_dict())
    fresh.load_state_dict(artifacts.read_tensors(tmp_path / "nce"))
    other = torch.tensor([[0.4, 0.7]])
    assert torch.equal(fresh(other), criterion(other))
    assert torch.equal(fresh.normaliser, criterion.normaliser)


def test_no_gradient_goes_through_z() -> None:
    criterion = BankNCE(10, 0.5)
    criterion(torch.tensor([[0.9, 0.1]], requires_grad=True))
    assert not criterion.normaliser.requires_grad
