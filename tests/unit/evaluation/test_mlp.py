"""The probe with a hidden layer: what a linear one cannot learn, seeds, and the choice on val."""

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
