"""What MoCo v1 and v2 share: keys by a slow encoder, contrasted with a queue of past keys."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sslbench.methods.base import Progress, StepOutput
from sslbench.methods.parts.device_groups import in_groups, in_shuffled_groups
from sslbench.methods.parts.queue import Queue
from sslbench.methods.parts.teacher import Teacher
from sslbench.objectives.info_nce import accuracy, info_nce, queue_cosines
from sslbench.objectives.precision import in_float32


@dataclass(frozen=True, kw_only=True)
class ContrastParams:
    """Numbers of momentum contrast.

    Attributes:
        queue_size: past keys that serve as negatives.
        temperature: divides the cosines.
        teacher_momentum: of the encoder of keys, constant.
        num_groups: groups of a batch with batch norm statistics of their own; 1 switches the
            guard off, which suits networks without batch norm only.
    """

    queue_size: int
    temperature: float
    teacher_momentum: float
    num_groups: int

    def __post_init__(self) -> None:
        """Refuse an empty queue and no group."""
        for name in ("queue_size", "num_groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")


class MomentumContrast(nn.Module):
    """InfoNCE of queries, their own keys and a queue of past keys (arXiv 1911.05722, eq. 1).

    Keys of the current batch enter the queue after the loss, so none is a negative of its own
    image's query, nor of its neighbours'.
    """

    def __init__(self, *students: nn.Module, output_dim: int, params: ContrastParams) -> None:
        super().__init__()
        self.teacher = Teacher(*students, momentum=params.teacher_momentum, momentum_rises=False)
        self.queue = Queue(params.queue_size, output_dim)
        self.temperature = params.temperature
        self.num_groups = params.num_groups
        self._students = students  # a tuple hides them from nn.Module

    def update(self, progress: Progress) -> None:
        """Move the encoder of keys."""
        self.teacher.update(progress)

    def forward(self, queried: Tensor, keyed: Tensor, generator: torch.Generator) -> StepOutput:
        """Return the loss of two views, each (batch, channel, height, width)."""
        queries = in_groups(self._query, queried, self.num_groups)
        keys = in_shuffled_groups(self.teacher, keyed, self.num_groups, generator)
        cosines = in_float32(queue_cosines, queries, keys, self.queue.rows)
        own = torch.zeros(len(cosines), dtype=torch.int64, device=cosines.device)
        parts = {"accuracy": accuracy(cosines, own), "queue_noise": self.queue.noise_share()}
        self.queue.push(keys)
        return StepOutput(info_nce(cosines, own, self.temperature), parts)

    def _query(self, images: Tensor) -> Tensor:
        """Return queries (batch, output_dim)."""
        for student in self._students:
            images = student(images)
        return images
