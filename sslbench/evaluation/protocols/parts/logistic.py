"""Multinomial logistic regression with an L2 penalty, along a path of strengths; numpy only.

Minimises scikit-learn's objective, with the same meaning of C:

    C * sum_i cross_entropy(softmax(W x_i + b), y_i) + 1/2 ||W||^2        (b is not penalised)

divided by C, so that the penalty is lambda / 2 ||W||^2 with lambda = 1 / C. For two classes we
keep two rows of W, where scikit-learn keeps one: ours at C is theirs at 2 C.

The optimiser is L-BFGS (Liu and Nocedal 1989; two-loop recursion as in Nocedal and Wright,
Numerical Optimization, algorithm 7.4), written here because importing scipy.optimize costs more
than a small probe, and because the problem allows more than a general optimiser can know:

- logits are linear along a search direction, so a line search costs no matrix product;
- the objective is convex, so backtracking is enough to keep the curvature pairs positive;
- from one strength to the next, only the penalty's curvature changes, and it is known exactly:
  the pairs are corrected and kept instead of being built anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sslbench.evaluation.protocols.parts import scratch

_MEMORY = 10  # curvature pairs, scipy's default too
_SUFFICIENT = 1e-4  # Armijo's constant, Nocedal and Wright, section 3.1
_HALVINGS = 20

_Pairs = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Fit:
    """An optimum.

    Attributes:
        weights: (num_classes, dim + 1); the last column is the bias.
        iterations: steps taken for this strength.
        is_converged: the largest gradient entry of the mean loss is at most the tolerance.
    """

    weights: np.ndarray
    iterations: int
    is_converged: bool

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return (num_samples, num_classes) of features (num_samples, dim)."""
        logits: np.ndarray = features @ self.weights[:, :-1].T + self.weights[:, -1]
        return logits

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return class indices (num_samples,) of features (num_samples, dim)."""
        indices: np.ndarray = self.logits(features).argmax(axis=1)
        return indices


def fit_path(
    features: np.ndarray,
    classes: np.ndarray,
    num_classes: int,
    cs: Sequence[float],
    *,
    tolerance: float,
    max_iterations: int,
) -> Iterator[Fit]:
    """Yield the optimum for each C, each started from the one before.

    Args:
        features: (num_samples, dim), standardised; the arithmetic has their precision.
        classes: (num_samples,) class indices in [0, num_classes).
        num_classes: rows of the weights.
        cs: inverse strengths; from small (strong penalty) to large is fastest.
        tolerance: on the largest entry of the mean loss's gradient, as in scikit-learn's `tol`.
        max_iterations: steps per C after which a fit counts as not converged.
    """
    problem = _Problem(features, classes, num_classes)
    weights = np.zeros((num_classes, features.shape[1] + 1), features.dtype)
    pairs: _Pairs = []
    penalty = None
    for c in cs:
        if penalty is not None:
            pairs = _corrected(pairs, 1 / c - penalty)
        penalty = 1 / c
        weights, iterations, done = _minimise(
            problem, penalty, weights, pairs, tolerance, max_iterations
        )
        yield Fit(weights, iterations, done)


class _Problem:
    """The data term, and the objective at logits that the caller keeps.

    Attributes:
        room: three arrays (num_classes, num_samples) for logits, used again for each strength.
    """

    def __init__(self, features: np.ndarray, classes: np.ndarray, num_classes: int) -> None:
        self.features = np.ascontiguousarray(features)
        self.transposed = scratch.transposed(features)
        self.target = (classes, np.arange(len(classes)))
        self.num_classes = num_classes
        shape = (num_classes, len(classes))
        self.room = tuple(scratch.empty(shape, features.dtype) for _ in range(3))
        self._softmax = scratch.empty(shape, features.dtype)

    def logits(self, weights: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Return (num_classes, num_samples): classes first, so that sums over them are fast."""
        np.matmul(weights[:, :-1], self.transposed, out=out)
        out += weights[:, -1:]
        return out

    def value(
        self, logits: np.ndarray, weights: np.ndarray, penalty: float
    ) -> tuple[float, np.ndarray]:
        """Return the objective and the softmax (num_classes, num_samples), good until the next."""
        shifted = np.subtract(logits, logits.max(axis=0), out=self._softmax)
        picked = shifted[self.target].sum(dtype=np.float64)
        softmax = np.exp(shifted, out=shifted)
        total = softmax.sum(axis=0)
        softmax /= total
        square = float(np.vdot(weights[:, :-1], weights[:, :-1]))
        loss = float(np.log(total).sum(dtype=np.float64) - picked)
        return loss + 0.5 * penalty * square, softmax

    def gradient(self, softmax: np.ndarray, weights: np.ndarray, penalty: float) -> np.ndarray:
        """Return the objective's gradient, in the shape of the weights; uses the softmax up."""
        error = softmax
        error[self.target] -= 1
        slope = np.empty_like(weights)
        slope[:, :-1] = error @ self.features + weights.dtype.type(penalty) * weights[:, :-1]
        slope[:, -1] = error.sum(axis=1)
        return slope


