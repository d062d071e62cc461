"""How far a number would move with other test samples; numpy only.

For values that are no mean over samples (mean_per_class, average precision of classes, boxes and
masks, mean IoU); of the others a record keeps the samples themselves.
Source: Efron and Tibshirani 1993, chapter 6, https://doi.org/10.1201/9780429246593: the standard
deviation of the value over samples drawn with replacement; 200 draws are enough for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

NUM_DRAWS = 200
LEAST_SAMPLES = 30  # as for the bootstrap of a mean: fewer make it too small
_ROUNDING = 1e-9


def standard_error(statistic: Callable[[np.ndarray], float], num_samples: int) -> float | None:
    """Return the standard error of one statistic over test samples, or None where it is unknown.

    Args:
        statistic: as that of `standard_errors`, with a single value.
        num_samples: how many there are.
    """
    return standard_errors(lambda rows: {"": statistic(rows)}, num_samples).get("")


def standard_errors(
    statistics: Callable[[np.ndarray], Mapping[str, float]], num_samples: int
) -> dict[str, float]:
    """Return the standard errors of some statistics over test samples, by their names.

    One that is unknown is left out: all of them below `LEAST_SAMPLES` and where a draw lacks what
    they need, and one whose draws are all equal. A standard error is too small near 0 and 1, and
    of classes with a handful of samples.

    Args:
        statistics: (num_samples,) row numbers, some of them several times -> names and values on
            those samples; raises ValueError where there are none.
        num_samples: how many there are; the same number gives the same draws.
    """
    if num_samples < LEAST_SAMPLES:
        return {}
    rng = np.random.default_rng(0)
    draws = (rng.integers(num_samples, size=num_samples) for _ in range(NUM_DRAWS))
    try:
        values = [statistics(rows) for rows in draws]
    except ValueError:
        return {}
    found = {name: float(np.std([drawn[name] for drawn in values], ddof=1)) for name in values[0]}
    # Where all are right nothing varies, and nothing is known; rounding leaves 1e-16 of it.
    return {name: error for name, error in found.items() if error > _ROUNDING}
