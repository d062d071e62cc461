"""Paired tests against scipy and brute force, and how often they reject what is true."""

import math

import numpy as np
import pytest
from scipy import stats

from sslbench.evaluation.statistics.paired import crossed_test, mcnemar_test, paired_t_test


def test_paired_t_test_is_scipys():
    first, second = np.random.default_rng(0).normal(size=(2, 6))
    expected = stats.ttest_rel(first, second).pvalue
    assert paired_t_test(first, second) == pytest.approx(expected)


def test_pairs_without_spread():
    assert paired_t_test([0.5, 0.6, 0.7], [0.4, 0.5, 0.6]) == 0.25, "the sign test's"
    assert paired_t_test([0.5, 0.6], [0.5, 0.6]) == 1.0
    with pytest.raises(ValueError, match="two pairs"):
        paired_t_test([0.5], [0.5])


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 1), (3, 3), (4, 5), (1, 12), (40, 90)])
def test_mcnemar_is_the_binomial_test_less_half_of_what_was_seen(b, c):
    first = np.array([True] * b + [False] * c + [True, False] * 5)
    second = np.array([False] * b + [True] * c + [True, False] * 5)
    expected = 1.0
    if b != c:  # two tails, each with half of its first term
        exact = stats.binomtest(min(b, c), b + c).pvalue
        expected = exact - stats.binom.pmf(min(b, c), b + c, 0.5)
    assert mcnemar_test(first, second) == pytest.approx(expected)
    assert mcnemar_test(second, first) == pytest.approx(expected)


def test_mcnemar_of_many_samples_does_not_overflow():
    first = np.arange(100_000) < 52_000
    assert 0 < mcnemar_test(first, ~first) < 1e-30


def brute_force(first, second):
    """The quantities of the docstring, term by term."""
    d = first.astype(float) - second.astype(float)
    seeds, samples = range(len(d)), range(len(d[0]))
    n, m = len(d), len(d[0])
    mean = sum(d[s][i] for s in seeds for i in samples) / (n * m)
    of_seed = [sum(d[s][i] for i in samples) / m for s in seeds]
    of_sample = [sum(d[s][i] for s in seeds) / n for i in samples]
    ms_seeds = m * sum((value - mean) ** 2 for value in of_seed) / (n - 1)
    ms_samples = n * sum((value - mean) ** 2 for value in of_sample) / (m - 1)
    rests = (d[s][i] - of_seed[s] - of_sample[i] + mean for s in seeds for i in samples)
    ms_rest = sum(value**2 for value in rests) / ((n - 1) * (m - 1))
    more = max(ms_samples - ms_rest, 0)
    ms_seeds += 1 / (12 * m)  # what a share of m can be told apart
    if n == 2:
        ms_seeds = max(ms_seeds, ms_rest)
    return abs(mean) / math.sqrt((ms_seeds + more) / (n * m)), ms_seeds / (ms_seeds + more)


@pytest.mark.parametrize("seed", range(6))
def test_crossed_test_is_the_brute_force_statistic_at_cochran_and_coxs_quantile(seed):
    rng = np.random.default_rng(seed)
    num_seeds, num_samples = 2 + seed % 3, 30
    ability = rng.normal(size=num_samples)
    first = ability + rng.normal(size=(num_seeds, num_samples)) > 0
    second = ability + rng.normal(size=(num_seeds, num_samples)) > 0.4
    p = crossed_test(first, second)
    t, share = brute_force(first, second)
    few, many = (stats.t.isf(p / 2, n - 1) for n in (num_seeds, num_samples))
    assert share * few + (1 - share) * many == pytest.approx(t, rel=1e-6)
    assert crossed_test(second, first) == pytest.approx(p)


def test_two_seeds_that_agree_vary_as_much_as_the_rest():
    """Both are right on a third of the samples, each on others."""
    first, second = np.zeros((2, 2, 12), bool)
    first[0, :4] = first[1, 2:6] = True
    t, share = brute_force(first, second)
    few, many = (stats.t.isf(crossed_test(first, second) / 2, n - 1) for n in (2, 12))
    assert share * few + (1 - share) * many == pytest.approx(t, rel=1e-6)


def test_crossed_test_has_both_t_tests_as_limits():
    rng = np.random.default_rng(3)
    difference = rng.normal(0.2, 1, size=40)
    agreeing = np.repeat(difference[None], 3, axis=0)  # seeds add nothing
    expected = stats.ttest_1samp(difference, 0).pvalue
    assert crossed_test(agreeing, np.zeros((3, 40))) == pytest.approx(expected)
    shifts = np.array([0.1, 0.5, 0.2])[:, None]
    alike = shifts + np.array([1.0, -1.0] * 20) * shifts  # samples add nothing in common
    alike -= alike.mean(axis=0) - alike.mean()
    expected = stats.ttest_1samp(alike.mean(axis=1), 0).pvalue
    assert crossed_test(alike, np.zeros((3, 40))) == pytest.approx(expected)


