"""Entropies over prototypes: shares of the largest there is."""

from __future__ import annotations

import math

import pytest
import torch

from sslbench.objectives.entropy import cluster_entropy, entropy, prototype_entropy

ONE_FOR_ALL = torch.eye(6)[[2, 2, 2]]


def test_an_entropy_is_1_for_uniform_rows_and_0_for_hard_ones() -> None:
    assert float(entropy(torch.full((3, 7), 1 / 7))) == pytest.approx(1.0)
    assert float(entropy(torch.eye(7))) == 0.0


def test_a_lone_prototype_has_no_entropy() -> None:
    assert float(entropy(torch.ones(4, 1))) == 0.0


def test_prototypes_used_alike_give_1_and_one_for_all_gives_0() -> None:
    assert float(prototype_entropy(torch.eye(6))) == pytest.approx(1.0)
    assert float(prototype_entropy(ONE_FOR_ALL)) == 0.0


def test_few_hard_rows_reach_the_share_of_their_number() -> None:
    rows = torch.eye(6)[:3]
    assert float(prototype_entropy(rows)) == pytest.approx(math.log(3) / math.log(6))


def test_heads_are_measured_apart() -> None:
    heads = torch.stack([torch.eye(6)[:3], ONE_FOR_ALL])
    assert float(prototype_entropy(heads)) == pytest.approx(math.log(3) / math.log(6) / 2)


def test_clusters_of_one_size_give_1_and_one_cluster_gives_0() -> None:
    assert float(cluster_entropy(torch.tensor([0, 1, 2, 3] * 5), 4)) == pytest.approx(1.0)
    assert float(cluster_entropy(torch.full((9,), 3), 4)) == 0.0
    assert float(cluster_entropy(torch.tensor([0, 1]), 4)) == pytest.approx(0.5)
