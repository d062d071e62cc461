"""Linear probe: L2-regularised multinomial logistic regression on frozen features.

Source   Kornblith et al. 2019, https://arxiv.org/abs/1805.08974, appendix A, and SimCLR,
         https://arxiv.org/abs/2002.05709, appendix B.8: L-BFGS, no augmentation, the strength
         chosen on val from a logarithmic grid, refit on train + val, test read once
Chosen   C and layer, each on val; of equal values the stronger penalty wins
Scale    every feature is standardised with the train split's mean and deviation (the sources do
         not standardise; layers of different scale could not share a grid otherwise); the refit
         on train + val keeps these, so that C keeps its meaning
Several  where images have several labels, a binary regression for each class against the rest, one
         C for all classes chosen on val by 11-point mAP, as linusericsson/ssl-transfer linear.py;
         an image whose label of a class is unsaid is left out of that class's fit and of its AP
Exact    `parts.logistic` has the objective (scikit-learn's); float32
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sslbench.core.feature_file import Features
from sslbench.evaluation.protocols.base import Choice, LayerChoice, Measurement, classify_layers
from sslbench.evaluation.protocols.parts.linear_fit import (
    Params,
    Probe,
    best_c,
    choose_layer,
    fits,
)
from sslbench.evaluation.protocols.parts.scaling import Scale
from sslbench.evaluation.protocols.parts.several_labels import (
    learnable,
    map_11point,
    map_rows,
    targets_of,
)

NAME = "linear"
VERSION = 1
KIND = "probe"
LABELS = "either"


@dataclass(frozen=True)
class LinearChoice(Choice):
    """A choice per layer, and the parameters that the refit shares with the search."""

    params: Params


def choose(train: Features, val: Features, params: Params) -> LinearChoice:
    """Return each layer's C with the best top1 on val (several labels: 11-point mAP)."""
    choose_c = choose_layer if train.targets is None else _choose_several
    return LinearChoice(
        tuple(choose_c(layer, train, val, params) for layer in train.layers), params
    )


def measure(
    choice: LinearChoice, train: Features, val: Features, test: Features
) -> list[Measurement]:
    """Return top1 and mean_per_class on test at the chosen layer, and top1 of every layer.

    Where images have several labels: map_11point and map_area, and map_11point of every layer.
    """
    if train.targets is not None:
        return _measure_several(choice, train, val, test)
    probes = {c.layer: Probe.of(c, train, val, choice.params) for c in choice.layers}
    predictions = {layer: probe.predict(test.layers[layer]) for layer, probe in probes.items()}
    notes = {layer: probe.note for layer, probe in probes.items()}
    return classify_layers(choice, predictions, test, notes)


def _choose_several(layer: str, train: Features, val: Features, params: Params) -> LayerChoice:
    """Return the C with the best 11-point mAP on val."""
    scale = Scale.of(train.layers[layer])
    scores = _log_odds(
        scale(train.layers[layer]),
        targets_of(train, train),
        scale(val.layers[layer]),
        params.cs,
        params,
    )
    targets = targets_of(val, train)
    pairs = zip(params.cs, scores, strict=True)
    return best_c(layer, {c: map_11point(of_c, targets, "val") for c, of_c in pairs}, params)


def _measure_several(
    choice: LinearChoice, train: Features, val: Features, test: Features
) -> list[Measurement]:
    targets = np.concatenate([targets_of(train, train), targets_of(val, train)])
    scores = {}
    for chosen in choice.layers:
        layer = chosen.layer
        scale = Scale.of(train.layers[layer])
        features = scale(train.layers[layer], val.layers[layer])
        queries = scale(test.layers[layer])
        cs = [chosen.setting["c"]]
        scores[layer] = _log_odds(features, targets, queries, cs, choice.params)[0]
    return map_rows(choice, scores, targets_of(test, train), {})


def _log_odds(
    features: np.ndarray, targets: np.ndarray, queries: np.ndarray, cs: list[float], params: Params
) -> np.ndarray:
    """Return (len(cs), num_queries, num_classes): each class against the rest.

    A class that is always or never there in what is known stays NaN.
    """
    found = np.full((len(cs), len(queries), targets.shape[1]), np.nan, queries.dtype)
    halves = [c / 2 for c in cs]  # two rows of weights at C are one row at 2 C: parts.logistic
    for index in learnable(targets):
        known = targets[:, index] >= 0
        made = fits(features[known], targets[known, index].astype(int), 2, halves, params)
        for of_c, fit in zip(found, made, strict=True):
            logits = fit.logits(queries)
            of_c[:, index] = logits[:, 1] - logits[:, 0]
    return found
