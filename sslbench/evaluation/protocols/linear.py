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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sslbench.core.feature_file import Features
from sslbench.evaluation.protocols.base import (
    Choice,
    LayerChoice,
    Measurement,
    best,
    classify_layers,
)
from sslbench.evaluation.protocols.parts.logistic import Fit, fit_path
from sslbench.evaluation.protocols.parts.metrics import top1
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


@dataclass(frozen=True, kw_only=True)
class Params:
    """The grid that val chooses from, and when to stop.

    Attributes:
        log10_c_low: exponent of the smallest C, which is the strongest penalty.
        log10_c_high: exponent of the largest C.
        num_c: how many values, evenly spaced in the exponent, both ends included.
        tolerance: largest gradient entry of the mean loss at which a fit counts as converged.
        max_iterations: steps after which a fit stops anyway; the record then says so.
    """

    log10_c_low: float
    log10_c_high: float
    num_c: int
    tolerance: float
    max_iterations: int

    def __post_init__(self) -> None:
        """Refuse an empty or reversed grid."""
        if self.num_c < 1 or self.log10_c_low > self.log10_c_high:
            raise ValueError(f"the grid of C is empty or reversed: {self}")
        if self.tolerance <= 0 or self.max_iterations < 1:
            raise ValueError(f"tolerance and max_iterations must be positive: {self}")

    @property
    def cs(self) -> list[float]:
        """The grid, from the strongest penalty to the weakest."""
        return np.logspace(self.log10_c_low, self.log10_c_high, self.num_c).tolist()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class LinearChoice(Choice):
    """A choice per layer, and the parameters that the refit shares with the search."""

    params: Params


def choose(train: Features, val: Features, params: Params) -> LinearChoice:
    """Return each layer's C with the best top1 on val (several labels: 11-point mAP)."""
    values_on_val = _top1_on_val if train.targets is None else _map_on_val
    layers = tuple(
        _best_c(layer, values_on_val(layer, train, val, params), params) for layer in train.layers
    )
    return LinearChoice(layers, params)


def measure(
    choice: LinearChoice, train: Features, val: Features, test: Features
) -> list[Measurement]:
    """Return top1 and mean_per_class on test at the chosen layer, and top1 of every layer.

    Where images have several labels: map_11point and map_area, and map_11point of every layer.
    """
    if train.targets is not None:
        return _measure_several(choice, train, val, test)
    classes = np.unique(train.labels)
    predictions, notes = {}, {}
    for chosen in choice.layers:
        layer = chosen.layer
        scale = Scale.of(train.layers[layer])
        fit = _refit(scale, layer, chosen.setting["c"], train, val, choice.params)
        predictions[layer] = classes[fit.predict(scale(test.layers[layer]))]
        notes[layer] = {"iterations": fit.iterations, "is_converged": fit.is_converged}
    return classify_layers(choice, predictions, test, notes)


def _top1_on_val(layer: str, train: Features, val: Features, params: Params) -> dict[float, float]:
    """Return top1 on val of each C."""
    classes, encoded = np.unique(train.labels, return_inverse=True)
    scale = Scale.of(train.layers[layer])
    val_features = scale(val.layers[layer])
    fits = _fits(scale(train.layers[layer]), encoded, len(classes), params.cs, params)
    return {
        c: top1(classes[fit.predict(val_features)], val.labels)
        for c, fit in zip(params.cs, fits, strict=True)
    }


def _best_c(layer: str, values: dict[float, float], params: Params) -> LayerChoice:
    chosen = best(values)
    setting: dict[str, Any] = {"c": chosen}
    if params.num_c > 1 and chosen in (params.cs[0], params.cs[-1]):
        setting["note"] = "the best C is at the edge of the grid"
    return LayerChoice(layer, setting, values[chosen])


def _refit(
    scale: Scale, layer: str, c: float, train: Features, val: Features, params: Params
) -> Fit:
    features = np.concatenate([train.layers[layer], val.layers[layer]])
    labels = np.concatenate([train.labels, val.labels])
    classes, encoded = np.unique(labels, return_inverse=True)
    return next(_fits(scale(features), encoded, len(classes), [c], params))


def _fits(
    features: np.ndarray, encoded: np.ndarray, num_classes: int, cs: list[float], params: Params
) -> Iterator[Fit]:
    return fit_path(
        features,
        encoded,
        num_classes,
        cs,
        tolerance=params.tolerance,
        max_iterations=params.max_iterations,
    )


def _map_on_val(layer: str, train: Features, val: Features, params: Params) -> dict[float, float]:
    """Return the 11-point mAP on val of each C."""
    scale = Scale.of(train.layers[layer])
    scores = _log_odds(
        scale(train.layers[layer]),
        targets_of(train, train),
        scale(val.layers[layer]),
        params.cs,
        params,
    )
    targets = targets_of(val, train)
    return {c: map_11point(of_c, targets, "val") for c, of_c in zip(params.cs, scores, strict=True)}


def _measure_several(
    choice: LinearChoice, train: Features, val: Features, test: Features
) -> list[Measurement]:
    targets = np.concatenate([targets_of(train, train), targets_of(val, train)])
    scores = {}
    for chosen in choice.layers:
        layer = chosen.layer
        scale = Scale.of(train.layers[layer])
        features = scale(np.concatenate([train.layers[layer], val.layers[layer]]))
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
        fits = _fits(features[known], targets[known, index].astype(int), 2, halves, params)
        for of_c, fit in zip(found, fits, strict=True):
            logits = fit.logits(queries)
            of_c[:, index] = logits[:, 1] - logits[:, 0]
    return found
