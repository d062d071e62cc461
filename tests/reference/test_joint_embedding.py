"""SimSiam, Barlow Twins and VICReg: losses against the papers' formulas and values by hand."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import BarlowTwinsLoss, VICRegLoss
from torch import Tensor, nn

from sslbench.core import seeding
from sslbench.heads.expander import expander
from sslbench.methods.barlow_twins import mean_correlation
from sslbench.methods.base import Method, Progress, ViewBatch
from sslbench.objectives.spread import unit_spread
from tests.contract import harness

BATCH, DIM = 8, 5
PROGRESS = Progress(0, 10, harness.STEPS_PER_EPOCH)


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = seeding.generator(seed, "joint embedding")
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def loss_of(method: Method) -> float:
    batch = harness.make_batch(method, torch.arange(harness.BATCH))
    return float(method(batch, PROGRESS, "main").loss.detach())


def projections_of(method: Method) -> list[Tensor]:
    batch = harness.make_batch(method, torch.arange(harness.BATCH))
    return [method.projection_head(method.backbone(v)).detach().double() for v in batch.views]


def restated_barlow_twins(first: Tensor, second: Tensor, weight: float) -> float:
    """Eq. 1 and 2 of arXiv 2103.03230 with loops."""
    dim = first.shape[1]
    a, b = ((rows - rows.mean(dim=0)) for rows in (first, second))
    total = 0.0
    for i in range(dim):
        for j in range(dim):
            norms = float(a[:, i].square().sum().sqrt() * b[:, j].square().sum().sqrt())
            correlation = float((a[:, i] * b[:, j]).sum()) / norms
            total += (1 - correlation) ** 2 if i == j else weight * correlation**2
    return total


def restated_vicreg(first: Tensor, second: Tensor) -> float:
    """Eq. 1 to 6 of arXiv 2105.04906 with loops, with the means of the authors' code."""
    count, dim = first.shape
    invariance = sum(float((a - b).square().sum()) for a, b in zip(first, second, strict=True))
    variance = covariance = 0.0
    for rows in (first, second):
        centred = rows - rows.mean(dim=0)
        matrix = centred.T @ centred / (count - 1)
        for i in range(dim):
            variance += max(0.0, 1 - math.sqrt(float(matrix[i, i]) + 1e-4)) / dim
            covariance += sum(float(matrix[i, j]) ** 2 for j in range(dim) if j != i) / dim
    return 25 * invariance / (count * dim) + 25 * variance / 2 + covariance


@pytest.mark.parametrize("weight", [0.005, 0.5])
def test_barlow_twins_equals_its_restatement(weight: float) -> None:
    first, second = draw(BATCH, DIM), draw(BATCH, DIM, seed=1)
    loss = float(BarlowTwinsLoss(lambda_param=weight)(first, second))
    assert loss == pytest.approx(restated_barlow_twins(first, second, weight), abs=1e-3)


def test_barlow_twins_feeds_the_projections_of_both_views() -> None:
    method = harness.build_method("barlow_twins")
    expected = restated_barlow_twins(*projections_of(method), method.criterion.lambda_param)
    assert loss_of(method) == pytest.approx(expected, rel=1e-3)


def hadamard() -> Tensor:
    two = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    return torch.kron(two, torch.kron(two, two))[:, 1:]  # 8 rows of 7 centred orthogonal columns


def test_barlow_twins_of_equal_negated_and_constant_projections() -> None:
    rows, criterion = hadamard(), BarlowTwinsLoss()
    assert float(criterion(rows, rows)) == pytest.approx(0.0, abs=1e-4)
    assert float(criterion(rows, -rows)) == pytest.approx(4 * 7, abs=1e-2)
    assert float(criterion(torch.ones(8, 7), torch.ones(8, 7))) == pytest.approx(7)


def test_barlow_twins_does_not_mind_a_positive_affine_map_of_a_dimension() -> None:
    first, second = draw(BATCH, DIM), draw(BATCH, DIM, seed=1)
    moved = second * torch.arange(1, DIM + 1) + 3
    criterion = BarlowTwinsLoss()
    assert float(criterion(first, moved)) == pytest.approx(
        float(criterion(first, second)), abs=1e-3
    )


def test_vicreg_equals_its_restatement() -> None:
    first, second = 0.5 * draw(BATCH, DIM), 0.5 * draw(BATCH, DIM, seed=1)
    loss = float(VICRegLoss()(first, second))
    assert loss == pytest.approx(restated_vicreg(first, second), abs=1e-6)


