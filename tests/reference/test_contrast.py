"""MoCo v1 to v3 and NNCLR: InfoNCE against its formula, and which rows it is given."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from sslbench import backbones
from sslbench.core import params, seeding
from sslbench.core.errors import UserError
from sslbench.methods import mocov3
from sslbench.methods.base import Method, Progress, ViewBatch
from sslbench.methods.nnclr import nearest_rows
from sslbench.objectives.info_nce import accuracy, batch_cosines, info_nce, queue_cosines
from tests.contract import harness

BATCH, DIM = 6, 5
PROGRESS = Progress(0, 10, harness.STEPS_PER_EPOCH)
VIT = {"family": "vit", "size": "micro", "patch_size": 8, "image_size": harness.SIZE}


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = seeding.generator(seed, "contrast")
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def cosine(row: Tensor, other: Tensor) -> float:
    return float((row @ other / (row.norm() * other.norm())).detach())


def restated_info_nce(rows: Tensor, own: Tensor, negatives: list[Tensor], tau: float) -> float:
    """Eq. 1 of arXiv 1911.05722 with loops; negatives[i] are those of row i."""
    total = 0.0
    for row, partner, others in zip(rows, own, negatives, strict=True):
        positive = math.exp(cosine(row, partner) / tau)
        rest = sum(math.exp(cosine(row, other) / tau) for other in others)
        total -= math.log(positive / (positive + rest))
    return total / len(rows)


def others_of(rows: Tensor) -> list[Tensor]:
    """Return, for each row, all the other rows."""
    return [rows[[other for other in range(len(rows)) if other != i]] for i in range(len(rows))]


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_info_nce_equals_its_restatement(temperature: float) -> None:
    rows, own = draw(BATCH, DIM), draw(BATCH, DIM, seed=1)
    negatives = torch.nn.functional.normalize(draw(9, DIM, seed=2), dim=1)
    first = torch.zeros(BATCH, dtype=torch.int64)
    queue = info_nce(queue_cosines(rows, own, negatives), first, temperature)
    expected = restated_info_nce(rows, own, [negatives] * BATCH, temperature)
    assert float(queue) == pytest.approx(expected, abs=1e-6)
    batch = info_nce(batch_cosines(rows, own), torch.arange(BATCH), temperature)
    expected = restated_info_nce(rows, own, others_of(own), temperature)
    assert float(batch) == pytest.approx(expected, abs=1e-6)


def test_info_nce_of_collapsed_rows_is_log_of_the_candidates() -> None:
    same = torch.ones(BATCH, DIM)
    first = torch.zeros(BATCH, dtype=torch.int64)
    queue = queue_cosines(same, same, torch.nn.functional.normalize(same[:4], dim=1))
    assert float(info_nce(queue, first, 0.2)) == pytest.approx(math.log(1 + 4), abs=1e-5)
    batch = info_nce(batch_cosines(same, same), torch.arange(BATCH), 0.2)
    assert float(batch) == pytest.approx(math.log(BATCH), abs=1e-5)


def test_accuracy_is_the_share_of_nearest_partners() -> None:
    cosines = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.2, 0.8], [0.1, 0.0, 0.4], [0.5, 0.6, 0.7]])
    assert float(accuracy(cosines, torch.tensor([0, 1, 2, 2]))) == pytest.approx(0.75)


def double_batch(method: Method) -> ViewBatch:
    batch = harness.make_batch(method, torch.arange(harness.BATCH))
    return ViewBatch([view.double() for view in batch.views], batch.index, batch.generator)


@pytest.mark.parametrize("name", ["mocov1", "mocov2"])
def test_moco_contrasts_queries_of_the_first_view_with_keys_of_the_second(name: str) -> None:
    contrast = harness.shrink(harness.SMALL["methods"][name])["contrast"] | {"num_groups": 1}
    method = harness.build_method(name, contrast=contrast).double()
    batch, queue = double_batch(method), method.contrast.queue.rows.clone()
    queries, keys = (method.projection_head(method.backbone(view)) for view in batch.views)
    expected = restated_info_nce(queries, keys, [queue] * harness.BATCH, contrast["temperature"])
    assert float(method(batch, PROGRESS, "main").loss.detach()) == pytest.approx(expected, abs=1e-4)
    newest = method.contrast.queue.rows[: harness.BATCH]
    assert all(cosine(new, key) > 1 - 1e-6 for new, key in zip(newest, keys, strict=True))


def test_mocov1_has_a_linear_head_and_mocov2_a_hidden_layer() -> None:
    heads = [harness.build_method(name).projection_head for name in ("mocov1", "mocov2")]
    linear = [sum(isinstance(m, nn.Linear) for m in head.modules()) for head in heads]
    assert linear == [1, 2]


def test_nearest_rows_are_those_of_the_largest_cosine() -> None:
    rows, bank = draw(BATCH, DIM), torch.nn.functional.normalize(draw(20, DIM, seed=1), dim=1)
    brute = [max(bank, key=lambda other: cosine(row, other)) for row in rows]
    assert torch.equal(nearest_rows(rows, bank), torch.stack(brute))


def test_nnclr_contrasts_neighbours_with_predictions_of_the_other_view() -> None:
    method = harness.build_method("nnclr").double()
    batch, bank = double_batch(method), method.queue.rows.clone()
    views = [method.projection_head(method.backbone(view)) for view in batch.views]
    total = 0.0
    for ours, theirs in (views, views[::-1]):
        near = torch.stack([max(bank, key=lambda other: cosine(row, other)) for row in ours])
        predicted = method.prediction_head(theirs)
        total += restated_info_nce(near, predicted, others_of(predicted), method.temperature) / 2
    assert float(method(batch, PROGRESS, "main").loss.detach()) == pytest.approx(total, abs=1e-4)
    newest = method.queue.rows[: harness.BATCH]
    assert all(cosine(new, row) > 1 - 1e-6 for new, row in zip(newest, views[0], strict=True))


def test_mocov3_predicts_the_teachers_keys_of_the_other_view() -> None:
    method = harness.build_method("mocov3").double()
    with torch.no_grad():
        for parameter in method.teacher.parameters():
            parameter.mul_(1.5).add_(0.1)  # so that the student's keys would give another loss
    batch = double_batch(method)
    keys = [method.teacher(view) for view in batch.views]
    predicted = [
        method.prediction_head(method.projection_head(method.backbone(view)))
        for view in batch.views
    ]
    total = sum(
        restated_info_nce(ours, theirs, others_of(theirs), method.temperature)
        for ours, theirs in zip(predicted, keys[::-1], strict=True)
    )
    loss = float(method(batch, PROGRESS, "main").loss.detach())
    assert loss == pytest.approx(2 * method.temperature * total, abs=1e-4)


def mocov3_on(spec: dict[str, object]) -> Method:
    torch.manual_seed(0)
    values = harness.shrink(harness.SMALL["methods"]["mocov3"]) | {"projection_layers": 3}
    made = params.build(mocov3.Params, values, "methods.mocov3")
    return mocov3.MoCoV3(backbones.build(spec), made, harness.data_info(num_classes=0))


@pytest.mark.parametrize("positions", ["learned", "sincos"])
def test_mocov3_freezes_a_transformers_patch_projection_and_trains_the_rest(positions: str) -> None:
    method = mocov3_on(VIT | {"positions": positions})
    projection = method.backbone.vit.patch_embed.proj
    before = projection.weight.clone()
    list(harness.train(method, range(2), make=harness.adam))
    assert torch.equal(projection.weight, before)
    fixed = {name for name, p in method.backbone.named_parameters() if not p.requires_grad}
    patch = {"vit.patch_embed.proj.weight", "vit.patch_embed.proj.bias"}
    assert fixed == patch | ({"vit.pos_embed"} if positions == "sincos" else set())
    harness.one_backward(method)
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in trained)


def test_mocov3_draws_the_patch_projection_as_its_authors_do() -> None:
    projection = mocov3_on(VIT).backbone.vit.patch_embed.proj
    bound = math.sqrt(6 / (3 * 8**2 + 96))  # vits.py: patch pixels in, width out
    assert 0.98 * bound < float(projection.weight.abs().max()) <= bound
    assert not projection.bias.any()


def test_mocov3_leaves_a_residual_network_alone() -> None:
    method = harness.build_method("mocov3")
    assert all(parameter.requires_grad for parameter in method.backbone.parameters())


def test_mocov3_refuses_a_head_without_hidden_layer() -> None:
    with pytest.raises(UserError, match="projection_layers must be 2 or more"):
        harness.build_params("mocov3", projection_layers=1)
