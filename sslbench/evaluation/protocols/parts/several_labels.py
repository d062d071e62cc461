"""What protocols share on images that may have several labels: targets and mAP; numpy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from sslbench.core.errors import UserError
from sslbench.core.feature_file import Features
from sslbench.evaluation.protocols.base import (
    Choice,
    LayerChoice,
    Measurement,
    Role,
    layer_row,
)
from sslbench.evaluation.protocols.parts.average_precision import (
    area,
    eleven_point,
    mean_over_classes,
)
from sslbench.evaluation.protocols.parts.resampling import standard_error

RULES = {"map_11point": eleven_point, "map_area": area}


def targets_of(features: Features, train: Features) -> np.ndarray:
    """Return a split's targets (num_samples, num_classes) int8: 1 there, 0 not, -1 unsaid.

    Args:
        features: the split.
        train: says which classes there are; where it has no targets, its labels become a column
            each, in ascending order.

    Raises:
        UserError: train has targets and this split has none.
    """
    if train.targets is None:
        one_hot: np.ndarray = features.labels[:, None] == np.unique(train.labels)
        return one_hot.astype(np.int8)
    if features.targets is None:
        where, mend = f"the {features.split} split", "prepare the dataset again"
        raise UserError("has no targets, and train has", where=where, mend=mend)
    return features.targets


def learnable(targets: np.ndarray, at_least: int = 1) -> list[int]:
    """Return the classes with at least so many positives and so many negatives."""
    positives, negatives = (targets == 1).sum(axis=0), (targets == 0).sum(axis=0)
    return np.flatnonzero(np.minimum(positives, negatives) >= at_least).tolist()


def map_11point(scores: np.ndarray, targets: np.ndarray, split: str) -> float:
    """Return the 11-point mAP of scores (num_samples, num_classes), as in `mean_over_classes`.

    Raises:
        UserError: no class was learned and has positives in this split.
    """
    return mean_ap("map_11point", scores, targets, split)[0]


def map_rows(
    choice: Choice,
    scores: Mapping[str, np.ndarray],
    targets: np.ndarray,
    notes: Mapping[str, dict[str, Any]],
) -> list[Measurement]:
    """Return map_11point and map_area at the layer that val chose, then map_11point per layer.

    Args:
        choice: what was chosen before test was opened.
        scores: layer -> (num_samples, num_classes) of the test split; a column of NaN is a class
            that was not learned.
        targets: (num_samples, num_classes) of the test split.
        notes: layer -> what the fit has to say, joined to the measurement's detail.

    Raises:
        UserError: no class was learned and has positives in test.
    """

    def row(metric: str, value: float, chosen: LayerChoice, role: Role) -> Measurement:
        told = notes.get(chosen.layer, {})
        return layer_row(metric, value, chosen, role, len(targets), told)

    first = choice.headline
    headline = partial(row, chosen=first, role="headline")
    rows = [ranked(metric, scores[first.layer], targets, headline) for metric in RULES]
    for chosen in choice.layers:
        of_layer = partial(row, chosen=chosen, role="layer")
        rows.append(
            ranked("map_11point", scores[chosen.layer], targets, of_layer, with_error=False)
        )
    return rows


def ranked(
    metric: str,
    scores: np.ndarray,
    targets: np.ndarray,
    row: Callable[[str, float], Measurement],
    *,
    with_error: bool = True,
) -> Measurement:
    """Return one of RULES on the test split, with the classes left out and its error.

    Args:
        metric: which.
        scores: (num_samples, num_classes); a column of NaN is a class that was not learned.
        targets: (num_samples, num_classes).
        row: makes a measurement of a metric's name and value.
        with_error: whether its standard error over test samples is wanted.

    Raises:
        UserError: no class was learned and has positives in test.
    """
    value, left_out = mean_ap(metric, scores, targets, "test")
    made = row(metric, value)
    said = {"classes_left_out": left_out} if left_out else {}
    error = None
    if with_error:

        def of(rows: np.ndarray) -> float:
            return mean_over_classes(RULES[metric], scores[rows], targets[rows])[0]

        error = standard_error(of, len(targets))
    return replace(made, detail={**made.detail, **said}, standard_error=error)


def mean_ap(
    metric: str, scores: np.ndarray, targets: np.ndarray, split: str
) -> tuple[float, list[int]]:
    """Return one of RULES over classes, and the classes left out; as `mean_over_classes`.

    Raises:
        UserError: no class was learned and has positives in this split.
    """
    try:
        return mean_over_classes(RULES[metric], scores, targets)
    except ValueError as error:
        mend = "give each split images with and without each class"
        raise UserError(str(error), where=f"the {split} split", mend=mend) from error