def _minimise(
    problem: _Problem,
    penalty: float,
    weights: np.ndarray,
    pairs: _Pairs,
    tolerance: float,
    max_iterations: int,
) -> tuple[np.ndarray, int, bool]:
    """Return the optimum, the steps taken and whether the tolerance is met; extends `pairs`."""
    limit = tolerance * problem.features.shape[0]
    logits, along, moved_logits = problem.room
    problem.logits(weights, logits)
    value, softmax = problem.value(logits, weights, penalty)
    slope = problem.gradient(softmax, weights, penalty)
    for iteration in range(max_iterations):
        if np.abs(slope).max() <= limit:
            return weights, iteration, True
        direction = _direction(slope, pairs)
        problem.logits(direction, along)
        step = 1.0
        for _ in range(_HALVINGS):
            moved = weights + weights.dtype.type(step) * direction
            np.multiply(along, logits.dtype.type(step), out=moved_logits)
            moved_logits += logits
            moved_value, softmax = problem.value(moved_logits, moved, penalty)
            if moved_value <= value + _SUFFICIENT * step * float(np.vdot(slope, direction)):
                break
            step /= 2
        else:  # no descent left that this precision can see
            return weights, iteration, False
        moved_slope = problem.gradient(softmax, moved, penalty)
        _remember(pairs, moved - weights, moved_slope - slope)
        logits, moved_logits = moved_logits, logits
        weights, value, slope = moved, moved_value, moved_slope
    return weights, max_iterations, bool(np.abs(slope).max() <= limit)


def _direction(slope: np.ndarray, pairs: _Pairs) -> np.ndarray:
    """Return the two-loop recursion's direction; steepest descent of length 1 without pairs."""
    if not pairs:
        steepest: np.ndarray = -slope / np.linalg.norm(slope)
        return steepest
    found = slope.copy()
    scales = []
    for step, change in reversed(pairs):
        scale = np.vdot(step, found) / np.vdot(step, change)
        scales.append(scale)
        found -= scale * change
    step, change = pairs[-1]
    found *= np.vdot(step, change) / np.vdot(change, change)
    for (step, change), scale in zip(pairs, reversed(scales), strict=True):
        found += (scale - np.vdot(change, found) / np.vdot(step, change)) * step
    return -found


def _remember(pairs: _Pairs, step: np.ndarray, change: np.ndarray) -> None:
    if np.vdot(step, change) > 0:  # rounding can hide the convexity of a tiny step
        pairs.append((step, change))
        del pairs[:-_MEMORY]


def _corrected(pairs: _Pairs, difference: float) -> _Pairs:
    """Return the curvature pairs for a penalty that differs by `difference`."""
    corrected: _Pairs = []
    for step, change in pairs:
        moved = change.copy()
        moved[:, :-1] += change.dtype.type(difference) * step[:, :-1]
        _remember(corrected, step, moved)
    return corrected
