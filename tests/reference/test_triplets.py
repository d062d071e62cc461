"""Triplets, pairs and exemplars against brute force over all of them, and values by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from torch import Tensor

from sslbench.core.errors import UserError
from sslbench.methods.base import Progress, StepOutput
from sslbench.methods.exemplar import exemplar_loss
from sslbench.objectives.pairwise import pairwise_loss
from sslbench.objectives.triplet import triplet_loss
from tests.contract import harness
from tests.reference.test_objectives import Fixed, draw, first_loss, zero

GROUPS = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 0, 1])


def unit_rows(count: int = len(GROUPS), seed: int = 0) -> Tensor:
    rows = draw(count, 5, seed=seed).double()
    return rows / rows.norm(dim=1, keepdim=True)


def restated_triplets(distance: list[list[float]], groups: list[int], margin: float) -> float:
    """All (anchor, positive, negative) with loops: mean of max(0, d(a, p) - d(a, n) + margin)."""
    terms = [
        max(0.0, distance[a][p] - distance[a][n] + margin)
        for a, p, n in permutations(range(len(groups)), 3)
        if groups[a] == groups[p] != groups[n]
    ]
    return sum(terms) / len(terms)


def restated_semi_hard(distance: list[list[float]], groups: list[int], margin: float) -> float:
    """For each (anchor, positive) the nearest negative beyond it, or else the farthest one."""
    terms = []
    for a, p in permutations(range(len(groups)), 2):
        if groups[a] != groups[p]:
            continue
        negatives = [distance[a][n] for n in range(len(groups)) if groups[n] != groups[a]]
        beyond = [d for d in negatives if d > distance[a][p]]
        chosen = min(beyond) if beyond else max(negatives)
        terms.append(max(0.0, distance[a][p] - chosen + margin))
    return sum(terms) / len(terms)


RESTATED = {"all": restated_triplets, "semi_hard": restated_semi_hard}


@pytest.mark.parametrize("mining", RESTATED)
@pytest.mark.parametrize("margin", [0.2, 0.5, 1.5])
@pytest.mark.parametrize("seed", range(3))
def test_triplets_equal_brute_force(mining: str, margin: float, seed: int) -> None:
    similarities = unit_rows(seed=seed) @ unit_rows(seed=seed).T
    expected = RESTATED[mining]((-similarities).tolist(), GROUPS.tolist(), margin)
    loss = triplet_loss(similarities, GROUPS, margin, mining)
    assert float(loss) == pytest.approx(expected, abs=1e-12)


def test_semi_hard_triplets_of_four_points_on_a_line() -> None:
    """Squared distances; worked out by hand: (0.75 + 0 + 0.25 + 2) / 4."""
    points = torch.tensor([0.0, 1.0, 3.0, 1.5])
    similarities = -(points[:, None] - points).square()
    loss = triplet_loss(similarities, torch.tensor([0, 0, 1, 1]), 2.0, "semi_hard")
    assert float(loss) == pytest.approx(0.75, abs=1e-6)


@pytest.mark.parametrize("mining", RESTATED)
def test_collapsed_triplets_score_the_margin_and_easy_ones_nothing(mining: str) -> None:
    assert float(triplet_loss(torch.ones(10, 10), GROUPS, 0.7, mining)) == pytest.approx(0.7)
    rows = torch.eye(4)[GROUPS].requires_grad_()
    loss = triplet_loss(rows @ rows.T, GROUPS, 0.7, mining)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not rows.grad.any()


@pytest.mark.parametrize("mining", RESTATED)
def test_triplets_do_not_mind_the_order_of_rows(mining: str) -> None:
    rows, order = unit_rows(), torch.randperm(10, generator=torch.Generator().manual_seed(1))
    loss = triplet_loss(rows @ rows.T, GROUPS, 0.5, mining)
    moved = rows[order]
    assert torch.allclose(triplet_loss(moved @ moved.T, GROUPS[order], 0.5, mining), loss)


def step(name: str, index: Tensor, **changes: object) -> StepOutput:
    method = harness.build_method(name)
    for attribute, value in changes.items():
        setattr(method, attribute, value)
    return method(harness.make_batch(method, index), Progress(0, 10, 2), "main")


@pytest.mark.parametrize("mining", RESTATED)
def test_triplet_pairs_the_two_views_by_cosine(mining: str) -> None:
    rows = 3 * draw(8, 32)
    unit = rows.double() / rows.double().norm(dim=1, keepdim=True)
    expected = RESTATED[mining]((-unit @ unit.T).tolist(), [0, 1, 2, 3] * 2, 0.5)
    fixed = {"projection_head": Fixed(rows), "margin": 0.5, "mining": mining}
    out = step("triplet", torch.arange(4), **fixed)
    assert float(out.loss) == pytest.approx(expected, abs=1e-6)
    assert float(out.parts["positive_cosine"]) == pytest.approx(
        float((unit[:4] * unit[4:]).sum(dim=1).mean()), abs=1e-6
    )


def test_exemplar_triplet_takes_all_views_by_squared_distance_of_rows_of_length_one() -> None:
    rows = 3 * draw(12, 32)
    unit = rows.double() / rows.double().norm(dim=1, keepdim=True)
    distances = (unit[:, None] - unit).square().sum(dim=2)
    expected = restated_semi_hard(distances.tolist(), [9, 2, 14] * 4, 0.5)
    fixed = {"projection_head": Fixed(rows), "margin": 0.5}
    out = step("exemplar_triplet", torch.tensor([9, 2, 14]), **fixed)
    assert float(out.loss) == pytest.approx(expected, abs=1e-6)


def restated_pairs(rows: Tensor, count: int, margin: float, power: int) -> float:
    """y d^p + (1 - y) max(0, margin - d)^p over all pairs, each kind averaged by itself."""
    near, far = [], []
    for i, j in permutations(range(2 * count), 2):
        distance = math.dist(rows[i].tolist(), rows[j].tolist())
        if i % count == j % count:
            near.append(distance**power)
        else:
            far.append(max(0.0, margin - distance) ** power)
    return sum(near) / len(near) + sum(far) / len(far)


@pytest.mark.parametrize("is_squared", [False, True])
@pytest.mark.parametrize("margin", [0.5, 1.0, 1.7])
def test_pairs_equal_brute_force(is_squared: bool, margin: float) -> None:
    rows = unit_rows()
    loss = pairwise_loss(*rows.chunk(2), margin, is_squared)
    expected = restated_pairs(rows, 5, margin, 2 if is_squared else 1)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_collapsed_pairs_score_the_margin_and_orthonormal_ones_what_is_short_of_it() -> None:
    same = torch.eye(3)[[0, 0, 0, 0]]
    assert float(pairwise_loss(same, same, 0.8, False)) == pytest.approx(0.8, abs=1e-5)
    assert float(pairwise_loss(same, same, 0.8, True)) == pytest.approx(0.64, abs=1e-5)
    apart = torch.eye(4)
    assert float(pairwise_loss(apart, apart, 1.0, False)) == pytest.approx(0, abs=1e-5)
    short = 1.8 - math.sqrt(2)
    assert float(pairwise_loss(apart, apart, 1.8, False)) == pytest.approx(short, abs=1e-5)


@pytest.mark.parametrize("is_squared", [False, True])
def test_equal_pairs_have_a_finite_gradient(is_squared: bool) -> None:
    rows = torch.eye(3)[[0, 0, 0]].requires_grad_()
    pairwise_loss(rows, rows, 0.8, is_squared).backward()
    assert torch.isfinite(rows.grad).all()


def test_pairwise_compares_unit_projections_of_the_two_views() -> None:
    rows = 3 * draw(8, 32)
    unit = rows / rows.norm(dim=1, keepdim=True)
    fixed = {"projection_head": Fixed(rows), "margin": 1.0, "is_squared": True}
    out = step("pairwise", torch.arange(4), **fixed)
    assert float(out.loss) == pytest.approx(restated_pairs(unit, 4, 1.0, 2), abs=1e-5)


def test_exemplar_starts_at_log_of_the_images() -> None:
    method = harness.build_method("exemplar")
    zero(method.classifier)
    assert first_loss(method) == pytest.approx(math.log(harness.NUM_IMAGES), abs=1e-6)


def test_all_views_of_an_image_belong_to_its_own_class() -> None:
    index = torch.tensor([9, 2, 14])
    copies = harness.SMALL["methods"]["exemplar"]["views"][0]["copies"]
    logits = 100 * torch.eye(harness.NUM_IMAGES)[index].repeat(copies, 1)
    out = step("exemplar", index, classifier=Fixed(logits))
    assert float(out.loss) == pytest.approx(0, abs=1e-6)
    assert float(out.parts["accuracy"]) == 1


def test_images_without_a_class_are_left_out() -> None:
    logits = draw(4, 5)
    loss = exemplar_loss(logits, torch.tensor([3, -1, 0, -1]))
    expected = -(logits[[0, 2]].log_softmax(dim=1)[[0, 1], [3, 0]]).mean()
    assert float(loss) == pytest.approx(float(expected), abs=1e-6)
    assert float(exemplar_loss(logits, torch.full((4,), -1))) == 0  # torch's own mean is NaN
    method = harness.build_method("exemplar", num_exemplars=4)
    mixed = harness.make_batch(method, torch.tensor([8, 3, 15]))
    views, classes = method._exemplars(mixed)
    assert torch.equal(views, torch.stack([view[1] for view in mixed.views]))
    assert classes.tolist() == [3] * len(mixed.views)
    assert method.classifier.out_features == 4
    batch = harness.make_batch(method, torch.tensor([8, 15]))
    assert float(method(batch, Progress(0, 10, 2), "main").loss.detach()) == 0


def test_values_that_cannot_work_are_refused() -> None:
    view = harness.build_params("exemplar_triplet").views[0]
    for name, change in (
        ("triplet", {"margin": 0.0}),
        ("pairwise", {"margin": 2.0}),
        ("exemplar_triplet", {"margin": 4.0}),
        ("exemplar", {"num_exemplars": 1}),
    ):
        with pytest.raises(UserError, match="must"):
            harness.build_params(name, **change)
    with pytest.raises(ValueError, match="two views"):
        replace(harness.build_params("exemplar_triplet"), views=(replace(view, copies=1),))
