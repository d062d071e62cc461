"""Intervals and tests against scipy.stats, and their promises by simulation."""

import numpy as np
import pytest
from scipy import stats

from sslbench.evaluation import statistics
from sslbench.evaluation.statistics import Interval


@pytest.mark.parametrize("values", [[0.1, 0.5], [0.3, 0.31, 0.29, 0.35, 0.2]])
def test_t_interval_is_scipys(values):
    found = statistics.t_interval(values, 0.95)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    assert (found.low, found.high, found.kind) == (pytest.approx(low), pytest.approx(high), "t")


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (911, 2000)])
def test_wilson_interval_is_scipys(hits, n):
    found = statistics.wilson_interval(hits / n, n, 0.95)
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_paired_t_test_is_scipys():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 6))
    expected = stats.ttest_rel(first, second).pvalue
    assert statistics.paired_t_test(first, second) == pytest.approx(expected)


def test_pairs_without_spread():
    assert statistics.paired_t_test([0.5, 0.6, 0.7], [0.4, 0.5, 0.6]) == 0.0
    assert statistics.paired_t_test([0.5, 0.6], [0.5, 0.6]) == 1.0


def test_holm_by_hand():
    # sorted .01 .02 .03 .04 times 4 3 2 1, then made monotone
    assert statistics.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert statistics.holm([]) == []


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_t_interval_covers_what_it_promises(num_seeds):
    draws = np.random.default_rng(num_seeds).normal(0.6, 0.02, size=(4000, num_seeds))
    intervals = [statistics.t_interval(row, 0.95) for row in draws]
    covered = np.mean([one.low <= 0.6 <= one.high for one in intervals])
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("share", [0.1, 0.5, 0.93])
def test_wilson_interval_covers_what_it_promises(share):
    draws = np.random.default_rng(1).binomial(500, share, size=4000) / 500
    intervals = [statistics.wilson_interval(value, 500, 0.95) for value in draws]
    covered = np.mean([one.low <= share <= one.high for one in intervals])
    assert 0.93 <= covered <= 0.97


def test_bootstrap_covers_with_many_seeds_and_not_with_three():
    def coverage(num_seeds):
        draws = np.random.default_rng(2).normal(size=(400, num_seeds))
        intervals = [
            statistics.bootstrap_interval(row, 0.95, num_draws=400, seed=0) for row in draws
        ]
        return np.mean([one.low <= 0 <= one.high for one in intervals])

    assert coverage(3) < 0.85
    assert coverage(40) > 0.90


def test_summary_of_one_seed_and_of_several():
    one = statistics.summarise([0.5], confidence=0.95, num_images=100)
    assert (one.std, one.num_seeds) == (None, 1)
    assert one.interval == statistics.wilson_interval(0.5, 100, 0.95)
    assert statistics.summarise([12.0], confidence=0.95).interval is None
    several = statistics.summarise([0.5, 0.6, 0.7], confidence=0.95, num_images=100)
    assert several.mean == pytest.approx(0.6)
    assert several.std == pytest.approx(0.1)
    assert several.interval is not None
    assert several.interval.kind == "t"


def runs(means, spread=0.001, num_seeds=5):
    rng = np.random.default_rng(4)
    shared = rng.normal(0, 0.05, num_seeds)  # seeds shift all methods alike: pairing removes it
    return {
        name: {seed: mean + shared[seed] + rng.normal(0, spread) for seed in range(num_seeds)}
        for name, mean in means.items()
    }


def test_rank_groups_tell_apart_what_pairing_can_tell_apart():
    values = runs({"best": 0.9, "same": 0.9, "worse": 0.85, "worst": 0.2})
    expected = {"best": 1, "same": 1, "worse": 2, "worst": 3}
    assert statistics.rank_groups(values, alpha=0.05, higher_is_better=True) == expected
    turned = statistics.rank_groups(values, alpha=0.05, higher_is_better=False)
    assert turned == {"worst": 1, "worse": 2, "best": 3, "same": 3}


def test_rank_groups_without_enough_seeds():
    values = {"one": {0: 0.9}, "a": {0: 0.5, 1: 0.5}, "b": {2: 0.1, 3: 0.1}}
    expected = {"one": None, "a": 1, "b": 1}  # a and b share no seeds, so nothing was shown
    assert statistics.rank_groups(values, alpha=0.05, higher_is_better=True) == expected
    assert statistics.rank_groups({}, alpha=0.05, higher_is_better=True) == {}


def test_equal_methods_are_seldom_split():
    rng = np.random.default_rng(5)
    split = 0
    for _ in range(300):
        draws = rng.normal(size=(5, 4))
        values = {f"m{i}": dict(enumerate(row)) for i, row in enumerate(draws)}
        groups = statistics.rank_groups(values, alpha=0.05, higher_is_better=True)
        split += max(groups.values()) > 1
    assert split / 300 <= 0.075  # 5 % promised, three standard errors allowed above the mean


def test_interval_is_a_value():
    assert Interval(0.1, 0.2, "t") == Interval(0.1, 0.2, "t")
