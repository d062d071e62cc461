"""Entropies over prototypes or clusters, in [0, 1]: they tell the two ways of collapsing apart.

Each is a share of the largest there is, the log of the number of prototypes, so that methods with
few and with many compare.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def entropy(probabilities: Tensor) -> Tensor:
    """Return the mean entropy of rows (..., num_prototypes), as a share of log num_prototypes.

    0 where each row is one prototype, 1 where rows are uniform.
    """
    largest = math.log(max(2, probabilities.shape[-1]))  # a lone prototype has entropy 0
    share: Tensor = torch.special.entr(probabilities.float()).sum(dim=-1).mean() / largest
    return share.clamp_max(1.0)  # uniform rows may round to more


@torch.no_grad()
def prototype_entropy(assignments: Tensor) -> Tensor:
    """Return the entropy of the mean row: 1 all prototypes used alike, 0 one gets every image.

    Args:
        assignments: (..., rows, num_prototypes) probabilities; hard ones reach log(rows) /
            log(num_prototypes) at most, which is below 1 for a batch smaller than the prototypes.
    """
    return entropy(assignments.float().mean(dim=-2))


def cluster_entropy(clusters: Tensor, num_clusters: int) -> Tensor:
    """Return the prototype entropy of hard assignments, the cluster (num_rows,) of each row."""
    return entropy(clusters.bincount(minlength=num_clusters) / len(clusters))


@torch.no_grad()
def entropies(targets: Tensor, predictions: Tensor) -> dict[str, Tensor]:
    """Return the health figures of a teacher's targets and a student's predictions.

    A teacher entropy of 1 says that every image gets all prototypes; a prototype entropy near 0,
    that every image gets the same one.

    Args:
        targets: (rows, num_prototypes) probabilities.
        predictions: (other rows, num_prototypes) probabilities.
    """
    return {
        "teacher_entropy": entropy(targets),
        "student_entropy": entropy(predictions),
        "prototype_entropy": prototype_entropy(predictions),
    }
