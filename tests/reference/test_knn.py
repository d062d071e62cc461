"""The kNN probe against a restatement in plain loops, and against lightly's."""

import math
from collections import defaultdict

import numpy as np
import pytest

from sslbench.evaluation.protocols.parts import neighbours

SETTINGS = [(1, 0.07), (5, 0.07), (20, 0.1), (60, 1.0)]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 16))
    labels = np.array([2, 3, 5, 9])[rng.integers(0, 4, 90)]
    features = centres[np.searchsorted([2, 3, 5, 9], labels)] + 1.5 * rng.normal(size=(90, 16))
    features = features.astype(np.float32)
    return features[:60], labels[:60], features[60:], labels[60:]


def vote(query, bank, labels, k, temperature):
    """The definition, in float64: the k nearest by cosine vote with exp(cosine / temperature)."""
    cosine = [
        float(np.dot(query, row)) / math.sqrt(float(np.dot(query, query) * np.dot(row, row)))
        for row in bank.astype(np.float64)
    ]
    votes = defaultdict(float)
    for index in sorted(range(len(bank)), key=lambda i: -cosine[i])[:k]:
        votes[labels[index]] += math.exp(cosine[index] / temperature)
    return max(sorted(votes), key=votes.get)


@pytest.mark.parametrize("setting", SETTINGS)
def test_predictions_equal_the_definition(data, setting):
    bank, labels, queries, _ = data
    found = neighbours.predict(queries, bank, labels, SETTINGS)[setting]
    expected = [vote(query.astype(np.float64), bank, labels, *setting) for query in queries]
    assert found.tolist() == expected


def test_scale_of_a_feature_vector_does_not_matter(data):
    bank, labels, queries, _ = data
    scaled = bank * np.linspace(0.1, 50, len(bank), dtype=np.float32)[:, None]
    first = neighbours.predict(queries, bank, labels, SETTINGS)
    second = neighbours.predict(queries * 7, scaled, labels, SETTINGS)
    for setting in SETTINGS:
        assert np.array_equal(first[setting], second[setting])


def test_chunks_change_nothing(data, monkeypatch):
    bank, labels, queries, _ = data
    whole = neighbours.predict(queries, bank, labels, SETTINGS)
    monkeypatch.setattr(neighbours, "_CHUNK_VALUES", 3 * len(bank))
    chunked = neighbours.predict(queries, bank, labels, SETTINGS)
    for setting in SETTINGS:
        assert np.array_equal(whole[setting], chunked[setting])


def test_many_values_are_sorted_by_torch_to_the_same_end(data, monkeypatch):
    bank, labels, queries, _ = data
    few = neighbours.predict(queries, bank, labels, SETTINGS)
    monkeypatch.setattr(neighbours, "_MANY_VALUES", 0)
    monkeypatch.setattr(neighbours, "partitioned", None)
    many = neighbours.predict(queries, bank, labels, SETTINGS)
    for setting in SETTINGS:
        assert np.array_equal(few[setting], many[setting])


def test_a_small_temperature_does_not_overflow(data):
    bank, labels, queries, _ = data
    sharp = neighbours.predict(queries, bank, labels, [(20, 1e-3), (1, 1.0)])
    assert np.array_equal(sharp[20, 1e-3], sharp[1, 1.0])  # in the limit the nearest decides


def test_equal_votes_go_to_the_lower_label():
    bank = np.eye(2, dtype=np.float32)
    query = np.ones((1, 2), np.float32)
    assert neighbours.predict(query, bank, np.array([7, 3]), [(2, 0.1)])[2, 0.1].tolist() == [3]


def test_a_tie_within_the_neighbours_is_a_sum_not_a_count():
    """Two equal neighbours of one class outvote a nearer one of another, if the sum says so."""
    bank = np.array([[1, 0], [0.8, 0.6], [0.8, 0.6]], np.float32)
    query = np.array([[1, 0]], np.float32)
    labels = np.array([0, 1, 1])
    votes = neighbours.predict(query, bank, labels, [(3, 1.0), (3, 0.1)])
    assert votes[3, 1.0].tolist() == [1]  # exp(1) < 2 exp(0.8)
    assert votes[3, 0.1].tolist() == [0]  # exp(10) > 2 exp(8)


def test_one_class_in_the_bank_is_always_the_answer(data):
    bank, _, queries, _ = data
    found = neighbours.predict(queries, bank, np.full(len(bank), 4), SETTINGS)
    assert all((predicted == 4).all() for predicted in found.values())


def test_zero_features_are_near_nothing_and_harmless():
    bank, labels = np.zeros((3, 2), np.float32), np.array([5, 2, 2])
    assert neighbours.predict(bank, bank, labels, [(3, 0.07)])[3, 0.07].tolist() == [2, 2, 2]


@pytest.mark.parametrize("setting", SETTINGS)
def test_predictions_equal_sklearns(data, setting):
    from sklearn.neighbors import KNeighborsClassifier

    k, temperature = setting
    bank, labels, queries, _ = data
    theirs = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute",
        weights=lambda distance: np.exp((1 - distance) / temperature),
    ).fit(bank.astype(float), labels)  # fmt: skip
    found = neighbours.predict(queries, bank, labels, [setting])[setting]
    assert np.array_equal(found, theirs.predict(queries.astype(float)))


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_predictions_equal_lightlys(data, setting):
    import torch
    from lightly.utils.benchmarking.knn import knn_predict

    bank, labels, queries, _ = data
    unit = [torch.nn.functional.normalize(torch.from_numpy(x), dim=1) for x in (queries, bank)]
    theirs = knn_predict(unit[0], unit[1].T, torch.from_numpy(labels), 10, *setting)[:, 0]
    ours = neighbours.predict(queries, bank, labels, [setting])[setting]
    assert np.array_equal(ours, theirs.numpy())
