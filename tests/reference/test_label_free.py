"""Label-free figures against brute-force re-statements and cases with a known answer."""

import math

import numpy as np
import pytest
import torch

from sslbench.evaluation.protocols import label_free
from sslbench.pretraining import health


def random(count=40, dim=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dim)) @ rng.normal(size=(dim, dim)) + rng.normal(size=dim)


def orthonormal(count, dim, seed=0):
    """Centred columns of equal length and no correlation: the identity covariance."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(count, dim))
    return np.linalg.qr(drawn - drawn.mean(axis=0))[0]


RANK_ONE = np.outer(np.arange(1.0, 21), np.arange(1.0, 6))


def test_rankme_is_its_equation_one():
    features = random()
    gram = features.T @ features
    singular = [math.sqrt(max(value, 0.0)) for value in np.linalg.eigvalsh(gram)]
    total = sum(singular)
    entropy = 0.0
    for value in singular:
        p = value / total + 1e-7
        entropy -= p * math.log(p)
    assert label_free.rankme(features) == pytest.approx(math.exp(entropy), rel=1e-9)


def test_rankme_is_the_health_figure_of_pretraining():
    features = random(seed=3)
    expected = health.effective_rank(torch.from_numpy(features))
    assert label_free.rankme(features) == pytest.approx(expected, rel=1e-5)


def test_effective_rank_is_the_entropy_of_the_covariance():
    features = random(seed=1)
    values = np.linalg.eigvalsh(np.cov(features.T))
    entropy = sum(-p * math.log(p) for p in values / values.sum())
    assert label_free.effective_rank(features) == pytest.approx(math.exp(entropy), rel=1e-9)


@pytest.mark.parametrize("figure", [label_free.rankme, label_free.effective_rank])
def test_identity_has_full_rank_and_a_line_has_one(figure):
    assert figure(orthonormal(50, 6)) == pytest.approx(6, rel=1e-4)
    assert figure(RANK_ONE) == pytest.approx(1, rel=1e-4)


def test_the_rounding_of_a_collapsed_network_is_no_structure():
    rng = np.random.default_rng(3)
    row = rng.normal(size=64)
    noise = 1 + 6e-8 * rng.normal(size=(200, 64))
    features = (row * noise).astype(np.float32).astype(np.float64)
    assert label_free.effective_rank(features) == 0.0
    assert label_free.alpha_req(features, 1, 50)[0] == 0.0
    alive = row * (1 + 1e-3 * rng.normal(size=(200, 64)))
    assert label_free.effective_rank(alive) > 10


def test_what_never_varies_has_no_rank():
    assert label_free.effective_rank(np.full((9, 4), 3.0)) == 0.0
    assert label_free.alpha_req(np.full((9, 4), 3.0), 1, 4)[0] == 0.0
    assert math.isfinite(label_free.rankme(np.zeros((9, 4))))
    assert label_free.uniformity(np.full((9, 4), 3.0), 2.0) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.5])
def test_alpha_of_a_power_law_is_its_exponent(alpha):
    scale = np.arange(1, 31) ** (-alpha / 2)
    found, note = label_free.alpha_req(orthonormal(200, 30) * scale, 3, 100)
    assert found == pytest.approx(alpha, abs=1e-8)
    assert note == {"first": 3, "last": 30}


def test_alpha_is_the_weighted_least_squares_of_the_authors():
    features = random(60, 20, seed=5)
    values = np.sort(np.linalg.eigvalsh(np.cov(features.T)))[::-1][5:18]
    place = np.arange(6, 19)
    x = np.stack([-np.log(place), np.ones(len(place))], axis=1)
    weighted = x / place[:, None]
    alpha, _ = np.linalg.solve(x.T @ weighted, weighted.T @ np.log(values))
    assert label_free.alpha_req(features, 6, 18)[0] == pytest.approx(alpha, rel=1e-9)


def test_alpha_is_finite_where_the_rank_is_lower_than_the_range():
    assert math.isfinite(label_free.alpha_req(RANK_ONE, 1, 5)[0])


@pytest.mark.parametrize(("count", "dim"), [(101, 128), (100, 128), (60, 128), (30, 128), (60, 20)])
def test_alpha_leaves_out_the_eigenvalue_that_centring_makes_zero(count, dim):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(count, dim)) * np.arange(1, dim + 1) ** -0.5
    values = np.sort(np.linalg.eigvalsh(np.cov(features.T, bias=True)))[::-1]
    last = min(100, count - 1, dim)
    place = np.arange(6, last + 1)
    slope, _ = np.polyfit(np.log(place), np.log(values[5:last]), 1, w=place**-0.5)
    found, note = label_free.alpha_req(features, 6, 100)
    assert found == pytest.approx(-slope, rel=1e-6)
    assert note == {"first": 6, "last": last}


@pytest.mark.parametrize("shape", [(3, 8), (2, 8), (9, 2), (8, 1)])
def test_two_eigenvalues_have_no_alpha(shape):
    assert label_free.alpha_req(np.random.default_rng(0).normal(size=shape), 6, 100)[0] is None


def test_the_first_place_is_moved_down_to_fit_three():
    features = np.random.default_rng(0).normal(size=(6, 8))
    assert label_free.alpha_req(features, 6, 100)[1] == {"first": 3, "last": 5}


def test_uniformity_is_the_mean_over_pairs(monkeypatch):
    monkeypatch.setattr(label_free, "_CHUNK_ROWS", 7)
    features = random(23, 5, seed=2)
    unit = [row / math.sqrt(sum(row**2)) for row in features]
    potentials = [math.exp(-2 * sum((unit[i] - unit[j]) ** 2)) for i in range(23) for j in range(i)]
    expected = math.log(sum(potentials) / len(potentials))
    assert label_free.uniformity(features, 2.0) == pytest.approx(expected, rel=1e-12)
    distances = torch.pdist(torch.from_numpy(np.stack(unit))).square()
    authors = distances.mul(-2).exp().mean().log()  # the source's appendix A
    assert label_free.uniformity(features, 2.0) == pytest.approx(authors.item(), rel=1e-9)


def test_opposite_points_are_as_uniform_as_two_can_be():
    assert label_free.uniformity(np.array([[2.0, 0.0], [-5.0, 0.0]]), 2.0) == pytest.approx(-8)


def test_alignment_is_the_squared_distance_on_the_sphere():
    first = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    second = np.array([[5.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert label_free.alignment(first, second) == pytest.approx([0.0, 2.0, 4.0])
