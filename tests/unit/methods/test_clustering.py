"""K-means: exact on blobs, monotone, no empty cluster, chunk size without influence."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn.functional import normalize

from sslbench.methods.parts import clustering
from sslbench.methods.parts.clustering import (
    ClusterBank,
    assign,
    euclidean_kmeans,
    mutual_information,
    nearest,
    spherical_kmeans,
)
from sslbench.objectives.entropy import cluster_entropy


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, dim: int, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(count, dim, generator=stream(seed)), dim=1)


def blobs(per_blob: int = 20, dim: int = 5) -> torch.Tensor:
    spread = 0.05 * torch.randn(dim * per_blob, dim, generator=stream(3))
    return normalize(torch.eye(dim).repeat_interleave(per_blob, dim=0) + spread, dim=1)


@pytest.mark.parametrize("seed", range(4))
def test_objective_never_falls(seed: int) -> None:
    found = spherical_kmeans(noise(200, 8, seed), 12, 10, stream(seed)).objective
    assert all(later >= earlier - 1e-6 for earlier, later in pairwise(found))
    assert found[-1] > found[0] + 0.01


def test_blobs_are_found_exactly() -> None:
    """Of ten draws, as k-means may start with two centroids in one blob and stay there."""
    rows = blobs()
    best = max((spherical_kmeans(rows, 5, 10, stream(seed)) for seed in range(10)),
               key=lambda found: found.objective[-1])  # fmt: skip
    groups = best.assignments.view(5, 20)
    assert all(len(set(group.tolist())) == 1 for group in groups)
    assert len(set(groups[:, 0].tolist())) == 5
    assert torch.allclose(best.centroids.norm(dim=1), torch.ones(5))


def test_assignment_is_the_nearest_centroid() -> None:
    rows, centroids = noise(50, 4), noise(6, 4, seed=1)
    cosines, assignments = assign(rows, centroids)
    brute = [max(range(6), key=lambda k: float(row @ centroids[k])) for row in rows]
    assert assignments.tolist() == brute
    assert torch.allclose(cosines, (rows * centroids[assignments]).sum(dim=1), atol=1e-6)


def test_no_cluster_stays_empty() -> None:
    """Thirty equal rows and two others: the draw gives equal centroids, all but one empty."""
    rows = torch.cat([torch.eye(3)[:1].repeat(30, 1), torch.eye(3)[1:]])
    found = spherical_kmeans(rows, 3, 5, stream())
    assert found.assignments.bincount(minlength=3).min() > 0
    assert found.objective[-1] == pytest.approx(1.0)


def test_chunks_do_not_change_the_result(monkeypatch) -> None:
    rows = noise(100, 6)
    whole = spherical_kmeans(rows, 7, 5, stream())
    monkeypatch.setattr(clustering, "CHUNK_ROWS", 33)
    parts = spherical_kmeans(rows, 7, 5, stream())
    assert torch.equal(whole.assignments, parts.assignments)
    assert torch.allclose(whole.centroids, parts.centroids, atol=1e-6)


def test_same_generator_same_result_other_generator_other() -> None:
    rows = noise(100, 6)
    first, again, other = (spherical_kmeans(rows, 7, 5, stream(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.assignments, again.assignments)
    assert torch.equal(first.centroids, again.centroids)
    assert not torch.equal(first.assignments, other.assignments)


def test_cluster_bank_keeps_its_result_in_its_state() -> None:
    bank = ClusterBank(100, 7, 6)
    bank.refresh(noise(100, 6), 3, stream())
    assert torch.allclose(bank.centroids.norm(dim=1), torch.ones(7))
    assert set(bank.state_dict()) == {"centroids", "assignments", "prototype_entropy"}
    assert bank.prototype_entropy == cluster_entropy(bank.assignments, 7)
    assert not bank.centroids.requires_grad
    assert len(bank.assignments.unique()) == 7


@pytest.mark.parametrize("seed", range(4))
def test_euclidean_objective_never_falls(seed: int) -> None:
    rows = 3 * torch.randn(200, 8, generator=stream(seed))
    found = euclidean_kmeans(rows, 12, 10, stream(seed)).objective
    assert all(later >= earlier - 1e-5 for earlier, later in pairwise(found))
    assert found[-1] > found[0] + 0.01


def test_nearest_is_the_centroid_at_the_smallest_distance() -> None:
    rows, centroids = torch.randn(50, 4, generator=stream()), torch.randn(6, 4, generator=stream(1))
    fits, assignments = nearest(rows, centroids)
    distances = torch.stack([(rows - centroid).square().sum(dim=1) for centroid in centroids])
    assert torch.equal(assignments, distances.argmin(dim=0))
    assert torch.allclose(fits, -distances.min(dim=0).values / 2, atol=1e-5)


def test_blobs_on_one_ray_are_told_apart_by_distance_only() -> None:
    """All rows point the same way, which cosines cannot tell apart."""
    rows = torch.tensor([1.0, 5.0, 25.0]).repeat_interleave(20)[:, None] * torch.ones(60, 2)
    rows = rows + 0.1 * torch.randn(60, 2, generator=stream(3))
    best = max((euclidean_kmeans(rows, 3, 10, stream(seed)) for seed in range(10)),
               key=lambda found: found.objective[-1])  # fmt: skip
    groups = best.assignments.view(3, 20)
    assert all(len(set(group.tolist())) == 1 for group in groups)
    means = rows.view(3, 20, 2).mean(dim=1)
    assert torch.allclose(best.centroids[groups[:, 0]], means, atol=1e-5)


def test_no_euclidean_cluster_stays_empty() -> None:
    rows = torch.cat([torch.eye(3)[:1].repeat(30, 1), 4 * torch.eye(3)[1:]])
    found = euclidean_kmeans(rows, 3, 5, stream())
    assert found.assignments.bincount(minlength=3).min() > 0
    assert found.objective[-1] == pytest.approx(0.0, abs=1e-5)


def test_mutual_information_is_the_usual_one() -> None:
    from sklearn.metrics import normalized_mutual_info_score

    first = torch.randint(0, 5, (200,), generator=stream())
    second = torch.where(torch.rand(200, generator=stream(1)) < 0.5, first, (first + 2) % 7)
    expected = normalized_mutual_info_score(first.numpy(), second.numpy())
    assert float(mutual_information(first, second)) == pytest.approx(expected, abs=1e-9)
    assert float(mutual_information(first, 4 - first)) == pytest.approx(1.0)
    assert float(mutual_information(first, torch.zeros_like(first))) == pytest.approx(0.0)
    nothing = torch.zeros_like(first)
    assert float(mutual_information(nothing, nothing)) == pytest.approx(0.0)
