"""Entropies of soft clusters, in nats: they tell the two ways of collapsing apart."""

from __future__ import annotations

import torch
from torch import Tensor


def entropy(probabilities: Tensor) -> Tensor:
    """Return the mean entropy of rows (..., num_prototypes).

    Zero where each row is one prototype, the log of their number where rows are uniform.
    """
    mean: Tensor = torch.special.entr(probabilities).sum(dim=-1).mean()
    return mean


@torch.no_grad()
def entropies(targets: Tensor, predictions: Tensor) -> dict[str, Tensor]:
    """Return the health figures of a teacher's targets and a student's predictions.

    A teacher entropy at the log of num_prototypes says that every image gets all prototypes; an
    entropy of the mean prediction near 0, that every image gets the same one.

    Args:
        targets: (rows, num_prototypes) probabilities.
        predictions: (other rows, num_prototypes) probabilities.
    """
    return {
        "teacher_entropy": entropy(targets),
        "student_entropy": entropy(predictions),
        "mean_entropy": entropy(predictions.mean(dim=0)),
    }
