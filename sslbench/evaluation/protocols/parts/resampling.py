"""How far a number would move with other test samples; numpy only.

For values that are no mean over samples (mean_per_class, mean average precision, mean IoU); of the
others a record keeps the samples themselves.
Source: Efron and Tibshirani 1993, chapter 6, https://doi.org/10.1201/9780429246593: the standard
deviation of the value over samples drawn with replacement; 200 draws are enough for it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

NUM_DRAWS = 200
LEAST_SAMPLES = 30  # as for the bootstrap of a mean: fewer make it too small
_ROUNDING = 1e-9


def standard_error(statistic: Callable[[np.ndarray], float], num_samples: int) -> float | None:
    """Return the standard error of a statistic over test samples, or None where it is unknown.

    Unknown below `LEAST_SAMPLES`, where a draw lacks what the statistic needs, and where all draws
    are equal. It is too small near 0 and 1, and of classes with a handful of samples.

    Args:
        statistic: (num_samples,) row numbers, some of them several times -> the value on those
            samples; raises ValueError where it has none.
        num_samples: how many there are; the same number gives the same draws.
    """
    if num_samples < LEAST_SAMPLES:
        return None
    rng = np.random.default_rng(0)
    draws = (rng.integers(num_samples, size=num_samples) for _ in range(NUM_DRAWS))
    try:
        values = [statistic(rows) for rows in draws]
    except ValueError:
        return None
    found = float(np.std(values, ddof=1))
    # Where all are right nothing varies, and nothing is known; rounding leaves 1e-16 of it.
    return found if found > _ROUNDING else None
