"""Fits the linear probe to one layer: the grid of strengths, the scale, the choice, the refit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sslbench.core.feature_file import Features
from sslbench.evaluation.protocols.base import LayerChoice, best
from sslbench.evaluation.protocols.parts.logistic import Fit, fit_path
from sslbench.evaluation.protocols.parts.metrics import top1
from sslbench.evaluation.protocols.parts.scaling import Scale


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


def choose_layer(layer: str, train: Features, val: Features, params: Params) -> LayerChoice:
    """Return the C with the best top1 on val."""
    classes, encoded = np.unique(train.labels, return_inverse=True)
    scale = Scale.of(train.layers[layer])
    val_features = scale(val.layers[layer])
    made = fits(scale(train.layers[layer]), encoded, len(classes), params.cs, params)
    values = {
        c: top1(classes[fit.predict(val_features)], val.labels)
        for c, fit in zip(params.cs, made, strict=True)
    }
    return best_c(layer, values, params)


def best_c(layer: str, values: dict[float, float], params: Params) -> LayerChoice:
    """Return the C with the best value on val; of equal values the strongest penalty."""
    chosen = best(values)
    setting: dict[str, Any] = {"c": chosen}
    if params.num_c > 1 and chosen in (params.cs[0], params.cs[-1]):
        setting["note"] = "the best C is at the edge of the grid"
    return LayerChoice(layer, setting, values[chosen])


def refit(
    scale: Scale, layer: str, c: float, train: Features, val: Features, params: Params
) -> Fit:
    """Return the fit to train and val together at one C, on features scaled by train's scale."""
    features = scale(train.layers[layer], val.layers[layer])
    labels = np.concatenate([train.labels, val.labels])
    classes, encoded = np.unique(labels, return_inverse=True)
    return next(fits(features, encoded, len(classes), [c], params))


def fits(
    features: np.ndarray, encoded: np.ndarray, num_classes: int, cs: list[float], params: Params
) -> Iterator[Fit]:
    """Yield the fit of each C to scaled features (num_samples, dim), as `logistic.fit_path`."""
    return fit_path(
        features,
        encoded,
        num_classes,
        cs,
        tolerance=params.tolerance,
        max_iterations=params.max_iterations,
    )


@dataclass(frozen=True)
class Probe:
    """A fitted probe of one layer.

    Attributes:
        scale: of the train split.
        fit: the optimum on train and val.
        classes: (num_classes,) the labels that the fit's rows stand for.
    """

    scale: Scale
    fit: Fit
    classes: np.ndarray

    @classmethod
    def of(cls, chosen: LayerChoice, train: Features, val: Features, params: Params) -> Probe:
        """Return the probe refitted to train and val at the C that val chose."""
        scale = Scale.of(train.layers[chosen.layer])
        fit = refit(scale, chosen.layer, chosen.setting["c"], train, val, params)
        return cls(scale, fit, np.unique(train.labels))

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the labels (num_samples,) of features (num_samples, dim)."""
        labels: np.ndarray = self.classes[self.fit.predict(self.scale(features))]
        return labels

    @property
    def note(self) -> dict[str, Any]:
        """What the record says about the fit."""
        return {"iterations": self.fit.iterations, "is_converged": self.fit.is_converged}
