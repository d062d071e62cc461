"""Methods over many blocks (a data set, a protocol, a seed): average ranks, who differs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sslbench.evaluation.statistics.ranking import compare

LEAST_BLOCKS = LEAST_METHODS = LEAST_DATASETS = 3


@dataclass(frozen=True)
class AverageRanks:
    """What a critical-difference picture shows.

    Attributes:
        ranks: method -> average rank, 1 the best; best first. With a test, over data sets, the
            ranks that it compares; without one, over blocks.
        num_blocks: how many blocks there are.
        num_datasets: how many data sets they are of.
        p_value: of Friedman's test over data sets that all methods are alike; None with fewer
            than 3.
        cliques: the largest sets of neighbours in rank that are not told apart, two methods or
            more each, best first; none without a test.
    """

    ranks: Mapping[str, float]
    num_blocks: int
    num_datasets: int
    p_value: float | None
    cliques: Sequence[tuple[str, ...]]


def average_ranks(
    scores: Mapping[str, Mapping[str, Sequence[float]]], alpha: float
) -> AverageRanks | None:
    """Return the average ranks, or None for fewer than 3 blocks or 3 methods.

    The test's blocks are data sets: protocols and seeds on one data set share its samples and its
    runs, and taken for blocks of their own they reject a true null hypothesis in half of all cases
    (simulated in tests/reference/test_ranking.py). In each data set methods are ranked by their
    mean rank over its protocols and seeds. Pairs are told apart by the difference of these ranks,
    averaged, which under the null hypothesis is normal with variance k (k + 1) / (6 N) for k
    methods and N data sets, with Holm's correction over all pairs (more powerful than Nemenyi's
    single critical difference, at the same promise), and only where Friedman's test rejects that
    all are alike. It speaks of other data sets, with these pretraining runs.

    Sources: Demsar 2006, https://jmlr.org/papers/v7/demsar06a.html; Garcia and Herrera 2008, for
    Holm over all pairs, https://jmlr.org/papers/v9/garcia08a.html.

    Args:
        scores: data set -> method -> one score per block (a protocol and a seed), in the same
            order of blocks; higher is better.
        alpha: the level of the tests.
    """
    names = list(next(iter(scores.values()), {}))
    ranks = [_ranks_of_blocks([columns[name] for name in names]) for columns in scores.values()]
    every = np.concatenate(ranks) if names else np.zeros((0, 0))
    if len(names) < LEAST_METHODS or len(every) < LEAST_BLOCKS:
        return None
    if len(ranks) < LEAST_DATASETS:
        return AverageRanks(_best_first(names, every), len(every), len(ranks), None, ())
    of_datasets = np.array([_ranks(-part.mean(axis=0)) for part in ranks])
    # In this order a pair's p value falls with its distance, so that neighbours make the cliques.
    ordered = _best_first(names, of_datasets)
    p_value = friedman(of_datasets)
    apart = _told_apart(ordered, len(ranks), alpha) if p_value <= alpha else set()
    cliques = _cliques(list(ordered), apart)
    return AverageRanks(ordered, len(every), len(ranks), p_value, cliques)


def _ranks_of_blocks(scores: Sequence[Sequence[float]]) -> np.ndarray:
    """Return (num_blocks, num_methods) ranks of (num_methods, num_blocks) scores."""
    return np.array([_ranks(row) for row in np.array(scores, np.float64).T])


def _best_first(names: Sequence[str], ranks: np.ndarray) -> dict[str, float]:
    """Return the mean of (num_rows, num_methods) ranks by method; of equals, by name."""
    means = zip(names, ranks.mean(axis=0).tolist(), strict=True)
    return dict(sorted(means, key=lambda pair: (pair[1], pair[0])))


def _told_apart(
    means: Mapping[str, float], num_datasets: int, alpha: float
) -> set[tuple[str, str]]:
    """Return the pairs, in both orders, whose mean ranks over data sets differ significantly."""
    from scipy.special import ndtr

    error = math.sqrt(len(means) * (len(means) + 1) / (6 * num_datasets))
    pairs = compare(means, lambda a, b: float(2 * ndtr(-abs(means[a] - means[b]) / error)))
    return {pair for pair, p in pairs.items() if p <= alpha}


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
