import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sslbench.methods.base import Progress
from sslbench.pretraining.schedules import cosine_with_warmup

TOTALS = st.integers(2, 500)
FRACTIONS = st.floats(0, 0.9)


def factors(total, fraction):
    return [cosine_with_warmup(Progress(step, total, total), fraction) for step in range(total)]


@given(TOTALS, FRACTIONS)
def test_every_factor_is_a_positive_share(total, fraction):
    assert all(0 < factor <= 1 for factor in factors(total, fraction))


@given(TOTALS, FRACTIONS)
def test_it_rises_to_the_peak_and_then_falls(total, fraction):
    made = factors(total, fraction)
    peak = int(fraction * total)
    assert made[peak] == 1.0
    assert made[: peak + 1] == sorted(set(made[: peak + 1]))
    assert made[peak:] == sorted(set(made[peak:]), reverse=True)


@given(st.integers(20, 500))
def test_without_warm_up_it_is_half_a_cosine(total):
    expected = [0.5 * (1 + math.cos(math.pi * step / total)) for step in range(total)]
    assert factors(total, 0.0) == pytest.approx(expected, abs=1e-12)
