"""NPID and PIRL: NCE against its formulas, what writes the bank, and what is shuffled."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sslbench.core import seeding
from sslbench.methods.base import Method, Progress, ViewBatch
from sslbench.methods.parts.bank_nce import nce_loss, own_and_others
from sslbench.methods.pirl import shuffled
from sslbench.views.tiles import cut
from tests.contract import harness
from tests.reference.test_objectives import DIM, draw

NUM_SAMPLES = 16
INDEX = torch.tensor([9, 2, 14])


def restated_nce(cosines: Tensor, temperature: float, z: float, num_samples: int) -> float:
    """Eq. 4 to 7 of arXiv 1805.01978 in float64, a probability at a time; own row first."""
    total, noise = 0.0, (cosines.shape[1] - 1) / num_samples
    for row in cosines.double().tolist():
        for column, cosine in enumerate(row):
            probability = math.exp(cosine / temperature) / z
            posterior = probability / (probability + noise)
            total -= math.log(posterior if column == 0 else 1 - posterior)
    return total / len(cosines)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_nce_equals_its_restatement(temperature: float) -> None:
    cosines, z = draw(6, 1 + DIM).tanh(), 30.0
    loss = nce_loss(cosines / temperature, torch.tensor(z), 20)
    assert float(loss) == pytest.approx(restated_nce(cosines, temperature, z, 20), rel=1e-5)


@pytest.mark.parametrize("num_negatives", [1, 4096])
def test_nce_of_uniform_probabilities(num_negatives: int) -> None:
    num_samples = 5000
    logits = torch.zeros(2, 1 + num_negatives)  # exp(0) / N = 1 / N
    loss = nce_loss(logits, torch.tensor(float(num_samples)), num_samples)
    k = num_negatives
    assert float(loss) == pytest.approx(math.log(1 + k) + k * math.log((1 + k) / k), rel=1e-4)


def test_nce_stays_finite_where_exponentials_would_not() -> None:
    logits = torch.tensor([[-500.0, 500.0]], requires_grad=True)
    loss = nce_loss(logits, torch.tensor(1.0), 10)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def started(name: str, **changes: float) -> Method:
    method = harness.build_method(name, **changes)
    harness.start_epoch(method, Progress(0, 10, harness.STEPS_PER_EPOCH))
    return method


def step(method: Method, batch: ViewBatch) -> float:
    return float(method(batch, Progress(0, 10, harness.STEPS_PER_EPOCH), "main").loss.detach())


def batch_of(method: Method, seed: int = 0) -> ViewBatch:
    return harness.make_batch(method, INDEX, seed)


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def restated_terms(method: Method, rows: Tensor, projections: list[Tensor]) -> list[float]:
    """NCE of each branch, the negatives drawn again from the same stream, with loops."""
    again = harness.make_batch(method, INDEX).generator
    candidates = own_and_others(INDEX, NUM_SAMPLES, method.num_negatives, again)
    cosines = [
        torch.stack([rows[candidates[i]] @ each[i] for i in range(len(INDEX))])
        for each in projections
    ]
    temperature = method.criterion.temperature
    z = NUM_SAMPLES * float((cosines[0][:, 1:].double() / temperature).exp().mean())
    return [restated_nce(each, temperature, z, NUM_SAMPLES) for each in cosines]


def test_npid_equals_its_restatement_and_writes_half_of_each_row() -> None:
    method = started("npid")
    before, batch = method.bank.rows.clone(), batch_of(method)
    projections = unit(method.projection_head(method.backbone(batch.views[0]))).detach()
    (expected,) = restated_terms(method, before, [projections])
    assert step(method, batch) == pytest.approx(expected, rel=1e-4)
    wanted = before.clone()
    wanted[INDEX] = unit(0.5 * before[INDEX] + 0.5 * projections)
    assert torch.allclose(method.bank.rows, wanted, atol=1e-6)


def test_npid_estimates_z_in_the_first_two_epochs_only() -> None:
    method = started("npid")
    for epoch, known in ((0, False), (1, False), (2, True), (3, True)):
        method.criterion.normaliser.fill_(7.0)
        harness.start_epoch(method, Progress(2 * epoch, 100, 2))
        assert bool(method.criterion.normaliser > 0) is known


def test_npid_keeps_its_bank_from_one_epoch_to_the_next() -> None:
    method = started("npid")
    before = method.bank.rows.clone()
    harness.start_epoch(method, Progress(2, 100, 2))
    assert torch.equal(method.bank.rows, before)


def test_pirl_is_the_weighted_sum_of_its_terms_restated() -> None:
    method = started("pirl", tile_weight=0.3)
    rows, batch = method.bank.rows.clone(), batch_of(method)
    again = harness.make_batch(method, INDEX).generator
    own_and_others(INDEX, NUM_SAMPLES, method.num_negatives, again)  # drawn before the tiles
    tiles = shuffled(cut(batch.views[1], method.tiles, again), again)
    features = [method.backbone(tiles.flatten(0, 1)).unflatten(0, tiles.shape[:2])][0]
    puzzle = torch.cat([method.tile_head(features[:, place]) for place in range(9)], dim=1)
    projections = unit(method.projection_head(method.backbone(batch.views[0]))).detach()
    from_tiles = unit(method.puzzle_head(puzzle)).detach()
    image_term, tile_term = restated_terms(method, rows, [projections, from_tiles])
    expected = 0.3 * tile_term + 0.7 * image_term
    assert step(method, batch) == pytest.approx(expected, rel=1e-4)
    wanted = unit(0.5 * rows[INDEX] + 0.5 * projections)  # images write the bank, tiles do not
    assert torch.allclose(method.bank.rows[INDEX], wanted, atol=1e-6)


def test_pirl_without_the_tiles_term_is_npid_bit_for_bit() -> None:
    pirl, npid = started("pirl", tile_weight=0.0), started("npid")
    shared = {name: pirl.state_dict()[name] for name in npid.state_dict()}
    npid.load_state_dict(shared)
    batch = batch_of(pirl)
    alone = ViewBatch(batch.views[:1], INDEX, harness.make_batch(pirl, INDEX).generator)
    assert step(npid, alone) == step(pirl, batch)
    assert torch.equal(npid.bank.rows, pirl.bank.rows)


def orders(batch: int, generator: torch.Generator) -> Tensor:
    """Which tile each place shows."""
    return shuffled(torch.arange(9).expand(batch, 9), generator)


def test_pirl_shuffles_every_image_anew_at_every_call() -> None:
    stream = seeding.generator(0, "orders")
    first, second = orders(400, stream), orders(400, stream)
    assert torch.equal(first.sort(dim=1).values, torch.arange(9).expand(400, 9))
    assert len({tuple(row) for row in torch.cat([first, second]).tolist()}) > 790
    shares = torch.nn.functional.one_hot(orders(4000, stream), 9).float().mean(dim=0)
    assert torch.allclose(shares, torch.full((9, 9), 1 / 9), atol=0.03)


def test_pirl_moves_whole_tiles() -> None:
    tiles = draw(5, 9, 3, 2, 2)
    made = shuffled(tiles, seeding.generator(0, "orders"))
    order = orders(5, seeding.generator(0, "orders"))
    for image in range(5):
        assert torch.equal(made[image], tiles[image, order[image]])


def test_pirl_shows_its_backbone_the_shuffled_tiles(monkeypatch) -> None:
    from sslbench.methods import pirl as module

    seen = []
    monkeypatch.setattr(module, "shuffled", lambda tiles, stream: seen.append(tiles) or tiles)
    method = started("pirl")
    step(method, batch_of(method))
    assert [tuple(tiles.shape[:2]) for tiles in seen] == [(3, 9)]


def test_pirl_would_notice_a_fixed_order() -> None:
    """Its head is not symmetric, which is why the order has to be fresh."""
    method = started("pirl").eval()
    features = draw(2, 9, 32)
    other = features[:, [1, 0, *range(2, 9)]]
    assert not torch.allclose(
        method.puzzle_head(features.flatten(1)), method.puzzle_head(other.flatten(1)), atol=1e-3
    )
