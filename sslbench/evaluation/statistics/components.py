"""Where a number's spread comes from: pretraining seeds, or draws of labels and probe seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Components:
    """Standard deviations of the parts of one value: one seed, one draw.

    Attributes:
        seeds: between pretraining seeds; None for one seed.
        draws: between draws, in common to all seeds, such as a label list that is hard for every
            seed; None for one seed.
        rest: between draws of one seed, beyond that.
        truncated: the parts among `seeds` and `draws` whose estimated variance was negative and
            is shown as 0: there is too little data to see them.
    """

    seeds: float | None
    draws: float | None
    rest: float
    truncated: tuple[str, ...]


def variance_components(values: Sequence[Sequence[float]]) -> Components | None:
    """Return the components of a balanced table of seeds by draws, or None if it is too small.

    Model: value of seed s at draw j = mean + a_s + b_j + e_sj, all random. The estimator equates
    the mean squares of the two-way analysis of variance with their expectations. Draws that have
    nothing in common between seeds come out in `rest`, and seeds are estimated right all the
    same; the one-way estimator would put label lists shared by all seeds against the seeds.

    Source: Searle, Casella and McCulloch 1992, Variance Components, chapter 4,
    https://doi.org/10.1002/9780470316856.

    Args:
        values: one row per seed with one value per draw, the same draws in the same order.
    """
    if len({len(row) for row in values}) != 1:
        return None
    table = np.array(values, np.float64)
    num_seeds, num_draws = table.shape
    if num_draws < 2:
        return None
    if num_seeds < 2:
        return Components(None, None, float(table.std(ddof=1)), ())
    mean, seeds, draws = table.mean(), table.mean(axis=1), table.mean(axis=0)
    rest = table - seeds[:, None] - draws + mean
    ms_rest = float(np.square(rest).sum()) / ((num_seeds - 1) * (num_draws - 1))
    found = {
        "seeds": float(seeds.var(ddof=1)) - ms_rest / num_draws,
        "draws": float(draws.var(ddof=1)) - ms_rest / num_seeds,
    }
    # Less than rounding is no negative estimate but none at all.
    truncated = tuple(name for name, variance in found.items() if variance < -1e-15)
    roots = {name: math.sqrt(max(variance, 0.0)) for name, variance in found.items()}
    return Components(roots["seeds"], roots["draws"], math.sqrt(ms_rest), truncated)
