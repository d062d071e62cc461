"""Distillation: a student's classes follow a teacher's.

Source: Hinton et al. 2015, https://arxiv.org/abs/1503.02531, as in SimCLR v2, Chen et al. 2020,
https://arxiv.org/abs/2006.10029, eq. 2.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the mean of -sum_y P_teacher(y) log P_student(y), P = softmax(logits / temperature).

    Its least value is the teacher's entropy; what it lies above that is their KL divergence.

    Args:
        student: (batch, num_classes) logits.
        teacher: (batch, num_classes) logits.
        temperature: divides both.
    """
    targets = (teacher / temperature).softmax(dim=1)
    return functional.cross_entropy(student / temperature, targets)
