"""The slow half of a student/teacher pair: an exponential moving average without gradient."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sslbench.methods.base import Progress


def cosine_momentum(start: float, progress: Progress) -> float:
    """Return the teacher's momentum: `start` at step 0, rising to 1 along a half cosine.

    Source: BYOL, https://arxiv.org/abs/2006.07733, section 3.3 (its tau).
    """
    return 1.0 - (1.0 - start) * (math.cos(math.pi * progress.fraction) + 1.0) / 2.0


class Teacher(nn.Module):
    """A copy of one or more chained student modules that follows them slowly.

    The teacher equals its students at step 0, gets no gradient, and is saved with the method.
    The students are referred to, not registered, so that state_dict holds them once.

    Attributes:
        network: the copies, applied one after another.
        momentum: share of the teacher kept at step 0.
        momentum_rises: True lets it rise to 1 along a half cosine (BYOL, MoCo v3), False keeps it
            as it is (MoCo v1 and v2).
        uses_batch_statistics: True keeps the teacher in the method's own mode, so its batch norms
            use batch statistics while training and its running buffers drift on their own (BYOL,
            MoCo). False keeps it in eval mode (no dropout, no drop path) and averages its
            buffers like parameters.
    """

    def __init__(
        self,
        *students: nn.Module,
        momentum: float,
        momentum_rises: bool = True,
        uses_batch_statistics: bool = True,
    ) -> None:
        super().__init__()
        self.network = nn.Sequential(*(twin(student) for student in students))
        self.network.requires_grad_(False)
        self.momentum = momentum
        self.momentum_rises = momentum_rises
        self.uses_batch_statistics = uses_batch_statistics
        self._students = tuple(students)  # a tuple hides them from nn.Module
        self.train(self.training)

    def __getitem__(self, position: int) -> nn.Module:
        """Return the copy of one student, by its position."""
        return self.network[position]

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Return the network's output, without gradient."""
        outputs: Tensor = self.network(inputs)
        return outputs

    def train(self, mode: bool = True) -> Teacher:
        """Follow the method's mode only if batch statistics are wanted."""
        super().train(mode and self.uses_batch_statistics)
        return self

    @torch.no_grad()
    def update(self, progress: Progress) -> None:
        """Move the teacher towards the students: teacher = m * teacher + (1 - m) * student."""
        rises = self.momentum_rises
        step = 1.0 - (cosine_momentum(self.momentum, progress) if rises else self.momentum)
        _lerp(self.network.parameters(), self._chain("parameters"), step)
        if not self.uses_batch_statistics:
            _lerp(self.network.buffers(), self._chain("buffers"), step)

    def _chain(self, what: str) -> list[Tensor]:
        return [tensor for student in self._students for tensor in getattr(student, what)()]


def twin(student: nn.Module) -> nn.Module:
    """Return an independent copy of a module with equal parameters and buffers.

    Old-style weight norm (lightly's DINO heads) caches its product as a non-leaf tensor, which
    copy.deepcopy refuses; the cache is detached first, as the next forward pass recomputes it.
    """
    for module in student.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor) and not value.is_leaf:
                module.__dict__[name] = value.detach()
    made: nn.Module = copy.deepcopy(student)
    made.load_state_dict(student.state_dict())
    return made


def _lerp(slow: Iterable[Tensor], fast: Iterable[Tensor], step: float) -> None:
    """Move the slow tensors towards the fast ones in place; integers (counters) are copied."""
    pairs = list(zip(slow, fast, strict=True))
    floats: list[Any] = [pair for pair in pairs if pair[0].is_floating_point()]
    for target, source in pairs:
        if not target.is_floating_point():
            target.copy_(source)
    if floats:
        targets, sources = zip(*floats, strict=True)
        torch._foreach_lerp_(targets, sources, step)
