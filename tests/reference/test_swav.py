"""SwAV against a restatement of its codes and its loss, and against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sslbench.core import artifacts
from sslbench.core.errors import UserError
from sslbench.methods.base import Method, Progress, StepOutput
from sslbench.methods.parts.multi_crop import forward_by_size
from tests.contract import harness
from tests.contract.harness import BATCH, SMALL, STEPS_PER_EPOCH, build_method

GLOBAL = SMALL["methods"]["swav"]["views"][0]
MULTICROP = [GLOBAL, GLOBAL | {"copies": 3, "size": 16}]
NO_QUEUE = {"queue_size": None, "queue_start_fraction": None}
QUEUE = {"queue_size": 16, "queue_start_fraction": 0.0}


def run(method: Method, step: int = 0) -> StepOutput:
    batch = harness.make_batch(method, torch.arange(BATCH), step=step)
    return method(batch, Progress(step, 100, STEPS_PER_EPOCH), "main")


def restated_codes(cosines: Tensor, epsilon: float, rounds: int) -> Tensor:
    """Algorithm 1 of arXiv 2006.09882 with loops: prototypes to 1/K, images to 1/B, in turn."""
    table = [[math.exp(value / epsilon) for value in row] for row in cosines.double().tolist()]
    count, width = len(table), len(table[0])
    for _ in range(rounds):
        for k in range(width):
            total = sum(row[k] for row in table)
            for row in table:
                row[k] /= total * width
        for row in table:
            total = sum(row)
            row[:] = [value / (total * count) for value in row]
    return count * torch.tensor(table, dtype=torch.float64)


def restated_swapped(method: Method, views: list[Tensor], queued: list[Tensor]) -> Tensor:
    """Eq. 2 and appendix A: each code is predicted from every view but its own."""
    numbers = method.params
    total = torch.zeros((), dtype=torch.float64)
    for i in range(method.num_global):
        with_queue = torch.cat([views[i], queued[i]]) if queued else views[i]
        codes = restated_codes(
            with_queue.detach(), numbers.sinkhorn_epsilon, numbers.sinkhorn_iterations
        )[:BATCH]
        for v in range(len(views)):
            if v != i:
                log_predicted = (views[v] / numbers.temperature).log_softmax(dim=1)
                total = total - (codes * log_predicted).sum(dim=1).mean()
    return total / (method.num_global * (len(views) - 1))


def unit_projections(method: Method, step: int) -> list[Tensor]:
    batch = harness.make_batch(method, torch.arange(BATCH), step=step)
    features = forward_by_size(method.backbone, batch.views)
    projections = method.projection_head(features).detach().double()
    return list((projections / projections.norm(dim=1, keepdim=True)).chunk(len(batch.views)))


@pytest.mark.parametrize("changes", [NO_QUEUE, QUEUE, NO_QUEUE | {"views": MULTICROP},
                                     QUEUE | {"views": MULTICROP}],
                         ids=["plain", "queue", "multicrop", "both"])  # fmt: skip
def test_swav_loss_and_prototype_gradient_equal_their_restatement(changes: dict) -> None:
    method = build_method("swav", num_prototypes=6, **changes)
    list(harness.train(method, range(4)))
    prototypes = method.prototypes.weight.detach().double().requires_grad_()
    views = [rows @ prototypes.T for rows in unit_projections(method, 4)]
    queued = [queue.rows.double() @ prototypes.T for queue in method.queues]
    expected = restated_swapped(method, views, queued)
    expected.backward()
    method.zero_grad(set_to_none=True)
    loss = run(method, 4).loss
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-5)
    assert torch.allclose(method.prototypes.weight.grad.double(), prototypes.grad, atol=1e-5)


def test_swav_sinkhorn_of_lightly_has_the_marginals() -> None:
    from lightly.loss.swav_loss import sinkhorn

    drawn = torch.randn(64, 10, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    codes = sinkhorn(drawn, iterations=200, epsilon=0.05)
    assert torch.allclose(codes.sum(dim=1), torch.ones(64), atol=1e-5)
    assert torch.allclose(codes.sum(dim=0), torch.full((10,), 6.4), atol=1e-3)
    few = sinkhorn(drawn, iterations=3, epsilon=0.05)
    assert torch.allclose(few.double(), restated_codes(drawn, 0.05, 3), atol=1e-5)


def test_swav_of_uniform_predictions_is_log_of_the_prototypes() -> None:
    method = build_method("swav", num_prototypes=6)
    last = method.projection_head.layers[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    output = run(method)
    assert float(output.loss.detach()) == pytest.approx(math.log(6), abs=1e-5)
    assert float(output.parts["prototype_entropy"]) == pytest.approx(1.0, abs=1e-5)


def test_swav_sees_each_resolution_once_and_local_views_give_no_codes() -> None:
    method = build_method("swav", views=MULTICROP, **QUEUE)
    shapes = []
    method.backbone.register_forward_hook(lambda _, inputs, __: shapes.append(inputs[0].shape))
    run(method)
    assert [tuple(shape) for shape in shapes] == [(2 * BATCH, 3, 32, 32), (3 * BATCH, 3, 16, 16)]
    assert method.num_global == len(method.queues) == 2


def test_swav_prototypes_are_unit_in_every_forward_pass_and_frozen_as_told() -> None:
    method = build_method("swav", frozen_epochs=1)
    start = method.prototypes.weight.detach().clone()
    list(harness.train(method, range(STEPS_PER_EPOCH)))
    assert torch.allclose(method.prototypes.weight, start, atol=1e-6)
    list(harness.train(method, range(STEPS_PER_EPOCH, STEPS_PER_EPOCH + 1), make=harness.adam))
    assert not torch.allclose(method.prototypes.weight, start, atol=1e-4)
    method.before_step(Progress(3, 100, STEPS_PER_EPOCH))
    norms = method.prototypes.weight.norm(dim=1)
    assert torch.allclose(norms, torch.ones_like(norms))


def test_swav_queue_waits_for_its_time_and_until_it_is_full() -> None:
    method = build_method("swav", **QUEUE | {"queue_start_fraction": 0.05})
    sizes = [len(method._queued(Progress(step, 100, 2), BATCH)) for step in (0, 1, 2, 4, 5, 50)]
    assert sizes == [0, 0, 0, 0, 2, 2]
    early = build_method("swav", **QUEUE)
    assert method.params.queue_size == 2 * BATCH
    assert [len(early._queued(Progress(step, 100, 2), BATCH)) for step in (0, 1, 2)] == [0, 0, 2]


def test_swav_queue_rows_carry_no_gradient_and_are_the_global_projections() -> None:
    method = build_method("swav", views=MULTICROP, **QUEUE)
    list(harness.train(method, range(3)))
    expected = unit_projections(method, 3)
    assert not any(rows.requires_grad for rows in method._queued(Progress(3, 100, 2), BATCH))
    run(method, 3)
    for queue, rows in zip(method.queues, expected, strict=False):
        assert queue.rows.grad_fn is None
        newest = torch.cdist(queue.rows.double(), rows).min(dim=0).values
        assert float(newest.max()) < 1e-4


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_swav_resumes_bit_for_bit_with_its_queue_in_use(stop: int, tmp_path) -> None:
    whole = list(harness.train(build_method("swav", **QUEUE), range(6)))
    method = build_method("swav", **QUEUE)
    before = list(harness.train(method, range(stop)))
    artifacts.write_tensors(tmp_path / artifacts.METHOD, method.state_dict())
    fresh = build_method("swav", seed=7, **QUEUE)
    fresh.load_state_dict(artifacts.read_tensors(tmp_path / artifacts.METHOD))
    assert before + list(harness.train(fresh, range(stop, 6))) == whole


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"views": [GLOBAL | {"copies": 1}]}, "at least two copies"),
        (QUEUE | {"queue_size": None}, "give both queue_size"),
        (QUEUE | {"queue_start_fraction": None}, "give both queue_size"),
    ],
)
def test_swav_refuses_what_cannot_work(changes: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        harness.build_params("swav", **changes)
