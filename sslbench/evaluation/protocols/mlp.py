"""Non-linear probe: one hidden layer on frozen features.

Source   Kolesnikov et al. 2019, https://arxiv.org/abs/1901.09005, supplementary material, and
         google/revisiting-self-supervised linear_eval.py: 1,000 rectified units, dropout 0.5, L2
         penalty; the non-linear classifiers of RotNet, https://arxiv.org/abs/1803.07728, ask the
         same of earlier layers
Chosen   weight decay, number of epochs and layer, each on val with the first seed; of equal
         values the earlier in the grid wins
Seeds    the headline is the mean over several seeds of weights, order and dropout, each refit on
         train + val; `detail` has the value of each. A layer's own row has the first seed alone
Scale    every feature is standardised with the train split's mean and deviation, as in `linear`
Differs  Adam with decoupled decay at a constant rate, so that one run shows every number of
         epochs (the source: SGD with steps, on augmented images)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sslbench.core.feature_file import Features
from sslbench.evaluation.protocols.base import (
    Choice,
    LayerChoice,
    Measurement,
    best,
    layer_row,
)
from sslbench.evaluation.protocols.parts.metrics import mean_per_class, top1
from sslbench.evaluation.protocols.parts.perceptron import Recipe, predictions
from sslbench.evaluation.protocols.parts.resampling import standard_error
from sslbench.evaluation.protocols.parts.scaling import Scale

NAME = "mlp"
VERSION = 1
KIND = "probe"
LABELS = "one"


@dataclass(frozen=True, kw_only=True)
class Params:
    """The network, its training, and the grid that val chooses from.

    Attributes:
        hidden_dim: units of the hidden layer.
        dropout: probability of dropping a hidden unit in training.
        learning_rate: of Adam, constant.
        batch_size: samples per step.
        weight_decay: grid of penalties.
        epochs: grid of training lengths, in passes over the data.
        seeds: one network each; the first chooses.
    """

    hidden_dim: int
    dropout: float
    learning_rate: float
    batch_size: int
    weight_decay: tuple[float, ...]
    epochs: tuple[int, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse an empty grid and values without meaning."""
        if min(len(self.weight_decay), len(self.epochs), len(self.seeds)) < 1:
            raise ValueError("weight_decay, epochs and seeds need one value or more")
        if min(self.hidden_dim, self.batch_size, *self.epochs) < 1:
            raise ValueError(f"hidden_dim, batch_size and epochs must be positive: {self}")
        if not 0 <= self.dropout < 1 or self.learning_rate <= 0 or min(self.weight_decay) < 0:
            raise ValueError(f"dropout in [0, 1), a positive rate, no negative decay: {self}")

    def recipe(self, weight_decay: float) -> Recipe:
        """Return the training at one point of the grid."""
        return Recipe(
            self.hidden_dim, self.dropout, self.learning_rate, self.batch_size, weight_decay
        )


@dataclass(frozen=True)
class MLPChoice(Choice):
    """A choice per layer, and the parameters that the refit shares with the search."""

    params: Params


def choose(train: Features, val: Features, params: Params) -> MLPChoice:
    """Return each layer's weight decay and epochs with the best top1 on val."""
    layers = tuple(_choose_layer(layer, train, val, params) for layer in train.layers)
    return MLPChoice(layers, params)


def measure(choice: MLPChoice, train: Features, val: Features, test: Features) -> list[Measurement]:
    """Return mean top1 and mean_per_class at the chosen layer, and the first seed's per layer."""
    seeds, first = choice.params.seeds, choice.headline
    predicted = {
        chosen.layer: _refit(chosen, train, val, test, choice.params, seeds[:1])[0]
        for chosen in choice.layers
    }
    of_seeds = [
        predicted[first.layer],
        *_refit(first, train, val, test, choice.params, seeds[1:]),
    ]
    right = np.array(of_seeds) == test.labels
    rows = []
    for name, metric in (("top1", top1), ("mean_per_class", mean_per_class)):
        values = [metric(found, test.labels) for found in of_seeds]
        notes = {"seeds": list(seeds), "draws": values}
        value = float(np.mean(values))
        rows.append(layer_row(name, value, first, "headline", len(test.labels), notes))
    rows[0] = replace(rows[0], per_sample=right.mean(axis=0, dtype=np.float32))
    error = standard_error(
        lambda rows: _mean_over_seeds(of_seeds, test.labels, rows), len(test.labels)
    )
    rows[1] = replace(rows[1], standard_error=error)
    for chosen in choice.layers:
        value = top1(predicted[chosen.layer], test.labels)
        rows.append(layer_row("top1", value, chosen, "layer", len(test.labels), {}))
    return rows


def _mean_over_seeds(of_seeds: list[np.ndarray], labels: np.ndarray, rows: np.ndarray) -> float:
    """Return mean_per_class on some test samples, mean over seeds."""
    return float(np.mean([mean_per_class(found[rows], labels[rows]) for found in of_seeds]))


def _choose_layer(layer: str, train: Features, val: Features, params: Params) -> LayerChoice:
    classes, encoded = np.unique(train.labels, return_inverse=True)
    scale = Scale.of(train.layers[layer])
    features, queries = scale(train.layers[layer]), scale(val.layers[layer])
    values = {}
    for decay in params.weight_decay:
        recipe = params.recipe(decay)
        found = predictions(features, encoded, queries, recipe, params.epochs, params.seeds[0])
        for epochs in params.epochs:
            values[decay, epochs] = top1(classes[found[epochs]], val.labels)
    decay, epochs = best(values)
    setting: dict[str, Any] = {"weight_decay": decay, "epochs": epochs}
    return LayerChoice(layer, setting, values[decay, epochs])


def _refit(
    chosen: LayerChoice,
    train: Features,
    val: Features,
    test: Features,
    params: Params,
    seeds: tuple[int, ...],
) -> list[np.ndarray]:
    """Return each seed's predicted labels (num_samples,) of test."""
    layer, epochs = chosen.layer, chosen.setting["epochs"]
    scale = Scale.of(train.layers[layer])
    features = scale(np.concatenate([train.layers[layer], val.layers[layer]]))
    classes, encoded = np.unique(np.concatenate([train.labels, val.labels]), return_inverse=True)
    queries, recipe = scale(test.layers[layer]), params.recipe(chosen.setting["weight_decay"])
    return [
        classes[predictions(features, encoded, queries, recipe, [epochs], seed)[epochs]]
        for seed in seeds
    ]
