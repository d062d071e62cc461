"""Intervals against scipy.stats, and their promise to cover by simulation."""

import numpy as np
import pytest
from scipy import stats

from sslbench.evaluation.statistics import intervals
from sslbench.evaluation.statistics.intervals import (
    bootstrap_interval,
    interval_of,
    normal_interval,
    t_interval,
    wilson_interval,
)


@pytest.mark.parametrize("values", [[0.1, 0.5], [0.3, 0.31, 0.29, 0.35, 0.2]])
def test_t_interval_is_scipys(values):
    found = t_interval(values, 0.95)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert (found.kind, found.over) == ("t", f"{len(values)} seeds")


def test_t_interval_of_one_value_is_refused():
    with pytest.raises(ValueError, match="two values"):
        t_interval([0.5], 0.95)


def test_normal_interval_is_scipys():
    found = normal_interval(0.7, 0.02, 0.9)
    assert (found.low, found.high) == pytest.approx(stats.norm.interval(0.9, 0.7, 0.02))


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (911, 2000)])
def test_wilson_interval_is_scipys(hits, n):
    found = wilson_interval(hits / n, n, 0.95)
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_bootstrap_interval_is_scipys_and_the_same_each_time(monkeypatch):
    samples = np.random.default_rng(0).exponential(size=500)
    found = bootstrap_interval(samples, 0.9)
    assert found == bootstrap_interval(samples, 0.9)
    expected = stats.bootstrap(
        (samples,), np.mean, confidence_level=0.9, n_resamples=9999, method="percentile", rng=1
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.06 * width)
    assert found.high == pytest.approx(expected.high, abs=0.06 * width)
    monkeypatch.setattr(intervals, "_VALUES_AT_ONCE", 700)  # one draw at a time
    again = bootstrap_interval(samples, 0.9)
    assert (again.low, again.high) == (found.low, found.high)


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_t_interval_covers_what_it_promises(num_seeds):
    draws = np.random.default_rng(num_seeds).normal(0.6, 0.02, size=(4000, num_seeds))
    found = [t_interval(row, 0.95) for row in draws]
    assert 0.93 <= np.mean([one.low <= 0.6 <= one.high for one in found]) <= 0.97


@pytest.mark.parametrize("share", [0.1, 0.5, 0.93])
def test_wilson_interval_covers_what_it_promises(share):
    draws = np.random.default_rng(1).binomial(500, share, size=4000) / 500
    found = [wilson_interval(value, 500, 0.95) for value in draws]
    assert 0.93 <= np.mean([one.low <= share <= one.high for one in found]) <= 0.97


@pytest.mark.parametrize("shape", [0.5, 3.0])
def test_bootstrap_over_samples_covers_what_it_promises(shape):
    """Skewed values in [0, 1], as an average precision or an overlap is."""
    draws = np.random.default_rng(2).beta(shape, 2 * shape, size=(600, 500))
    found = [bootstrap_interval(row, 0.95, num_draws=400) for row in draws]
    assert 0.93 <= np.mean([one.low <= 1 / 3 <= one.high for one in found]) <= 0.97


def test_bootstrap_is_too_narrow_for_a_few_seeds():
    draws = np.random.default_rng(2).normal(size=(400, 3))
    found = [bootstrap_interval(row, 0.95, num_draws=400) for row in draws]
    assert np.mean([one.low <= 0 <= one.high for one in found]) < 0.85


def test_which_interval_a_result_gets():
    right = np.arange(100)[None] % 2 == 0
    assert interval_of([0.5], right, 0.95) == wilson_interval(0.5, 100, 0.95)
    overlaps = np.linspace(0, 1, 100, dtype=np.float32)[None]
    assert interval_of([0.5], overlaps, 0.95) == bootstrap_interval(overlaps[0], 0.95)
    assert interval_of([0.5], overlaps[:, :29], 0.95) is None
    assert interval_of([12.0], None, 0.95) is None
    assert interval_of([0.5], None, 0.95, 0.02) == normal_interval(0.5, 0.02, 0.95)
    assert interval_of([0.5], right, 0.95, 0.02) == wilson_interval(0.5, 100, 0.95)
    several = interval_of([0.5, 0.6, 0.7], np.repeat(right, 3, axis=0), 0.95)
    assert several == t_interval([0.5, 0.6, 0.7], 0.95)
