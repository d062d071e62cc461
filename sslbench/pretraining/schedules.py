"""Schedules as pure functions of progress."""

from __future__ import annotations

import math

from sslbench.methods.base import Progress


def cosine_with_warmup(progress: Progress, warmup_fraction: float) -> float:
    """Return the factor on the learning rate, in (0, 1].

    Rises linearly over the first `warmup_fraction` of all steps, never starting at 0, then falls
    along half a cosine that would reach 0 one step after the last (Loshchilov and Hutter 2017,
    https://arxiv.org/abs/1608.03983, without restarts).
    """
    warmup_steps = int(warmup_fraction * progress.total_steps)
    if progress.step < warmup_steps:
        return (progress.step + 1) / (warmup_steps + 1)
    remaining = (progress.step - warmup_steps) / max(1, progress.total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, remaining)))
