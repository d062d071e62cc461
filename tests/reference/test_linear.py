"""Our logistic regression against scikit-learn's optimum and against finite differences."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml

from sslbench.evaluation.protocols.parts.logistic import _Problem, fit_path

CS = [1e-4, 1e-3, 1e-1, 1.0, 10.0]
SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "conf/parts/protocols.yaml").read_text())


def make(num_samples, dim, num_classes, seed=0):
    rng = np.random.default_rng(seed)
    centres = 0.5 * rng.normal(size=(num_classes, dim))
    classes = rng.integers(0, num_classes, num_samples)
    features = (centres[classes] + rng.normal(size=(num_samples, dim))) @ rng.normal(
        size=(dim, dim)
    )
    return (features - features.mean(0)) / features.std(0), classes


def sklearn_fit(features, classes, c):
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LogisticRegression(C=c, tol=1e-9, max_iter=20_000).fit(features, classes)


def ours(features, classes, cs, tolerance, dtype):
    return list(
        fit_path(
            features.astype(dtype), classes, classes.max() + 1, cs,
            tolerance=tolerance, max_iterations=5000,
        )
    )  # fmt: skip


def test_coefficients_are_sklearns():
    features, classes = make(300, 12, 4)
    for c, fit in zip(CS, ours(features, classes, CS, 1e-9, np.float64), strict=True):
        theirs = sklearn_fit(features, classes, c)
        assert fit.is_converged
        assert np.abs(fit.weights[:, :-1] - theirs.coef_).max() < 1e-3
        bias = fit.weights[:, -1] - fit.weights[:, -1].mean()  # a common shift is free
        assert np.abs(bias - (theirs.intercept_ - theirs.intercept_.mean())).max() < 1e-3


def test_default_precision_and_tolerance_cost_a_tenth_of_a_point():
    # 20,000 test samples: rounding that differs between processors moves a handful of them.
    features, classes = make(21_000, 24, 5, seed=1)
    train, test = slice(0, 1000), slice(1000, None)
    tolerance = SHIPPED["probe"]["linear"]["tolerance"]
    fits = ours(features[train], classes[train], CS, tolerance, np.float32)
    for c, fit in zip(CS, fits, strict=True):
        theirs = sklearn_fit(features[train], classes[train], c).score(
            features[test], classes[test]
        )
        accuracy = np.mean(fit.predict(features[test]) == classes[test])
        assert fit.is_converged
        assert abs(accuracy - theirs) <= 0.001


def test_two_classes_at_c_are_sklearns_at_two_c():
    features, classes = make(200, 6, 2)
    (fit,) = ours(features, classes, [0.05], 1e-9, np.float64)
    theirs = sklearn_fit(features, classes, 0.1)
    assert np.abs(fit.weights[1, :-1] - fit.weights[0, :-1] - theirs.coef_[0]).max() < 1e-3


def test_a_path_ends_where_a_cold_start_ends():
    features, classes = make(300, 12, 4, seed=2)
    path = ours(features, classes, np.logspace(-4, 1, 12), 1e-8, np.float64)
    (cold,) = ours(features, classes, [10.0], 1e-8, np.float64)
    assert np.abs(path[-1].weights[:, :-1] - cold.weights[:, :-1]).max() < 1e-3


def test_a_path_is_cheaper_than_cold_starts():
    features, classes = make(1000, 40, 8, seed=3)
    cs = np.logspace(-4, 1, 12)
    path = sum(fit.iterations for fit in ours(features, classes, cs, 1e-4, np.float32))
    cold = sum(ours(features, classes, [c], 1e-4, np.float32)[0].iterations for c in cs)
    assert path < 0.8 * cold


def test_gradient_is_the_finite_difference():
    features, classes = make(40, 5, 3)
    problem = _Problem(features, classes, 3)
    weights = np.random.default_rng(3).normal(size=(3, 6))

    def evaluated(at):
        return problem.value(problem.logits(at, np.empty((3, 40))), at, 0.7)

    def value(at):
        return evaluated(at)[0]

    slope = problem.gradient(evaluated(weights)[1], weights, 0.7)
    for index in np.ndindex(weights.shape):
        moved = np.zeros_like(weights)
        moved[index] = 1e-6
        difference = (value(weights + moved) - value(weights - moved)) / 2e-6
        assert slope[index] == pytest.approx(difference, abs=1e-5)


def test_a_bound_on_steps_is_told():
    features, classes = make(200, 10, 3)
    (fit,) = fit_path(features, classes, 3, [10.0], tolerance=1e-9, max_iterations=2)
    assert (fit.iterations, fit.is_converged) == (2, False)
