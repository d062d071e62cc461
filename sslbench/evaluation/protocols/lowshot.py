"""Few labels: logistic regression on 1, 2, 5, 10 labelled images per class and on 1 % and 10 %.

Source   MSN, Assran et al. 2022, https://arxiv.org/abs/2204.07141, section 5.1, and its
         logistic_eval.py: frozen features, centred, rows of length one, L2-regularised
         multinomial logistic regression of one fixed strength; and SimCLR,
         https://arxiv.org/abs/2002.05709, section 4.3: 1 % and 10 %, balanced over classes
Chosen   the layer alone, on val: top1 at the largest count of labels, mean over draws, as `linear`
         chooses its layer by top1 with all labels. A peek at more labels than the probe has (MSN
         fixes the last layer); the strength is not chosen, so that val tunes nothing else
Lists    `parts.label_lists`: from train, by a hash of the image's name; the same for every method,
         nested within a draw; `detail` holds the value of each draw and the sha256 of each list
Percent  the same number of each class: the rounded share of train over classes, at least one
Short    of a class with fewer images than asked for, all are taken, and a note says so
Differs  five draws (MSN three); centred with train's mean, which needs no label, where MSN centres
         each row; a bias that is not penalised, where MSN has none; no refit with val's labels
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
    layer_row,
)
from sslbench.evaluation.protocols.parts import label_lists
from sslbench.evaluation.protocols.parts.logistic import Fit, fit_path
from sslbench.evaluation.protocols.parts.scaling import unit_rows

NAME = "lowshot"
VERSION = 1
KIND = "probe"
LABELS = "one"


@dataclass(frozen=True, kw_only=True)
class Params:
    """How many labels, how often, and the regression.

    Attributes:
        shots: labelled images per class.
        percents: labelled share of train, in percent.
        draws: lists for each count; the value is the mean over them.
        c: inverse strength, for features in rows of length one; `parts.logistic` has the objective.
        tolerance: largest gradient entry of the mean loss at which a fit counts as converged.
        max_iterations: steps after which a fit stops anyway; the record then says so.
    """

    shots: tuple[int, ...]
    percents: tuple[int, ...]
    draws: int
    c: float
    tolerance: float
    max_iterations: int

    def __post_init__(self) -> None:
        """Refuse counts and strengths without meaning."""
        if not self.shots + self.percents or min(self.shots + self.percents) < 1:
            raise ValueError(f"shots and percents need a positive number: {self}")
        if max(self.percents, default=0) > 100 or min(self.draws, self.max_iterations) < 1:
            raise ValueError(f"at most 100 percent, and at least a draw and a step: {self}")
        if min(self.c, self.tolerance) <= 0:
            raise ValueError(f"c and tolerance must be positive: {self}")

    def counts(self, labels: np.ndarray) -> dict[str, int]:
        """Return metric -> labelled images per class, for train labels (num_samples,)."""
        share = len(labels) / len(np.unique(labels)) / 100
        return {
            **{f"top1_{shots}shot": shots for shots in self.shots},
            **{f"top1_{p}percent": max(1, round(p * share)) for p in self.percents},
        }


@dataclass(frozen=True)
class LowshotChoice(Choice):
    """A value on val per layer, and the parameters."""

    params: Params


@dataclass(frozen=True)
class _Draws:
    """What the lists of one count of labels led to.

    Attributes:
        right: (draws, num_queries) bool.
        notes: the lists, whether the fits converged, and what was short.
    """

    right: np.ndarray
    notes: dict[str, Any]


def choose(train: Features, val: Features, params: Params) -> LowshotChoice:
    """Return each layer's mean top1 on val at the largest count of labels."""
    count, trials = max(params.counts(train.labels).values()), _Trials(train, params)
    layers = []
    for layer in train.layers:
        draws = trials.run(layer, count, val)
        layers.append(LayerChoice(layer, {"c": params.c}, float(draws.right.mean())))
    return LowshotChoice(tuple(layers), params)


def measure(
    choice: LowshotChoice,
    train: Features,
    val: Features,  # noqa: ARG001  (part of the contract)
    test: Features,
) -> list[Measurement]:
    """Return a top1 for each count of labels at the layer that val chose, then one per layer.

    Those per layer are of the first metric, as the report's table of layers. The first headline has
    the samples: the share of draws in which each test image was right.
    """
    counts, trials = choice.params.counts(train.labels), _Trials(train, choice.params)
    first = next(iter(counts))
    rows: list[Measurement] = []
    for metric, count in counts.items():
        draws = trials.run(choice.headline.layer, count, test)
        row = _row(metric, choice.headline, draws)
        samples = draws.right.mean(axis=0, dtype=np.float32)
        rows.append(row if rows else replace(row, per_sample=samples))
    for chosen in choice.layers:
        draws = trials.run(chosen.layer, counts[first], test)
        rows.append(replace(_row(first, chosen, draws), role="layer"))
    return rows


def _row(metric: str, chosen: LayerChoice, draws: _Draws) -> Measurement:
    values = draws.right.mean(axis=1)
    notes = {"draws": values.tolist(), **draws.notes}
    num_queries = draws.right.shape[1]
    return layer_row(metric, float(values.mean()), chosen, "headline", num_queries, notes)


class _Trials:
    """Fits on each draw's list."""

    def __init__(self, train: Features, params: Params) -> None:
        self._train, self._params = train, params
        self._classes, self._encoded = np.unique(train.labels, return_inverse=True)
        self._places = [
            label_lists.places(train.ids, train.labels, draw) for draw in range(params.draws)
        ]

    def run(self, layer: str, count: int, queries: Features) -> _Draws:
        """Fit on `count` labels per class and say which queries come out right."""
        train, classes = self._train, self._classes
        mean = train.layers[layer].mean(axis=0)
        features, asked = (unit_rows(s.layers[layer] - mean) for s in (train, queries))
        lists = [np.flatnonzero(places < count) for places in self._places]
        fits = [self._fit(features, rows) for rows in lists]
        right = [classes[fit.predict(asked)] == queries.labels for fit in fits]
        notes: dict[str, Any] = {
            "per_class": count,
            "labels": len(lists[0]),
            "lists": [label_lists.digest(train.ids[rows]) for rows in lists],
            "is_converged": all(fit.is_converged for fit in fits),
        }
        if short := int((np.bincount(self._encoded) < count).sum()):
            notes["note"] = f"{short} of {len(classes)} classes have fewer than {count} images"
        return _Draws(np.array(right), notes)

    def _fit(self, features: np.ndarray, rows: np.ndarray) -> Fit:
        params = self._params
        path = fit_path(
            features[rows], self._encoded[rows], len(self._classes), [params.c],
            tolerance=params.tolerance, max_iterations=params.max_iterations,
        )  # fmt: skip
        return next(path)
