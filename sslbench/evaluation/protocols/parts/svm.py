"""Linear support vector machines of one class against the rest; scikit-learn's, imported late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Machine:
    """What is the same for every class and cost.

    Attributes:
        positive_weight: weight of an image with the class; one without weighs 1.
        tolerance: of the solver: the gradient against the one at zero.
        max_iterations: of the solver.
    """

    positive_weight: float
    tolerance: float
    max_iterations: int

    def cross_validated(
        self, features: np.ndarray, positives: np.ndarray, costs: Sequence[float], folds: int
    ) -> dict[float, float]:
        """Return each cost's average precision, mean over stratified folds in the order of rows.

        Args:
            features: (num_samples, dim).
            positives: (num_samples,) bool, with at least `folds` of either kind.
            costs: weights of the loss against 1/2 ||w||^2.
            folds: parts, each of which is once held out.
        """
        from sklearn.model_selection import cross_val_score

        return {
            cost: float(
                cross_val_score(
                    self._classifier(cost), features, positives, cv=folds,
                    scoring="average_precision",
                ).mean()
            )
            for cost in costs
        }  # fmt: skip

    def scores(
        self, features: np.ndarray, positives: np.ndarray, cost: float, queries: np.ndarray
    ) -> np.ndarray:
        """Return the signed distances (num_queries,) of a machine fit on all the features."""
        found: np.ndarray = (
            self._classifier(cost).fit(features, positives).decision_function(queries)
        )
        return found

    def _classifier(self, cost: float) -> Any:
        """Return an unfitted machine; the primal solver draws nothing and has no order."""
        from sklearn.svm import LinearSVC

        return LinearSVC(
            C=cost, loss="squared_hinge", penalty="l2", dual=False,
            class_weight={True: self.positive_weight, False: 1}, tol=self.tolerance,
            max_iter=self.max_iterations,
        )  # fmt: skip
