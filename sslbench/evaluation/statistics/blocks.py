"""Methods over many blocks (a data set, a protocol, a seed): average ranks, who differs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sslbench.evaluation.statistics.ranking import compare

LEAST_BLOCKS = LEAST_METHODS = 3


@dataclass(frozen=True)
class AverageRanks:
    """What a critical-difference picture shows.

    Attributes:
        ranks: method -> rank averaged over blocks, 1 the best; best first.
        num_blocks: how many blocks there are.
        p_value: of Friedman's test that all methods are alike.
        cliques: the largest sets of neighbours in rank that are not told apart, two methods or
            more each, best first.
    """

    ranks: Mapping[str, float]
    num_blocks: int
    p_value: float
    cliques: Sequence[tuple[str, ...]]


def average_ranks(scores: Mapping[str, Sequence[float]], alpha: float) -> AverageRanks | None:
    """Return the average ranks, or None for fewer than 3 blocks or 3 methods.

    Pairs are told apart by the difference of their average ranks, which under the null hypothesis
    is normal with variance k (k + 1) / (6 N) for k methods and N blocks, with Holm's correction
    over all pairs (more powerful than Nemenyi's single critical difference, at the same promise),
    and only where Friedman's test rejects that all are alike. The promise holds for independent
    blocks.

    Sources: Demsar 2006, https://jmlr.org/papers/v7/demsar06a.html; Garcia and Herrera 2008, for
    Holm over all pairs, https://jmlr.org/papers/v9/garcia08a.html.

    Args:
        scores: method -> one score per block, in the same order of blocks; higher is better.
        alpha: the level of the tests.
    """
    from scipy.special import ndtr

    matrix = np.array(list(scores.values()), np.float64).T
    if len(scores) < LEAST_METHODS or len(matrix) < LEAST_BLOCKS:
        return None
    ranks = np.array([_ranks(row) for row in matrix])
    means = dict(zip(scores, ranks.mean(axis=0).tolist(), strict=True))
    ordered = dict(sorted(means.items(), key=lambda pair: (pair[1], pair[0])))
    p_value = friedman(ranks)
    error = math.sqrt(len(scores) * (len(scores) + 1) / (6 * len(matrix)))
    pairs = compare(ordered, lambda a, b: float(2 * ndtr(-abs(ordered[a] - ordered[b]) / error)))
    apart = {pair for pair, p in pairs.items() if p <= alpha and p_value <= alpha}
    return AverageRanks(ordered, len(matrix), p_value, _cliques(list(ordered), apart))


def _ranks(row: np.ndarray) -> np.ndarray:
    """Return ranks of (num_methods,) scores, 1 for the highest; equals share their mean rank."""
    above = np.sum(row[None, :] > row[:, None], axis=1)
    equal = np.sum(row[None, :] == row[:, None], axis=1)
    return np.asarray(above + (equal + 1) / 2)


def friedman(ranks: np.ndarray) -> float:
    """Return the p value of Friedman's test, corrected for ties, of (num_blocks, num_methods)."""
    from scipy.special import chdtrc

    num_blocks, num_methods = ranks.shape
    middle = (num_methods + 1) / 2
    between = num_blocks * float(np.square(ranks.mean(axis=0) - middle).sum())
    within = float(np.square(ranks - middle).sum()) / (num_blocks * (num_methods - 1))
    return float(chdtrc(num_methods - 1, between / within)) if within else 1.0


def _cliques(names: Sequence[str], apart: set[tuple[str, str]]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    reached = 0
    for start, first in enumerate(names):
        end = start + 1
        while end < len(names) and (first, names[end]) not in apart:
            end += 1
        if end - start > 1 and end > reached:  # else it lies within the one before
            found.append(tuple(names[start:end]))
        reached = max(reached, end)
    return found
