"""The probe with a hidden layer: what a linear one cannot learn, seeds, and the choice on val."""

from dataclasses import replace

import numpy as np
import pytest

from sslbench.core.feature_file import Features, id_hashes
from sslbench.evaluation.protocols import linear, mlp
from sslbench.evaluation.protocols.parts.perceptron import Recipe, predictions

PARAMS = mlp.Params(
    hidden_dim=32, dropout=0.1, learning_rate=0.02, batch_size=64, weight_decay=(0.0, 1.0),
    epochs=(1, 12), seeds=(0, 1, 2),
)  # fmt: skip


def split(name, size, seed):
    """Exclusive or of two signs: no line parts it; the first layer is noise."""
    rng = np.random.default_rng(seed)
    clean = rng.normal(size=(size, 2)).astype(np.float32)
    labels = 3 + 4 * (clean[:, 0] * clean[:, 1] > 0)
    noise = rng.normal(size=(size, 2)).astype(np.float32)
    ids = id_hashes([f"{name}/{row}" for row in range(size)])
    return Features(name, labels, {"noise": noise, "clean": clean}, ids)


@pytest.fixture(scope="module")
def splits():
    return split("train", 300, 0), split("val", 150, 1), split("test", 200, 2)


@pytest.fixture(scope="module")
def rows(splits):
    train, val, test = splits
    return mlp.measure(mlp.choose(train, val, PARAMS), train, val, test)


def test_it_learns_what_a_linear_probe_cannot(splits, rows):
    train, val, test = splits
    params = linear.Params(
        log10_c_low=-2.0, log10_c_high=1.0, num_c=3, tolerance=1e-3, max_iterations=100
    )
    line = linear.measure(linear.choose(train, val, params), train, val, test)[0]
    assert rows[0].layer == "clean"
    assert rows[0].value > 0.9 > 0.7 > line.value


def test_measurements_of_seeds(splits, rows):
    assert [(row.metric, row.role, row.layer) for row in rows] == [
        ("top1", "headline", "clean"),
        ("mean_per_class", "headline", "clean"),
        ("top1", "layer", "noise"),
        ("top1", "layer", "clean"),
    ]
    detail = rows[0].detail
    assert detail["seeds"] == [0, 1, 2]
    assert rows[0].value == pytest.approx(np.mean(detail["draws"]))
    assert len(set(detail["draws"])) > 1
    assert rows[3].value == detail["draws"][0]
    assert rows[0].per_sample.mean() == pytest.approx(rows[0].value)
    assert rows[0].per_sample.shape == splits[2].labels.shape
    assert detail["epochs"] == 12


def test_the_search_asks_val_and_the_refit_has_val_and_the_choice(splits, monkeypatch):
    """A network that is right at one point of the grid alone, and wrong at all others."""
    answers = {len(part.labels): (part.labels > 3).astype(np.int64) for part in splits}
    seen = []

    def network(features, encoded, queries, recipe, epochs, seed):
        seen.append((len(features), len(queries), recipe.weight_decay, list(epochs), seed))
        truth = answers[len(queries)]
        return {n: truth if (recipe.weight_decay, n) == (1.0, 1) else 1 - truth for n in epochs}

    monkeypatch.setattr(mlp, "predictions", network)
    train, val, test = splits
    row = mlp.measure(mlp.choose(train, val, PARAMS), train, val, test)[0]
    assert (row.value, row.detail["weight_decay"], row.detail["epochs"]) == (1.0, 1.0, 1)
    search = [(300, 150, decay, [1, 12], 0) for decay in PARAMS.weight_decay]
    assert seen[:4] == search * 2, "two layers"
    assert seen[4:] == [(450, 200, 1.0, [1], seed) for seed in (0, 0, 1, 2)]


@pytest.mark.parametrize(
    "change",
    [{"hidden_dim": 9}, {"dropout": 0.0}, {"learning_rate": 0.02}, {"batch_size": 40},
     {"weight_decay": 2.0}],
    ids=str,
)  # fmt: skip
def test_every_setting_of_a_recipe_counts(splits, change):
    x, y = splits[0].layers["clean"].copy(), (splits[0].labels > 3).astype(np.int64)
    recipe = Recipe(hidden_dim=8, dropout=0.5, learning_rate=0.01, batch_size=50, weight_decay=0.1)
    first, other = (
        predictions(x, y, x, each, [3], 0)[3] for each in (recipe, replace(recipe, **change))
    )
    assert not np.array_equal(first, other)


def test_a_run_is_its_seeds_and_nothing_elses(splits):
    import torch

    x, y = splits[0].layers["clean"].copy(), (splits[0].labels > 3).astype(np.int64)
    recipe = Recipe(hidden_dim=8, dropout=0.5, learning_rate=0.01, batch_size=50, weight_decay=0.1)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = predictions(x, y, x, recipe, [1, 3], 0)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(7)
    again, other = predictions(x, y, x, recipe, [3], 0), predictions(x, y, x, recipe, [3], 1)
    assert np.array_equal(first[3], again[3])
    assert not np.array_equal(first[3], other[3])
    assert not np.array_equal(first[1], first[3])


def test_a_heavy_penalty_forgets(splits):
    x, y = splits[0].layers["clean"].copy(), (splits[0].labels > 3).astype(np.int64)
    heavy = Recipe(hidden_dim=8, dropout=0.0, learning_rate=0.02, batch_size=50, weight_decay=40.0)
    assert np.mean(predictions(x, y, x, heavy, [8], 0)[8] == y) < 0.7


@pytest.mark.parametrize(
    "change",
    [{"seeds": ()}, {"epochs": (0,)}, {"dropout": 1.0}, {"weight_decay": (-1.0,)}],
)
def test_params_without_meaning_are_refused(change):
    with pytest.raises(ValueError, match=r"one value|must be positive|dropout in"):
        mlp.Params(**{**PARAMS.__dict__, **change})
