"""Which methods of a column differ: tests of all pairs, Holm's correction, rank groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, takewhile

import numpy as np

from sslbench.evaluation.statistics.paired import crossed_test, mcnemar_test, paired_t_test


@dataclass(frozen=True)
class Ranking:
    """The rank groups of one column.

    Attributes:
        groups: method -> its group, 1 the best; None where nothing could be tested.
        test: which test told them apart, and of what it speaks.
    """

    groups: Mapping[str, int | None]
    test: str


def rank_groups(
    values: Mapping[str, Sequence[float]],
    samples: Mapping[str, np.ndarray] | None,
    *,
    alpha: float,
    higher_is_better: bool,
) -> Ranking:
    """Return each method's rank group.

    The method with the best mean leads group 1, and those that follow by their means join it, down
    to the first that differs from the leader significantly (adjusted p <= alpha, see `compare`).
    That one leads group 2, and so on. So:

    - groups follow the means: nobody ranks before a method with a better mean;
    - the leader of a later group is significantly worse than the leader of the one before it;
    - below such a leader a method may not differ from the one before it, since its own seeds
      vary more: groups speak of their leaders only.

    Args:
        values: method -> one value per seed, of the same seeds in the same order.
        samples: method -> (num_seeds, num_samples) bool or float whose means over samples are
            the values, of the same samples in the same order; None where a value is no mean.
        alpha: the chance to split any methods of the column that do not differ.
        higher_is_better: which way is better.
    """
    pairwise, test = _choose_test(values, samples)
    if pairwise is None:
        return Ranking(dict.fromkeys(values), test)
    p_values = compare(values, pairwise)
    sign = -1.0 if higher_is_better else 1.0
    left = sorted(values, key=lambda name: (sign * float(np.mean(values[name])), name))
    groups: dict[str, int | None] = dict.fromkeys(values)
    number = 0
    while left:
        number += 1
        members = _alike(left, p_values, alpha)
        groups.update(dict.fromkeys(members, number))
        left = left[len(members) :]
    return Ranking(groups, test)


def told_from(
    reference: str,
    values: Mapping[str, Sequence[float]],
    samples: Mapping[str, np.ndarray] | None,
    *,
    alpha: float,
) -> frozenset[str]:
    """Return the methods that differ significantly from one, by Holm's correction over them.

    Args:
        reference: the method that all others are held against.
        values: as `rank_groups` takes them, the reference's among them.
        samples: as `rank_groups` takes them.
        alpha: the chance to name any method that does not differ.
    """
    pairwise, _ = _choose_test(values, samples)
    others = [name for name in values if name != reference]
    if pairwise is None:
        return frozenset()
    adjusted = holm([pairwise(name, reference) for name in others])
    return frozenset(name for name, p in zip(others, adjusted, strict=True) if p <= alpha)


def _alike(
    order: Sequence[str], p_values: Mapping[tuple[str, str], float], alpha: float
) -> list[str]:
    """Return the first of some methods, and those after it down to the first that differs."""
    leader, *rest = order
    return [leader, *takewhile(lambda name: p_values[name, leader] > alpha, rest)]


def _choose_test(
    values: Mapping[str, Sequence[float]], samples: Mapping[str, np.ndarray] | None
) -> tuple[Callable[[str, str], float] | None, str]:
    """Return the p value of two methods by name, or None without a test, and the test's name."""
    num_seeds = min(map(len, values.values()), default=0)
    if samples is None or not all(array.shape[1] > 1 for array in samples.values()):
        if num_seeds < 2:
            return None, "no test: one seed, and no results of single samples"
        name = f"paired t test over {num_seeds} seeds, on these test samples"
        return lambda a, b: paired_t_test(values[a], values[b]), name
    num_samples = min(array.shape[1] for array in samples.values())
    if num_seeds >= 2:
        name = f"paired test over {num_seeds} seeds and {num_samples} test samples"
        return lambda a, b: crossed_test(samples[a], samples[b]), name
    over = f"over {num_samples} test samples, of these very runs and not of other seeds"
    if all(array.dtype == np.bool_ for array in samples.values()):
        return lambda a, b: mcnemar_test(samples[a][0], samples[b][0]), f"McNemar's test {over}"
    return lambda a, b: paired_t_test(samples[a][0], samples[b][0]), f"paired t test {over}"


def compare(
    names: Sequence[str] | Mapping[str, object], pairwise: Callable[[str, str], float]
) -> dict[tuple[str, str], float]:
    """Return Holm-adjusted p values of all pairs of names, under both orders of a pair.

    The correction covers all pairs, because which method leads is itself read from the data.
    """
    pairs = list(combinations(names, 2))
    adjusted = holm([pairwise(first, second) for first, second in pairs])
    found = dict(zip(pairs, adjusted, strict=True))
    return found | {(second, first): p for (first, second), p in found.items()}


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p values in the given order (Holm 1979): reject where <= alpha."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(order))
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = highest
    return [float(value) for value in adjusted]
