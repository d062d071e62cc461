"""Spherical k-means over a bank of unit rows: chunked, deterministic, no empty clusters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

CHUNK_ROWS = 8192  # bounds the (rows, clusters) table of similarities held at once


@dataclass(frozen=True)
class Clustering:
    """A result of k-means.

    Attributes:
        centroids: (num_clusters, dim), unit rows.
        assignments: (num_rows,) the cluster of each row.
        objective: mean cosine of rows and centroids after each assignment; it never falls.
    """

    centroids: Tensor
    assignments: Tensor
    objective: list[float]


class ClusterBank(nn.Module):
    """The centroids and assignments of one clustering, kept in persistent buffers."""

    centroids: Tensor
    assignments: Tensor

    def __init__(self, num_samples: int, num_clusters: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("centroids", torch.zeros(num_clusters, dim))
        self.register_buffer("assignments", torch.zeros(num_samples, dtype=torch.int64))

    def refresh(self, rows: Tensor, iterations: int, generator: torch.Generator) -> None:
        """Cluster (num_samples, dim) unit rows anew."""
        result = spherical_kmeans(rows, len(self.centroids), iterations, generator)
        self.centroids.copy_(result.centroids)
        self.assignments.copy_(result.assignments)


@torch.no_grad()
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
    rows = rows.float()
    drawn = torch.randperm(len(rows), generator=generator, device=generator.device)
    centroids = rows[drawn[:num_clusters].to(rows.device)]
    cosines, assignments = assign(rows, centroids)
    objective = [cosines.mean().item()]
    for _ in range(iterations):
        centroids = _update(rows, assignments, cosines, num_clusters)
        cosines, assignments = assign(rows, centroids)
        objective.append(cosines.mean().item())
    return Clustering(centroids, assignments, objective)


def assign(rows: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's largest cosine (num_rows,) and the centroid it belongs to (num_rows,)."""
    found = [(chunk @ centroids.T).max(dim=1) for chunk in _chunks(rows)]
    return torch.cat([best.values for best in found]), torch.cat([best.indices for best in found])


def _update(rows: Tensor, assignments: Tensor, cosines: Tensor, num_clusters: int) -> Tensor:
    """Return the unit sum of every cluster's rows; empty clusters take the worst-fitted rows."""
    sums = rows.new_zeros(num_clusters, rows.shape[1])
    counts = rows.new_zeros(num_clusters)
    for chunk, own in zip(_chunks(rows), _chunks(assignments), strict=True):
        members = functional.one_hot(own, num_clusters).to(rows.dtype)
        sums += members.T @ chunk  # a product, not index_add_: deterministic on a GPU too
        counts += members.sum(dim=0)
    empty = (counts == 0).nonzero().flatten()
    sums[empty] = rows[cosines.argsort(stable=True)[: len(empty)]]
    return functional.normalize(sums, dim=1)


def _chunks(rows: Tensor) -> list[Tensor]:
    return [rows[start : start + CHUNK_ROWS] for start in range(0, len(rows), CHUNK_ROWS)]
