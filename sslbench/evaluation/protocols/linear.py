"""Linear probe: L2-regularised multinomial logistic regression on frozen features.

Source   Kornblith et al. 2019, https://arxiv.org/abs/1805.08974, appendix A, and SimCLR,
         https://arxiv.org/abs/2002.05709, appendix B.8: L-BFGS, no augmentation, the strength
         chosen on val from a logarithmic grid, refit on train + val, test read once
Chosen   C and layer, each on val; of equal values the stronger penalty wins
Scale    every feature is standardised with the train split's mean and deviation (the sources do
         not standardise; layers of different scale could not share a grid otherwise); the refit
         on train + val keeps these, so that C keeps its meaning
Exact    `parts.logistic` has the objective (scikit-learn's); float32
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sslbench.core.feature_file import Features
from sslbench.evaluation.protocols.base import Choice, Measurement, classify_layers
from sslbench.evaluation.protocols.parts.linear_fit import Params, Scale, choose_layer, refit

NAME = "linear"
VERSION = 1
KIND = "probe"
LABELS = "one"


@dataclass(frozen=True)
class LinearChoice(Choice):
    """A choice per layer, and the parameters that the refit shares with the search."""

    params: Params


def choose(train: Features, val: Features, params: Params) -> LinearChoice:
    """Return each layer's C with the best top1 on val."""
    layers = tuple(choose_layer(layer, train, val, params) for layer in train.layers)
    return LinearChoice(layers, params)


def measure(
    choice: LinearChoice, train: Features, val: Features, test: Features
) -> list[Measurement]:
    """Return top1 and mean_per_class on test at the chosen layer, and top1 of every layer."""
    classes = np.unique(train.labels)
    predictions, notes = {}, {}
    for chosen in choice.layers:
        layer = chosen.layer
        scale = Scale.of(train.layers[layer])
        fit = refit(scale, layer, chosen.setting["c"], train, val, choice.params)
        predictions[layer] = classes[fit.predict(scale(test.layers[layer]))]
        notes[layer] = {"iterations": fit.iterations, "is_converged": fit.is_converged}
    return classify_layers(choice, predictions, test, notes)
