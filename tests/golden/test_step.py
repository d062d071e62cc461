"""One training step of every method against recorded figures; catches silent changes."""

from __future__ import annotations

import pytest

from sslbench.core import artifacts
from tests.contract.harness import TRAINING
from tests.golden.regenerate import STEPS, step

# Another processor sums in another order; a change of the mathematics is far larger.
RELATIVE = 2e-3
RECORDED = artifacts.read_json(STEPS)


def test_every_method_is_recorded_and_nothing_else() -> None:
    assert set(RECORDED) == set(TRAINING), "run `python -m tests.golden.regenerate`"


@pytest.mark.parametrize("name", TRAINING)
def test_one_step_gives_the_recorded_figures(name: str) -> None:
    assert step(name) == pytest.approx(RECORDED[name], rel=RELATIVE, abs=1e-4)
