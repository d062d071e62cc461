"""Linear SVM for each class against the rest; mean average precision.

Source   Goyal et al. 2019, https://arxiv.org/abs/1905.01235, section 6.1, its train_svm_kfold.py
         and VISSL's svm_trainer.py: rows of length one, squared hinge, positives weigh 2, for each
         class the cost with the best average precision in 3-fold cross-validation on train + val
Chosen   the cost of each class, and the layer (mean over classes of the same cross-validated
         value); of equal costs the lower wins. No test image takes part
Single   where images have one label, it is one-hot
Unsaid   an image whose label of a class is unsaid (-1) is left out of that class's fit and AP; in
         the source it is in the fit as a negative
Rare     a class with fewer images of either kind than folds cannot be cross-validated and takes
         the lowest cost; one that is always or never there is left out of the mean, and said so
Differs  solved in the primal (the same objective; the source's dual solver stops unconverged at
         large costs and depends on the order of images); map_area has scikit-learn's sum, where
         the source raises precisions first (VOC2010); map_11point beside it; features are of the
         centre crop (VISSL resizes the whole image to 224 x 224)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sslbench.core.errors import UserError
from sslbench.core.feature_file import Features
from sslbench.evaluation.protocols.base import Choice, LayerChoice, Measurement, best
from sslbench.evaluation.protocols.parts.scaling import unit_rows
from sslbench.evaluation.protocols.parts.several_labels import learnable, map_rows, targets_of
from sslbench.evaluation.protocols.parts.svm import Machine

NAME = "svm_map"
VERSION = 1
KIND = "probe"
LABELS = "either"


@dataclass(frozen=True, kw_only=True)
class Params:
    """The machine, and the costs that cross-validation chooses from.

    Attributes:
        costs: weights of the loss against the penalty; the lowest is the strongest penalty.
        folds: parts of train + val, each of which is once held out.
        positive_weight: weight of an image with the class; one without weighs 1.
        tolerance: of the solver: the gradient against the one at zero.
        max_iterations: of the solver.
    """

    costs: tuple[float, ...]
    folds: int
    positive_weight: float
    tolerance: float
    max_iterations: int

    def __post_init__(self) -> None:
        """Refuse an empty grid and values without meaning."""
        if not self.costs or min(self.costs) <= 0 or list(self.costs) != sorted(self.costs):
            raise ValueError(f"costs must be positive and ascending, found {self.costs}")
        if self.folds < 2 or min(self.positive_weight, self.tolerance, self.max_iterations) <= 0:
            raise ValueError(f"two folds or more, and positive numbers: {self}")

    @property
    def machine(self) -> Machine:
        """The machine that every class and cost shares."""
        return Machine(self.positive_weight, self.tolerance, self.max_iterations)


@dataclass(frozen=True)
class SVMChoice(Choice):
    """A choice per layer, and each layer's costs by class."""

    costs: dict[str, dict[int, float]]
    params: Params


def choose(train: Features, val: Features, params: Params) -> SVMChoice:
    """Return each layer's costs with the best cross-validated average precision."""
    targets = _joined_targets(train, val)
    layers, costs = [], {}
    for layer in train.layers:
        costs[layer], value = _cross_validate(_joined(layer, train, val), targets, params)
        counts = {str(cost): list(costs[layer].values()).count(cost) for cost in params.costs}
        layers.append(LayerChoice(layer, {"classes_by_cost": counts}, value))
    return SVMChoice(tuple(layers), costs, params)


def measure(choice: SVMChoice, train: Features, val: Features, test: Features) -> list[Measurement]:
    """Return map_11point and map_area at the chosen layer, and map_11point of every layer."""
    targets = _joined_targets(train, val)
    scores = {}
    for layer, costs in choice.costs.items():
        features = _joined(layer, train, val)
        queries = _normalised(test.layers[layer])
        scores[layer] = np.full((len(queries), targets.shape[1]), np.nan)
        for index, cost in costs.items():
            known = targets[:, index] >= 0
            scores[layer][:, index] = choice.params.machine.scores(
                features[known], targets[known, index] == 1, cost, queries
            )
    return map_rows(choice, scores, targets_of(test, train), {})


def _cross_validate(
    features: np.ndarray, targets: np.ndarray, params: Params
) -> tuple[dict[int, float], float]:
    """Return the cost of each class that can be learned, and the mean value of the best costs."""
    costs = dict.fromkeys(learnable(targets), params.costs[0])
    values = []
    for index in learnable(targets, params.folds):
        known = targets[:, index] >= 0
        found = params.machine.cross_validated(
            features[known], targets[known, index] == 1, params.costs, params.folds
        )
        costs[index] = best(found)
        values.append(found[costs[index]])
    if not values:
        what = f"no class has {params.folds} images with and {params.folds} without it"
        mend = "take this dataset out of the grid of svm_map, or lower probe.svm_map.folds"
        raise UserError(what, where="the train and val splits", mend=mend)
    return costs, float(np.mean(values))


def _joined_targets(train: Features, val: Features) -> np.ndarray:
    return np.concatenate([targets_of(train, train), targets_of(val, train)])


def _joined(layer: str, train: Features, val: Features) -> np.ndarray:
    return _normalised(np.concatenate([train.layers[layer], val.layers[layer]]))


def _normalised(features: np.ndarray) -> np.ndarray:
    """Return rows of length one in the solver's precision."""
    return unit_rows(features).astype(np.float64)
