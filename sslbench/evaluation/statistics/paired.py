"""Two methods on the same seeds and the same test samples: how likely is a difference by chance.

Which test fits hangs on what was recorded:

    seeds and samples   `crossed_test`: speaks of other seeds and of other test samples
    several seeds       `paired_t_test` over seeds: speaks of other seeds on these test samples
    one seed, samples   `mcnemar_test` (right or wrong) or `paired_t_test` over samples (numbers):
                        speaks of these very runs on other test samples
    one seed            nothing
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def crossed_test(first: np.ndarray, second: np.ndarray) -> float:
    """Return the two-sided p value for two methods run on the same seeds and the same samples.

    Model: the difference of seed s at sample i is d + a_s + b_i + e_si with random seeds and
    random samples; the null hypothesis is d = 0. A test over the seeds' means alone takes these
    test samples for the whole world, McNemar's test on pooled seeds takes these pretrainings for
    the only ones, and a bootstrap over three seeds is much too narrow. Radiology has the same
    design (two scanners, a few readers, many cases) and estimates the variance of the mean
    difference from the mean squares of a two-way analysis of variance:

        (MS_seeds + c) / (num_seeds num_samples),    c = max(MS_samples - MS_rest, 0).

    The t value is held against a quantile between those of num_seeds - 1 and of num_samples - 1
    degrees of freedom, weighted by the two terms. Where samples add nothing (c = 0) this is the
    paired t test over seeds; where all seeds agree, the one over samples. Two seeds agree too
    often by chance, so for them MS_seeds counts as MS_rest at least, its expectation without
    any effect of seeds.

    Sources: Dorfman, Berbaum and Metz 1992, https://doi.org/10.1097/00004424-199209000-00015, and
    Hillis 2007, https://doi.org/10.1002/sim.2532, for the variance; Cochran and Cox 1950,
    Experimental Designs, section 4.14, for the quantile. Hillis takes Satterthwaite's degrees of
    freedom instead, which with three seeds rejects true null hypotheses at up to 8 % where 5 %
    are promised. This test keeps to 3 to 5.5 % with three seeds or five and below 2 % with two, at
    60 % right of 400; where 1 to 3 % of 100 to 540 are wrong it is conservative (all simulated in
    tests/reference/test_paired.py). The variance of a step is Sheppard's (1898).

    Args:
        first: (num_seeds, num_samples) results of one method; two seeds and samples or more.
        second: the same of the other, in the same order.

    Raises:
        ValueError: other shapes.
    """
    differences = np.subtract(first, second, dtype=np.float64)
    if differences.ndim != 2 or min(differences.shape) < 2:
        raise ValueError(f"two seeds and two samples at least, found {differences.shape}")
    num_seeds, num_samples = differences.shape
    mean = float(differences.mean())
    ms_seeds, ms_samples, ms_rest = _mean_squares(differences)
    by_samples = max(ms_samples - ms_rest, 0.0)
    if np.result_type(first, second) == np.bool_:
        ms_seeds += 1 / (12 * num_samples)
    if num_seeds == 2:
        ms_seeds = max(ms_seeds, ms_rest)
    error = math.sqrt((ms_seeds + by_samples) / differences.size)
    if _is_nothing(error, mean):
        return _without_spread(mean, num_seeds)
    share = ms_seeds / (ms_seeds + by_samples)
    return _weighted_p_value(abs(mean) / error, share, num_seeds - 1, num_samples - 1)


def _mean_squares(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean squares of a two-way analysis of variance: seeds, samples, rest."""
    num_seeds, num_samples = values.shape
    ms_seeds = num_samples * float(values.mean(1).var(ddof=1))
    ms_samples = num_seeds * float(values.mean(0).var(ddof=1))
    total = float(np.square(values - values.mean()).sum())
    rest = total - (num_seeds - 1) * ms_seeds - (num_samples - 1) * ms_samples
    return ms_seeds, ms_samples, rest / ((num_seeds - 1) * (num_samples - 1))


def _weighted_p_value(t: float, share: float, few: int, many: int) -> float:
    """Return the p at which `share` of one t quantile and the rest of the other make up t."""
    from scipy.special import stdtr, stdtrit

    ends = (max(float(2 * stdtr(freedom, -t)), 1e-300) for freedom in (few, many))
    low, high = sorted(ends)
    while high > low * (1 + 1e-6):
        p = math.sqrt(low) * math.sqrt(high)
        quantile = -share * stdtrit(few, p / 2) - (1 - share) * stdtrit(many, p / 2)
        low, high = (p, high) if quantile > t else (low, p)
    return high


def paired_t_test(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p value of a paired t test on two or more pairs.

    Pairs that all differ by the same amount give the sign test's 2^(1 - n), for no spread tells how
    large a difference chance could have made; pairs that do not differ give 1.

    Raises:
        ValueError: fewer than two pairs.
    """
    from scipy.special import stdtr

    differences = np.subtract(first, second, dtype=np.float64)
    n = len(differences)
    if n < 2:
        raise ValueError("a paired t test needs two pairs or more")
    mean, error = float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(n)
    if _is_nothing(error, mean):
        return _without_spread(mean, n)
    return float(2 * stdtr(n - 1, -abs(mean) / error))


def _is_nothing(error: float, mean: float) -> bool:
    # Rounding leaves a spread of some 1e-17 where there is none.
    return error <= 1e-12 * max(1.0, abs(mean))


def _without_spread(mean: float, num_pairs: int) -> float:
    """Return the sign test's p value of pairs with one and the same difference."""
    return 2.0 ** (1 - num_pairs) if abs(mean) > 1e-12 else 1.0


def mcnemar_test(first: np.ndarray, second: np.ndarray) -> float:
    """Return the two-sided mid-p value of McNemar's exact test on (num_samples,) right or wrong.

    Of the samples on which one method alone is right, each has it by a fair coin. The mid-p value
    counts half the probability of what was seen; the plain exact value, which counts all of it,
    keeps well below its level for nothing.

    Source: Fagerland, Lydersen and Laake 2013, https://doi.org/10.1186/1471-2288-13-91.
    """
    from scipy.special import bdtr, gammaln

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant, fewer = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:  # nothing lies further out; bdtr would count the middle twice
        return 1.0
    log_seen = gammaln(discordant + 1) - gammaln(fewer + 1) - gammaln(discordant - fewer + 1)
    seen = math.exp(float(log_seen) - discordant * math.log(2))
    return float(2 * bdtr(fewer, discordant, 0.5)) - seen
