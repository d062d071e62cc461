"""Variance components against a brute-force formula and against what was put in."""

import numpy as np
import pytest

from sslbench.evaluation.statistics.components import Components, variance_components


def table(rng, num_seeds, num_draws, seeds, draws, rest):
    return (
        0.6
        + seeds * rng.normal(size=(num_seeds, 1))
        + draws * rng.normal(size=num_draws)
        + rest * rng.normal(size=(num_seeds, num_draws))
    )


def brute_force(values):
    """Mean squares from sums of squares of totals, as in textbooks before computers."""
    a, b = len(values), len(values[0])
    total = sum(map(sum, values))
    correction = total**2 / (a * b)
    by_row = sum(sum(row) ** 2 for row in values) / b - correction
    by_column = sum(sum(column) ** 2 for column in zip(*values, strict=True)) / a - correction
    rest = sum(value**2 for row in values for value in row) - correction - by_row - by_column
    ms_rest = rest / ((a - 1) * (b - 1))
    return (by_row / (a - 1) - ms_rest) / b, (by_column / (b - 1) - ms_rest) / a, ms_rest


@pytest.mark.parametrize("seed", range(5))
def test_components_are_those_of_the_brute_force_formula(seed):
    values = table(np.random.default_rng(seed), 3, 5, 0.05, 0.02, 0.01).tolist()
    found = variance_components(values)
    expected = [np.sqrt(max(variance, 0)) for variance in brute_force(values)]
    assert [found.seeds, found.draws, found.rest] == pytest.approx(expected, abs=1e-7)


def test_components_are_what_was_put_in():
    rng = np.random.default_rng(0)
    found = variance_components(table(rng, 300, 300, 0.05, 0.02, 0.03))
    assert [found.seeds, found.draws, found.rest] == pytest.approx([0.05, 0.02, 0.03], rel=0.1)
    assert found.truncated == ()


def test_the_estimator_is_unbiased_for_shared_and_for_separate_draws():
    """Label lists shared by all seeds go to `draws`, draws of each seed alone to `rest`."""
    rng = np.random.default_rng(1)
    shared = np.mean([brute_force(table(rng, 3, 5, 0.05, 0.02, 0.0)) for _ in range(3000)], axis=0)
    assert shared == pytest.approx([0.05**2, 0.02**2, 0.0], rel=0.1, abs=1e-5)
    apart = np.mean([brute_force(table(rng, 3, 5, 0.05, 0.0, 0.02)) for _ in range(3000)], axis=0)
    assert apart == pytest.approx([0.05**2, 0.0, 0.02**2], rel=0.1, abs=1e-5)


def test_a_negative_estimate_is_nought_and_said():
    # Seeds have equal means though draws differ: less than chance would give.
    found = variance_components([[0.1, 0.3], [0.3, 0.1]])
    assert (found.seeds, found.draws) == (0.0, 0.0)
    assert found.truncated == ("seeds", "draws")


def test_equal_values_have_no_spread_and_no_negative_estimate():
    found = variance_components([[0.1, 0.1, 0.1]] * 3)
    assert (found.seeds, found.draws, found.truncated) == (0.0, 0.0, ())
    assert found.rest == pytest.approx(0.0, abs=1e-12)


def test_one_seed_has_draws_only_and_one_draw_or_a_ragged_table_nothing():
    found = variance_components([[0.1, 0.3]])
    assert found == Components(None, None, pytest.approx(np.std([0.1, 0.3], ddof=1)), ())
    assert variance_components([[0.1], [0.2]]) is None
    assert variance_components([[0.1, 0.2], [0.2]]) is None
    assert variance_components([]) is None
