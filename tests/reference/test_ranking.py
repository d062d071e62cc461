"""Rank groups, Holm's correction, average ranks: against scipy, by hand, by simulation."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from sslbench.evaluation.statistics.blocks import _ranks, average_ranks, friedman
from sslbench.evaluation.statistics.paired import crossed_test, paired_t_test
from sslbench.evaluation.statistics.ranking import holm, rank_groups, told_from


def test_holm_by_hand():
    # sorted .01 .02 .03 .04 times 4 3 2 1, then made monotone
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def runs(means, spread=0.001, num_seeds=5):
    rng = np.random.default_rng(4)
    shared = rng.normal(0, 0.05, num_seeds)  # seeds shift all methods alike: pairing removes it
    return {name: mean + shared + rng.normal(0, spread, num_seeds) for name, mean in means.items()}


def groups(values, samples=None, *, higher_is_better=True):
    return rank_groups(values, samples, alpha=0.05, higher_is_better=higher_is_better)


def test_rank_groups_tell_apart_what_pairing_can_tell_apart():
    values = runs({"best": 0.9, "same": 0.9, "worse": 0.85, "worst": 0.2})
    found = groups(values)
    assert found.groups == {"best": 1, "same": 1, "worse": 2, "worst": 3}
    assert found.test == "paired t test over 5 seeds, on these test samples"
    turned = groups(values, higher_is_better=False).groups
    assert turned == {"worst": 1, "worse": 2, "best": 3, "same": 3}


def test_an_unsteady_method_does_not_rank_before_a_better_one():
    """The test cannot tell `noisy` from the leader, but `steady` above it is told apart."""
    values = {
        "leader": [0.90, 0.91, 0.92, 0.93], "steady": [0.85, 0.86, 0.87, 0.885],
        "noisy": [0.90, 0.10, 0.95, 0.50],
    }  # fmt: skip
    assert groups(values).groups == {"leader": 1, "steady": 2, "noisy": 2}


def right(rng, shares, num_seeds, num_samples=800, seed_effect=0.0):
    """Methods that are right on a share of samples, mostly the same ones."""
    ability = rng.uniform(size=num_samples)
    found = {}
    for name, share in shares.items():
        own = ability + rng.normal(0, 0.1, size=num_samples)
        noise = rng.normal(0, 0.1, size=(num_seeds, num_samples))
        found[name] = own + noise < share + seed_effect * rng.normal(size=(num_seeds, 1))
    return found


def means(samples):
    return {name: array.mean(axis=1).tolist() for name, array in samples.items()}


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_samples_tell_methods_apart_with_one_seed_or_several(num_seeds):
    shares = {"a": 0.7, "b": 0.7, "c": 0.5, "d": 0.3}
    samples = right(np.random.default_rng(1), shares, num_seeds)
    found = groups(means(samples), samples)
    assert found.groups == {"a": 1, "b": 1, "c": 2, "d": 3}
    said = {
        1: "McNemar's test over 800 test samples, of these very runs and not of other seeds",
        3: "paired test over 3 seeds and 800 test samples",
    }
    assert found.test == said[num_seeds]


def test_several_seeds_with_samples_are_tested_over_both():
    """Seeds alone tell them apart, on twenty samples that they all share."""
    samples = {"a": np.zeros((4, 20), bool), "b": np.zeros((4, 20), bool)}
    samples["a"][:, :12] = samples["b"][:, 10:] = True
    samples["a"][0, 0] = False
    assert paired_t_test(*means(samples).values()) < 0.01
    assert crossed_test(samples["a"], samples["b"]) > 0.1
    assert groups(means(samples), samples).groups == {"a": 1, "b": 1}


def test_one_seed_of_numbers_is_tested_over_samples():
    samples = {"a": np.linspace(0, 1, 60)[None], "b": np.linspace(0, 1, 60)[None] - 0.1}
    samples["c"] = samples["b"] + np.random.default_rng(0).normal(0, 0.2, size=60)
    found = groups(means(samples), samples)
    assert found.test.startswith("paired t test over 60 test samples, of these very runs")
    assert found.groups == {"a": 1, "b": 2, "c": 2}


def test_nothing_is_told_apart_without_seeds_or_samples():
    found = groups({"a": [0.9], "b": [0.1]})
    assert found.groups == {"a": None, "b": None}
    assert found.test == "no test: one seed, and no results of single samples"
    one = {"a": np.ones((1, 1)), "b": np.zeros((1, 1))}
    assert groups({"a": [1.0], "b": [0.0]}, one).groups == {"a": None, "b": None}
    assert groups({}).groups == {}


def test_equal_methods_are_seldom_split():
    rng = np.random.default_rng(5)
    found = [
        groups({name: rng.normal(size=4) for name in "abcde"}).groups.values() for _ in range(300)
    ]
    assert np.mean([max(one) > 1 for one in found]) <= 0.075  # 5 %, and the error of 300 runs


@pytest.mark.parametrize("seed_effect", [0.0, 0.03, 0.1])
def test_equal_methods_are_seldom_split_by_seeds_and_samples(seed_effect):
    rng = np.random.default_rng(6)
    split = 0
    for _ in range(400):
        samples = right(rng, dict.fromkeys("abcde", 0.6), 3, 300, seed_effect)
        split += max(groups(means(samples), samples).groups.values()) > 1
    assert split / 400 <= 0.07


def ranks_of(scores):
    """One score per method in each data set."""
    blocks = len(next(iter(scores.values()), ()))
    return average_ranks(
        {str(b): {name: [row[b]] for name, row in scores.items()} for b in range(blocks)}, 0.05
    )


@pytest.mark.parametrize("seed", range(4))
def test_average_ranks_and_friedman_are_scipys(seed):
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 6, size=(9, 5)) + 0.0 if seed % 2 else rng.normal(size=(9, 5))
    expected = stats.rankdata(-table, axis=1)
    assert np.array([_ranks(row) for row in table]) == pytest.approx(expected)
    assert friedman(expected) == pytest.approx(stats.friedmanchisquare(*table.T).pvalue)
    names = "abcde"
    found = ranks_of(dict(zip(names, table.T, strict=True)))
    assert found.p_value == pytest.approx(stats.friedmanchisquare(*table.T).pvalue)
    assert found.ranks == pytest.approx(dict(zip(names, expected.mean(axis=0), strict=True)))
    assert list(found.ranks.values()) == sorted(found.ranks.values())
    assert found.num_blocks == 9


def test_all_equal_is_one_clique():
    found = ranks_of({name: [0.5, 0.4, 0.3] for name in "abc"})
    assert found.p_value == 1.0
    assert found.ranks == {"a": 2.0, "b": 2.0, "c": 2.0}
    assert found.cliques == [("a", "b", "c")]


def test_too_few_blocks_or_methods_give_no_picture():
    assert ranks_of({name: [0.5, 0.4] for name in "abc"}) is None
    assert ranks_of({name: [0.5, 0.4, 0.3] for name in "ab"}) is None
    assert average_ranks({}, 0.05) is None


def test_cliques_are_maximal_and_may_overlap():
    """Five methods in one fixed order on 20 blocks: neighbours alone are not told apart."""
    scores = {name: np.full(20, -float(place)) for place, name in enumerate("abcde")}
    found = ranks_of(scores)
    # A step of one rank has z = 1 / sqrt(5 6 / 120) = 2: with Holm over ten pairs not enough.
    assert found.cliques == [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e")]
    apart = ranks_of({name: np.repeat(row, 20) for name, row in scores.items()})
    assert apart.cliques == []


def test_bars_join_those_pairs_that_the_test_does_not_tell_apart_and_no_others():
    """Also where one data set has many protocols, whose blocks would order methods otherwise."""
    rng = np.random.default_rng(11)
    names, split = "abcde", 0
    for _ in range(300):
        level = rng.normal(scale=0.8, size=5)
        sets = [rng.normal(level + rng.normal(scale=0.5, size=5), 0.3, (3, 5)) for _ in range(12)]
        source = rng.normal(level + rng.normal(size=5), 0.4, (36, 5))
        tables = [*sets, source]
        scores = {str(i): dict(zip(names, t.T, strict=True)) for i, t in enumerate(tables)}
        found = average_ranks(scores, 0.05)
        error = np.sqrt(5 * 6 / (6 * len(tables)))
        pairs = list(combinations(found.ranks, 2))
        z = [(found.ranks[a] - found.ranks[b]) / error for a, b in pairs]
        adjusted = holm(2 * stats.norm.sf(np.abs(z)))
        alike = {
            pair
            for pair, p in zip(pairs, adjusted, strict=True)
            if p > 0.05 or found.p_value > 0.05
        }
        joined = {pair for clique in found.cliques for pair in combinations(clique, 2)}
        assert joined == alike
        split += alike != set(pairs)
    assert split > 200  # most of these reports tell some pair apart


def test_no_pair_is_told_apart_where_friedmans_test_tells_nothing():
    """First and last differ by 14 ranks in 17 data sets: alone, after Holm, that is p = 0.049."""
    order = np.array([3.0, 2.0, 1.0])
    found = ranks_of(dict(zip("abc", np.array([order] * 12 + [-order] * 5).T, strict=True)))
    difference = found.ranks["c"] - found.ranks["a"]
    assert 3 * 2 * stats.norm.sf(difference / np.sqrt(3 * 4 / (6 * 17))) < 0.05 < found.p_value
    assert found.cliques == [("a", "b", "c")]


def test_methods_that_are_alike_are_seldom_told_apart():
    rng = np.random.default_rng(6)
    tables = rng.normal(size=(600, 4, 12))
    found = [ranks_of(dict(zip("abcd", table, strict=True))) for table in tables]
    assert np.mean([one.cliques != [tuple(one.ranks)] for one in found]) <= 0.07


def test_protocols_and_seeds_of_one_data_set_are_no_blocks_of_a_test():
    scores = {"scenes": {name: [0.1, 0.2, 0.3, 0.4] for name in "abc"}}
    found = average_ranks({**scores, "digits": scores["scenes"]}, 0.05)
    assert (found.num_blocks, found.num_datasets) == (8, 2)
    assert (found.p_value, found.cliques) == (None, ())


def test_equal_methods_are_seldom_told_apart_by_many_protocols_of_the_same_runs():
    """Eleven protocols and three seeds a data set: as blocks of their own they split every other.

    Four fifths of the variance of a method's score on a data set is common to its protocols.
    """
    rng = np.random.default_rng(8)
    found, pooled = [], []
    for _ in range(400):
        own = rng.normal(size=(6, 3, 1, 1)) * 2 + rng.normal(size=(6, 3, 11, 3))
        tables = [dict(zip("abc", part.reshape(3, -1), strict=True)) for part in own]
        test = average_ranks(dict(zip("012345", tables, strict=True)), 0.05)
        found.append(test.cliques != [tuple(test.ranks)])
        pooled.append(friedman(np.array([_ranks(row) for row in own[0].reshape(3, -1).T])) <= 0.05)
    assert np.mean(found) <= 0.08
    assert np.mean(pooled) > 0.4


def test_told_from_is_holms_over_the_others_and_not_over_all_pairs():
    rng = np.random.default_rng(2)
    samples = right(rng, {"floor": 0.5, "a": 0.55, "b": 0.62, "c": 0.5}, 3)
    adjusted = holm([crossed_test(samples[name], samples["floor"]) for name in "abc"])
    expected = {name for name, p in zip("abc", adjusted, strict=True) if p <= 0.05}
    assert "b" in expected
    assert "c" not in expected
    assert told_from("floor", means(samples), samples, alpha=0.05) == expected
    assert told_from("floor", {name: [0.5] for name in samples}, None, alpha=0.05) == frozenset()


def test_told_from_corrects_for_as_many_tests_as_it_makes():
    seeds = np.arange(-2.0, 3)
    values = {"floor": np.zeros(5), "a": seeds + 3.2, "b": seeds + 2.4, "c": seeds}
    p = {name: paired_t_test(values[name], values["floor"]) for name in "abc"}
    assert 3 * p["a"] <= 0.05 < 6 * p["a"], "of three tests, not of the six of all pairs"
    assert p["b"] <= 0.05 < 2 * p["b"], "of three tests, not of one"
    assert told_from("floor", values, None, alpha=0.05) == {"a"}
