"""Confidence intervals of a result: over seeds where there are several, else over test samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

NUM_DRAWS = 2000  # of a bootstrap: its ends then move by about a hundredth of the width
LEAST_SAMPLES = 30  # a bootstrap over fewer is too narrow
_VALUES_AT_ONCE = 2_000_000  # bounds the memory of a bootstrap to some tens of MB


@dataclass(frozen=True)
class Interval:
    """A confidence interval and what it speaks of.

    Attributes:
        low: lower end, in the unit of the values.
        high: upper end.
        kind: `t` (over seeds); `Wilson`, `bootstrap` or `normal` (over test samples, one seed).
        over: what varies, such as `3 seeds` or `2000 test samples, one seed`.
    """

    low: float
    high: float
    kind: Literal["t", "Wilson", "bootstrap", "normal"]
    over: str


def interval_of(
    values: Sequence[float],
    samples: np.ndarray | None,
    confidence: float,
    standard_error: float | None = None,
) -> Interval | None:
    """Return the interval of a result, or None where nothing can be said.

    Several seeds: Student's t over seeds. One seed: Wilson's interval where the value is a share
    of test samples that are right, a bootstrap over test samples where it is another mean of
    theirs and there are `LEAST_SAMPLES`. Where no samples were kept, the normal one if its standard
    error is known. None in all other cases.

    Args:
        values: one per seed.
        samples: (num_seeds, num_samples) bool or float, whose means over samples are the values.
        confidence: such as 0.95.
        standard_error: of a single seed's value over test samples, by a bootstrap.
    """
    if len(values) >= 2:
        return t_interval(values, confidence)
    if samples is None and standard_error is not None:
        return normal_interval(values[0], standard_error, confidence)
    if samples is None:
        return None
    if samples.dtype == np.bool_:
        return wilson_interval(float(samples[0].mean()), len(samples[0]), confidence)
    if len(samples[0]) < LEAST_SAMPLES:
        return None
    return bootstrap_interval(samples[0], confidence)


def t_interval(values: Sequence[float], confidence: float) -> Interval:
    """Return Student's interval of the mean of two or more seeds; it may leave [0, 1].

    Raises:
        ValueError: fewer than two values.
    """
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        raise ValueError("a t interval needs two values or more")
    quantile = float(stdtrit(n - 1, 0.5 + confidence / 2))
    half = quantile * float(np.std(values, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(values))
    return Interval(mean - half, mean + half, "t", f"{n} seeds")


def wilson_interval(share: float, num_samples: int, confidence: float) -> Interval:
    """Return Wilson's score interval of a share of independent samples.

    Source: Wilson 1927; Brown, Cai and DasGupta 2001, https://doi.org/10.1214/ss/1009213286.
    """
    from scipy.special import ndtri

    z = float(ndtri(0.5 + confidence / 2))
    shrink = 1 + z * z / num_samples
    centre = (share + z * z / (2 * num_samples)) / shrink
    spread = share * (1 - share) / num_samples + (z / (2 * num_samples)) ** 2
    half = z * math.sqrt(spread) / shrink
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Interval(low, high, "Wilson", f"{num_samples} test samples, one seed")


def normal_interval(value: float, standard_error: float, confidence: float) -> Interval:
    """Return the normal quantile's number of standard errors to either side; may leave [0, 1].

    Source: Efron and Tibshirani 1993, chapter 12.
    """
    from scipy.special import ndtri

    half = float(ndtri(0.5 + confidence / 2)) * standard_error
    over = "test samples (a bootstrap's standard error), one seed"
    return Interval(value - half, value + half, "normal", over)


def bootstrap_interval(
    samples: np.ndarray, confidence: float, *, num_draws: int = NUM_DRAWS, seed: int = 0
) -> Interval:
    """Return the percentile bootstrap interval of a mean over test samples.

    Source: Efron and Tibshirani 1993, chapter 13, https://doi.org/10.1201/9780429246593. Not for
    a few seeds, where it is much too narrow (a test shows it): there the tables use t.

    Args:
        samples: (num_samples,) values.
        confidence: such as 0.95.
        num_draws: how many times the samples are drawn again.
        seed: of the draws, so that a report has the same bytes each time.
    """
    rng = np.random.default_rng(seed)
    values = np.asarray(samples, np.float64)
    rows = max(1, _VALUES_AT_ONCE // len(values))
    means = [
        values[rng.integers(len(values), size=(min(rows, num_draws - done), len(values)))].mean(1)
        for done in range(0, num_draws, rows)
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    over = f"{len(values)} test samples, one seed"
    return Interval(float(low), float(high), "bootstrap", over)
