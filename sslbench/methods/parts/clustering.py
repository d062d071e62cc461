"""K-means over a bank of rows, by cosine or by distance: chunked, deterministic, nothing empty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslbench.objectives.entropy import cluster_entropy

CHUNK_ROWS = 8192  # bounds the (rows, clusters) table of similarities held at once


@dataclass(frozen=True)
class Clustering:
    """A result of k-means.

    Attributes:
        centroids: (num_clusters, dim), unit rows if spherical.
        assignments: (num_rows,) the cluster of each row.
        objective: mean fit of rows and centroids after each assignment, their cosine or half
            their squared distance below 0; it never falls.
    """

    centroids: Tensor
    assignments: Tensor
    objective: list[float]


class ClusterBank(nn.Module):
    """The centroids and assignments of one clustering, kept in persistent buffers.

    Attributes:
        prototype_entropy: how evenly the clusters share the rows, in [0, 1]; a scalar.
    """

    centroids: Tensor
    assignments: Tensor
    prototype_entropy: Tensor

    def __init__(self, num_samples: int, num_clusters: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("centroids", torch.zeros(num_clusters, dim))
        self.register_buffer("assignments", torch.zeros(num_samples, dtype=torch.int64))
        self.register_buffer("prototype_entropy", torch.zeros(()))

    def refresh(self, rows: Tensor, iterations: int, generator: torch.Generator) -> None:
        """Cluster (num_samples, dim) unit rows anew."""
        result = spherical_kmeans(rows, len(self.centroids), iterations, generator)
        self.centroids.copy_(result.centroids)
        self.assignments.copy_(result.assignments)
        self.prototype_entropy.copy_(cluster_entropy(result.assignments, len(self.centroids)))


def spherical_kmeans(
    rows: Tensor, num_clusters: int, iterations: int, generator: torch.Generator
) -> Clustering:
    """Cluster unit rows by cosine, from centroids drawn among the rows.

    An empty cluster takes over the row that its own centroid fits worst, so every cluster has a
    member as long as there are enough distinct rows.

    Args:
        rows: (num_rows, dim), unit length.
        num_clusters: at most num_rows.
        iterations: number of centroid updates.
        generator: draws the initial centroids.
    """
    return _kmeans(rows, num_clusters, iterations, generator, (assign, _directions))


def euclidean_kmeans(
    rows: Tensor, num_clusters: int, iterations: int, generator: torch.Generator
) -> Clustering:
    """Cluster rows of any length by distance; arguments and repair as in `spherical_kmeans`."""
    return _kmeans(rows, num_clusters, iterations, generator, (nearest, _means))


def assign(rows: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's largest cosine (num_rows,) and the centroid it belongs to (num_rows,)."""
    found = [(chunk @ centroids.T).max(dim=1) for chunk in _chunks(rows)]
    return torch.cat([best.values for best in found]), torch.cat([best.indices for best in found])


def nearest(rows: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Return half each row's smallest squared distance, negated, and that centroid; (num_rows,)."""
    # -|x - c|^2 / 2 = x . c - |c|^2 / 2 - |x|^2 / 2, the last term alike for all centroids
    half = centroids.square().sum(dim=1) / 2
    found = [(chunk @ centroids.T - half).max(dim=1) for chunk in _chunks(rows)]
    best = torch.cat([part.values for part in found]) - rows.square().sum(dim=1) / 2
    return best, torch.cat([part.indices for part in found])


def mutual_information(first: Tensor, second: Tensor) -> Tensor:
    """Return the mutual information of two clusterings over the mean of their entropies, in [0, 1].

    1 where they agree up to the clusters' names, 0 where one says nothing of the other.

    Args:
        first: (num_rows,) cluster of each row.
        second: (num_rows,) likewise.
    """
    size = int(torch.maximum(first.max(), second.max())) + 1
    joint = (first * size + second).bincount(minlength=size**2).double() / len(first)
    joint = joint.view(size, size)
    entropies = [torch.special.entr(part).sum() for part in (joint.sum(0), joint.sum(1), joint)]
    shared = entropies[0] + entropies[1] - entropies[2]
    share: Tensor = 2 * shared / (entropies[0] + entropies[1]).clamp_min(1e-12)
    return share.clamp_min(0.0)


_Fit = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
_Centre = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def _kmeans(
    rows: Tensor,
    num_clusters: int,
    iterations: int,
    generator: torch.Generator,
    geometry: tuple[_Fit, _Centre],
) -> Clustering:
    """Alternate between fitting rows to centroids and centring centroids in their rows."""
    fit, centre = geometry
    rows = rows.float()
    drawn = torch.randperm(len(rows), generator=generator, device=generator.device)
    centroids = rows[drawn[:num_clusters].to(rows.device)]
    fits, assignments = fit(rows, centroids)
    objective = [fits.mean().item()]
    for _ in range(iterations):
        centroids = centre(*_sums(rows, assignments, fits, num_clusters))
        fits, assignments = fit(rows, centroids)
        objective.append(fits.mean().item())
    return Clustering(centroids, assignments, objective)


def _sums(
    rows: Tensor, assignments: Tensor, fits: Tensor, num_clusters: int
) -> tuple[Tensor, Tensor]:
    """Return every cluster's sum of rows and its size; empty clusters take worst-fitted rows."""
    sums = rows.new_zeros(num_clusters, rows.shape[1])
    counts = rows.new_zeros(num_clusters)
    for chunk, own in zip(_chunks(rows), _chunks(assignments), strict=True):
        members = functional.one_hot(own, num_clusters).to(rows.dtype)
        sums += members.T @ chunk  # a product, not index_add_: deterministic on a GPU too
        counts += members.sum(dim=0)
    empty = (counts == 0).nonzero().flatten()
    sums[empty] = rows[fits.argsort(stable=True)[: len(empty)]]
    return sums, counts.clamp_min(1.0)


def _directions(sums: Tensor, counts: Tensor) -> Tensor:
    del counts
    return functional.normalize(sums, dim=1)


def _means(sums: Tensor, counts: Tensor) -> Tensor:
    return sums / counts[:, None]


def _chunks(rows: Tensor) -> list[Tensor]:
    return [rows[start : start + CHUNK_ROWS] for start in range(0, len(rows), CHUNK_ROWS)]
