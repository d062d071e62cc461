"""Intervals and comparisons over seeds; scipy.special is imported where it is needed.

What varies: a cell is one seed of one method, and a result is the mean over seeds. Intervals
speak of the seeds that could have been drawn (t), or, where there is one seed, of the test images
that could have been drawn (Wilson); the two answer different questions and carry their names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A confidence interval and what it speaks of.

    Attributes:
        low: lower end, in the unit of the values.
        high: upper end.
        kind: `t` (over seeds), `wilson` (over test images, one seed) or `bootstrap` (over seeds).
    """

    low: float
    high: float
    kind: str


@dataclass(frozen=True)
class Summary:
    """A result over seeds.

    Attributes:
        mean: over the seeds.
        std: over the seeds, with num_seeds - 1 in the denominator; None for one seed.
        num_seeds: how many values there are.
        interval: None where one seed's number is no proportion, so that nothing can be said.
    """

    mean: float
    std: float | None
    num_seeds: int
    interval: Interval | None


def summarise(
    values: Sequence[float], *, confidence: float, num_images: int | None = None
) -> Summary:
    """Return the mean over seeds and its interval: t, or Wilson's for one seed of a proportion.

    Args:
        values: one per seed.
        confidence: such as 0.95.
        num_images: how many test images a value is the share of; None if it is no proportion.
    """
    mean = float(np.mean(values))
    if len(values) >= 2:
        std = float(np.std(values, ddof=1))
        return Summary(mean, std, len(values), t_interval(values, confidence))
    one = wilson_interval(mean, num_images, confidence) if num_images else None
    return Summary(mean, None, 1, one)


def t_interval(values: Sequence[float], confidence: float) -> Interval:
    """Return Student's interval of the mean of two or more values; it may leave [0, 1]."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        raise ValueError("a t interval needs two values or more")
    quantile = float(stdtrit(n - 1, 0.5 + confidence / 2))
    half = quantile * float(np.std(values, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(values))
    return Interval(mean - half, mean + half, "t")


def wilson_interval(share: float, num_images: int, confidence: float) -> Interval:
    """Return Wilson's score interval of a share of independent images.

    Source: Wilson 1927; Brown, Cai and DasGupta 2001, https://doi.org/10.1214/ss/1009213286.
    """
    from scipy.special import ndtri

    z = float(ndtri(0.5 + confidence / 2))
    shrink = 1 + z * z / num_images
    centre = (share + z * z / (2 * num_images)) / shrink
    spread = share * (1 - share) / num_images + (z / (2 * num_images)) ** 2
    half = z * math.sqrt(spread) / shrink
    return Interval(max(0.0, centre - half), min(1.0, centre + half), "wilson")


def bootstrap_interval(
    values: Sequence[float], confidence: float, *, num_draws: int, seed: int
) -> Interval:
    """Return the percentile bootstrap interval of the mean.

    For a check with ten seeds or more: with fewer it is much too narrow (a test shows it), which
    is why the tables use t.
    """
    draws = np.random.default_rng(seed).choice(values, (num_draws, len(values))).mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(float(low), float(high), "bootstrap")


def paired_t_test(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p value of a paired t test on two or more pairs.

    Pairs that all differ by the same amount give 0, and pairs that do not differ give 1.
    """
    from scipy.special import stdtr

    differences = np.subtract(first, second)
    n = len(differences)
    if n < 2:
        raise ValueError("a paired t test needs two pairs or more")
    mean, std = float(differences.mean()), float(differences.std(ddof=1))
    if std <= 1e-12 * max(1.0, abs(mean)):
        return 0.0 if abs(mean) > 1e-12 else 1.0
    return float(2 * stdtr(n - 1, -abs(mean) / (std / math.sqrt(n))))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p values in the given order (Holm 1979): reject where <= alpha."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(order))
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = highest
    return [float(value) for value in adjusted]


def compare(values: Mapping[str, Mapping[int, float]]) -> dict[tuple[str, str], float]:
    """Return Holm-adjusted p values of all pairs of methods, each paired on its common seeds.

    The correction covers all pairs, because which method leads is itself read from the data.
    Pairs with fewer than two common seeds cannot be tested and are left out.

    Args:
        values: method -> seed -> value.
    """
    tested: dict[tuple[str, str], float] = {}
    for first, second in combinations(sorted(values), 2):
        seeds = sorted(set(values[first]) & set(values[second]))
        if len(seeds) >= 2:
            pairs = [(values[first][seed], values[second][seed]) for seed in seeds]
            tested[first, second] = paired_t_test(*zip(*pairs, strict=True))
    return dict(zip(tested, holm(list(tested.values())), strict=True))


def rank_groups(
    values: Mapping[str, Mapping[int, float]], *, alpha: float, higher_is_better: bool
) -> dict[str, int | None]:
    """Return each method's rank group, 1 the best.

    The method with the best mean leads group 1, and every method that does not differ from the
    leader significantly (paired t test on the common seeds, Holm over all pairs of methods,
    adjusted p > alpha) joins it. Of the methods left, the best leads group 2, and so on. So:

    - a method in a later group is significantly worse than the leader of every group before it;
    - two methods of one group may differ from one another, and a method may well not differ from
      some of an earlier group: groups speak of their leaders only;
    - methods that share no two seeds with the leader are not told apart from it;
    - a method with fewer than two seeds has no group (None) and leads none.
    """
    ranked = {name: runs for name, runs in values.items() if len(runs) >= 2}
    p_values = compare(ranked)
    sign = -1.0 if higher_is_better else 1.0
    means = {name: sign * float(np.mean(list(runs.values()))) for name, runs in ranked.items()}
    left = sorted(ranked, key=lambda name: (means[name], name))
    groups: dict[str, int | None] = dict.fromkeys(values)
    number = 0
    while left:
        number += 1
        leader = left[0]
        members = [
            name for name in left if p_values.get((min(name, leader), max(name, leader)), 1) > alpha
        ]
        groups.update(dict.fromkeys(members, number))
        left = [name for name in left if name not in members]
    return groups