def test_vicreg_feeds_the_projections_of_both_views() -> None:
    method = harness.build_method("vicreg")
    assert loss_of(method) == pytest.approx(restated_vicreg(*projections_of(method)), rel=1e-4)


def test_vicreg_of_constant_and_of_white_projections() -> None:
    constant, white = torch.ones(8, 7), hadamard()
    assert float(VICRegLoss()(constant, constant)) == pytest.approx(24.75, abs=1e-4)
    assert float(VICRegLoss()(white, white)) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("name", ["barlow_twins", "vicreg"])
def test_statistics_of_projections_are_taken_in_float32(name: str) -> None:
    method = harness.build_method(name)
    rows = [draw(harness.BATCH, DIM, seed=side).bfloat16() for side in (0, 1)]
    method.projection_head = Given(rows)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(method)
    assert loss == pytest.approx(float(method.criterion(*(r.float() for r in rows))), rel=1e-6)


class Given(nn.Module):
    """Returns the rows it was given, one set a call, whatever comes in."""

    def __init__(self, rows: list[Tensor]) -> None:
        super().__init__()
        self.rows = iter(rows)

    def forward(self, inputs: Tensor) -> Tensor:
        return next(self.rows)


def test_the_expander_ends_without_a_bias_that_no_loss_could_see() -> None:
    linear = [module for module in expander(6, 7, 8).modules() if isinstance(module, nn.Linear)]
    assert [module.bias is None for module in linear] == [True, True, True]
    assert [module.out_features for module in linear] == [7, 7, 8]


def test_simsiam_is_the_mean_of_both_directions_restated() -> None:
    method = harness.build_method("simsiam").double()
    batch = harness.make_batch(method, torch.arange(harness.BATCH))
    views = [view.double() for view in batch.views]
    loss = method(ViewBatch(views, batch.index, batch.generator), PROGRESS, "main").loss

    def cosine(row: Tensor, other: Tensor) -> float:
        return float((row @ other / (row.norm() * other.norm())).detach())

    first, second = (method.projection_head(method.backbone(view)) for view in views)
    total = 0.0
    for ours, theirs in ((first, second), (second, first)):
        predicted = method.prediction_head(ours)
        total -= sum(cosine(p, z) for p, z in zip(predicted, theirs, strict=True)) / len(ours) / 2
    assert float(loss.detach()) == pytest.approx(total, abs=1e-5)


def test_simsiam_is_minus_one_where_predictions_equal_targets() -> None:
    method = harness.build_method("simsiam")
    rows = draw(harness.BATCH, DIM).float()
    method.projection_head, method.prediction_head = Given([rows, 3 * rows]), nn.Identity()
    assert loss_of(method) == pytest.approx(-1.0, abs=1e-6)


def test_no_gradient_flows_through_simsiams_targets() -> None:
    """The guard against collapse: without it the targets move to meet the predictions."""
    method = harness.build_method("simsiam")
    width = harness.SHRUNK["_dim"]
    ours, theirs = (draw(4, width, seed=s).float().requires_grad_() for s in (0, 1))
    method._direction(ours, theirs).backward()
    assert ours.grad is not None
    assert ours.grad.any()
    assert theirs.grad is None


def test_simsiams_predictor_alone_keeps_its_rate() -> None:
    method = harness.build_method("simsiam")
    kept = [p for g in method.parameter_groups() if not g.is_scheduled for p in g.parameters]
    assert {id(p) for p in method.prediction_head.parameters()} == {id(p) for p in kept}


def test_spread_is_zero_when_collapsed_and_one_for_an_orthonormal_basis_and_its_mirror() -> None:
    basis = torch.cat([torch.eye(50), -torch.eye(50)])
    assert float(unit_spread(torch.ones(9, 4))) == pytest.approx(0.0, abs=1e-6)
    assert float(unit_spread(7 * basis)) == pytest.approx(math.sqrt(100 / 99), abs=1e-5)


def test_mean_correlation_of_equal_and_of_opposite_views() -> None:
    rows = draw(BATCH, DIM)
    assert float(mean_correlation(rows, 2 * rows + 1)) == pytest.approx(1.0, abs=1e-5)
    assert float(mean_correlation(rows, -rows)) == pytest.approx(-1.0, abs=1e-5)