def test_crossed_test_without_spread():
    same = np.ones((3, 5), bool)
    assert crossed_test(same, same) == 1.0
    assert 1e-4 < crossed_test(same, ~same) < 1e-2, "three seeds that agree on five samples"
    assert crossed_test(same + 0.0, ~same + 0.0) == 0.25, "numbers have no step: the sign test"
    certain = np.repeat(np.arange(4000)[None] % 50 > 0, 3, axis=0)
    assert 0 <= crossed_test(certain, ~certain) < 1e-9
    with pytest.raises(ValueError, match="two seeds"):
        crossed_test(same[:1], same[:1])


def alike(rng, num_seeds, num_samples, *, seed_effect, sample_effect):
    """Right or wrong of two methods that are equally good on average over seeds and samples."""
    ability = rng.normal(size=num_samples)
    for _ in range(2):
        own = ability + sample_effect * rng.normal(size=num_samples)
        shift = seed_effect * rng.normal(size=(num_seeds, 1))
        yield own + shift + 0.5 * rng.normal(size=(num_seeds, num_samples)) > -0.3


def rejections(test, num_runs, *arguments, **effects):
    rng = np.random.default_rng(7)
    return np.mean([test(*alike(rng, *arguments, **effects)) <= 0.05 for _ in range(num_runs)])


@pytest.mark.slow
@pytest.mark.parametrize("seed_effect", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("sample_effect", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("num_seeds", "least"), [(2, 0.0), (3, 0.015), (5, 0.03)])
def test_crossed_test_rejects_true_nulls_as_seldom_as_promised(
    num_seeds, least, seed_effect, sample_effect
):
    """Near 5 %; conservative where seeds and samples both matter, and with two seeds."""
    effects = {"seed_effect": seed_effect, "sample_effect": sample_effect}
    found = rejections(crossed_test, 2500, num_seeds, 400, **effects)
    assert least <= found <= 0.06


def test_one_more_right_in_each_of_three_seeds_is_no_proof():
    """Another image each time; without a step's variance the seeds agree, and p would be 0."""
    first, second = np.ones((2, 3, 500), bool)
    first[0, 7] = second[0, [7, 8]] = second[1, 20] = second[2, 30] = False
    assert 0.01 < crossed_test(first, second) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("num_samples", "wrong"), [(100, 0.03), (360, 0.01), (540, 0.01)])
def test_crossed_test_keeps_its_promise_on_nearly_solved_sets_however_small_the_level(
    num_samples, wrong
):
    """Holm asks for .05 / 21 of the smallest p of seven methods; seeds agree by chance there."""
    rng = np.random.default_rng(11)
    found = []
    for _ in range(6000):
        ability = rng.normal(size=num_samples)
        pair = ability + rng.normal(size=(2, 3, num_samples)) > stats.norm.ppf(wrong) * math.sqrt(2)
        found.append(crossed_test(*pair))
    assert np.mean(np.array(found) <= 0.05) <= 0.055
    assert np.mean(np.array(found) <= 0.05 / 21) <= 0.0024 + 3 * math.sqrt(0.0024 / 6000)


def test_what_the_crossed_test_is_for():
    """Each simpler test rejects far too often once it meets the other source of variation."""

    def over_seeds(first, second):
        return paired_t_test(first.mean(axis=1), second.mean(axis=1))

    def pooled(first, second):
        return mcnemar_test(first.ravel(), second.ravel())

    samples_vary = {"seed_effect": 0.0, "sample_effect": 1.0}
    seeds_vary = {"seed_effect": 0.3, "sample_effect": 0.0}
    assert rejections(over_seeds, 500, 3, 400, **samples_vary) > 0.12
    assert rejections(pooled, 500, 3, 400, **seeds_vary) > 0.2
    assert rejections(pooled, 500, 3, 400, **samples_vary) > 0.12


@pytest.mark.parametrize("sample_effect", [0.0, 0.3, 1.0])
def test_mcnemar_rejects_true_nulls_as_often_as_promised(sample_effect):
    def one_seed(first, second):
        return mcnemar_test(first[0], second[0])

    effects = {"seed_effect": 0.0, "sample_effect": sample_effect}
    assert 0.04 <= rejections(one_seed, 4000, 1, 500, **effects) <= 0.06


def test_mcnemar_speaks_of_these_runs_only():
    """One seed cannot know how much another would have differed."""

    def one_seed(first, second):
        return mcnemar_test(first[0], second[0])

    assert rejections(one_seed, 1000, 1, 500, seed_effect=0.2, sample_effect=0.0) > 0.2


def test_a_difference_that_is_there_is_found_with_three_seeds():
    """At the levels that Holm's correction asks for: seeds alone have 2 degrees of freedom."""
    rng = np.random.default_rng(5)
    found, over_seeds = [], []
    for _ in range(300):
        ability = rng.normal(size=1000)
        first, second = (
            ability + rng.normal(size=1000) + 0.5 * rng.normal(size=(3, 1000)) > level
            for level in (0.0, 0.3)
        )
        found.append(crossed_test(first, second))
        over_seeds.append(paired_t_test(first.mean(axis=1), second.mean(axis=1)))
    assert np.mean(np.array(found) <= 0.001) > 1.5 * np.mean(np.array(over_seeds) <= 0.001)
