"""SeLa and DeepCluster against independent restatements, and against values worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sslbench.core.errors import UserError
from sslbench.methods import deepcluster, sela
from sslbench.methods.base import Method, Progress
from tests.contract import harness
from tests.contract.harness import BATCH, SMALL, STEPS_PER_EPOCH, build_method

TWO_VIEWS = SMALL["methods"]["simclr"]["views"]


def loss_of(method: Method, index: Tensor | None = None) -> float:
    index = torch.arange(BATCH) if index is None else index
    batch = harness.make_batch(method, index)
    return float(method(batch, Progress(0, 100, STEPS_PER_EPOCH), "main").loss.detach())


def restated_mean_cross_entropy(logits: Tensor, targets: list[int], weights: list[float]) -> float:
    """Weighted mean of -log softmax at the target, with loops."""
    losses = []
    for row, target in zip(logits.double().tolist(), targets, strict=True):
        losses.append(math.log(sum(map(math.exp, row))) - row[target])
    shares = [weights[target] for target in targets]
    return sum(a * b for a, b in zip(losses, shares, strict=True)) / sum(shares)


def test_sela_loss_is_the_mean_over_heads_restated() -> None:
    method = build_method("sela")
    harness.start_epoch(method, Progress(0, 100, STEPS_PER_EPOCH))
    index = torch.tensor([9, 2, 14, 0])
    view = harness.make_batch(method, index).views[0]
    features = method.backbone(view).detach()
    expected = [
        restated_mean_cross_entropy(
            features @ head.weight.detach().T + head.bias.detach(),
            labels[index].tolist(),
            [1.0] * 4,
        )
        for head, labels in zip(method.heads, method.labels, strict=True)
    ]
    loss = loss_of(method, index)
    assert loss == pytest.approx(sum(expected) / len(expected), abs=1e-5)


def test_sela_of_silent_heads_is_log_of_the_clusters() -> None:
    method = build_method("sela")
    for parameter in method.heads.parameters():
        torch.nn.init.zeros_(parameter)
    assert loss_of(method) == pytest.approx(math.log(4), abs=1e-6)


def test_sela_labels_of_a_lopsided_network_are_balanced() -> None:
    drawn = torch.randn(1003, 7, generator=torch.Generator().manual_seed(0))
    lopsided = drawn + torch.linspace(5, 0, 7)
    counts = sela.self_labels(lopsided, 10.0, 0.1).bincount(minlength=7)
    assert counts.max() - counts.min() <= 1
    assert lopsided.argmax(dim=1).bincount(minlength=7).max() > 500


def test_sela_every_head_is_balanced_and_by_itself() -> None:
    method, other = build_method("sela"), build_method("sela")
    with torch.no_grad():
        other.heads[0].weight.mul_(-1)
    for one in (method, other):
        harness.start_epoch(one, Progress(0, 100, STEPS_PER_EPOCH))
    for labels in method.labels:
        counts = labels.bincount(minlength=4)
        assert counts.max() - counts.min() <= 1
    assert not torch.equal(method.labels[0], other.labels[0])
    assert torch.equal(method.labels[1:], other.labels[1:])
    assert len({tuple(labels.tolist()) for labels in method.labels}) == len(method.labels)


@pytest.mark.parametrize(
    ("solutions", "power", "epochs", "expected"),
    [
        (8, 1.0, 8, set(range(8))),
        (200, 1.0, 200, set(range(200))),
        (400, 1.0, 8, set(range(8))),
        (4, 1.0, 8, {0, 2, 4, 6}),
        (4, 2.0, 16, {0, 1, 4, 9}),
        (1, 2.0, 5, {0}),
    ],
)
def test_sela_solves_labels_when_planned(
    solutions: int, power: float, epochs: int, expected: set[int]
) -> None:
    assert sela.epochs_of(solutions, power, epochs) == expected


def test_sela_keeps_its_labels_between_solutions() -> None:
    method = build_method("sela", num_solutions=50)  # of 50 epochs
    harness.start_epoch(method, Progress(0, 100, STEPS_PER_EPOCH))
    first = method.labels.clone()
    with torch.no_grad():
        for head in method.heads:
            head.weight.mul_(-1)
    method.params = replace(method.params, num_solutions=25)
    harness.start_epoch(method, Progress(2, 100, STEPS_PER_EPOCH))
    assert torch.equal(method.labels, first)
    harness.start_epoch(method, Progress(4, 100, STEPS_PER_EPOCH))
    assert not torch.equal(method.labels, first)


def test_deepcluster_loss_weighs_clusters_alike_restated() -> None:
    method = build_method("deepcluster")
    harness.start_epoch(method, Progress(0, 100, STEPS_PER_EPOCH))
    torch.nn.init.normal_(method.classifier.weight, std=0.5)
    method.assignments.copy_(torch.tensor([0] * 9 + [1] * 4 + [2] * 3))
    method.weights.copy_(deepcluster.cluster_weights(method.assignments, 4))
    index = torch.tensor([0, 1, 10, 13, 14])
    features = method.backbone(harness.make_batch(method, index).views[0]).detach()
    logits = features @ method.classifier.weight.detach().T + method.classifier.bias.detach()
    inverse_sizes = [1 / 9, 1 / 4, 1 / 3, 0.0]
    expected = restated_mean_cross_entropy(logits, [0, 0, 1, 2, 2], inverse_sizes)
    assert loss_of(method, index) == pytest.approx(expected, abs=1e-5)


def test_deepcluster_of_a_silent_classifier_is_log_of_the_clusters() -> None:
    method = build_method("deepcluster")
    harness.start_epoch(method, Progress(0, 100, STEPS_PER_EPOCH))
    torch.nn.init.zeros_(method.classifier.weight)
    assert loss_of(method) == pytest.approx(math.log(4), abs=1e-6)


def test_deepcluster_weights_make_clusters_equal() -> None:
    assignments = torch.tensor([0] * 90 + [1] * 9 + [3])
    weights = deepcluster.cluster_weights(assignments, 4)
    totals = functional.one_hot(assignments, 4).float().T @ weights[assignments]
    assert totals.tolist() == pytest.approx([100 / 3, 100 / 3, 0, 100 / 3])
    assert float(weights[assignments].mean()) == pytest.approx(1.0)


def test_deepcluster_keeps_weights_and_assignments_of_one_clustering() -> None:
    method = build_method("deepcluster")
    harness.start_epoch(method, Progress(0, 100, STEPS_PER_EPOCH))
    sizes = method.assignments.bincount(minlength=4)
    assert torch.allclose(method.weights * sizes, torch.full((4,), harness.NUM_IMAGES / 4))


def test_deepcluster_starts_a_new_classifier_in_place_from_the_epochs_stream() -> None:
    method, again = build_method("deepcluster"), build_method("deepcluster", seed=1)
    places = [id(parameter) for parameter in method.classifier.parameters()]
    drawn = []
    for one, step in ((method, 0), (again, 0), (method, STEPS_PER_EPOCH)):
        torch.nn.init.ones_(one.classifier.bias)
        harness.start_epoch(one, Progress(step, 100, STEPS_PER_EPOCH))
        drawn.append(one.classifier.weight.detach().clone())
        assert not one.classifier.bias.any()
    assert [id(parameter) for parameter in method.classifier.parameters()] == places
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert float(drawn[0].std()) == pytest.approx(deepcluster.CLASSIFIER_STD, rel=0.2)


def test_deepcluster_clusters_anew_each_epoch_only() -> None:
    method = build_method("deepcluster")
    list(harness.train(method, range(1), make=harness.adam))
    first = method.assignments.clone()
    list(harness.train(method, range(1, STEPS_PER_EPOCH), make=harness.adam))
    assert torch.equal(method.assignments, first)
    assert float(method.agreement) == 0.0
    harness.start_epoch(method, Progress(STEPS_PER_EPOCH, 100, STEPS_PER_EPOCH))
    assert float(method.agreement) > 0.0


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("sela", {"num_clusters": 17}, "more clusters than images; give methods.sela.num_clusters"),
        ("deepcluster", {"num_clusters": 17}, "more clusters than images"),
        ("deepcluster", {"pca_dim": 65}, "more axes than features; give methods.deepcluster"),
        ("sela", {"sharpness": 0.0}, "must be above 0"),
        ("sela", {"num_heads": 0}, "one head"),
        ("deepcluster", {"kmeans_iterations": 0}, "one iteration"),
        ("sela", {"views": TWO_VIEWS}, "one copy"),
        ("deepcluster", {"views": TWO_VIEWS}, "one copy"),
    ],
)
def test_sizes_that_cannot_work_are_refused(name: str, changes: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        build_method(name, **changes)
