"""Steps of every method through the loop: none asks the device for a value, all run in bf16."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sslbench.methods.base import Progress
from sslbench.views import colour
from tests.contract import harness
from tests.unit.pretraining.test_loop import loop

# Operations whose result, or its shape, the host must wait for.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique", "_unique2")

# Methods that must know how much of a batch they keep, and so wait once a step; others never.
ONE_WAIT = {
    "exemplar": "the images of a batch that are exemplars",
    "exemplar_triplet": "the pairs of a batch that are positives",
    "triplet": "the pairs of a batch that are positives",
}


class Waits(TorchDispatchMode):
    """Counts operations that would hold up the host on a device that runs ahead of it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        if name in WAITING:
            self.found[name] += 1
        return operation(*args, **(kwargs or {}))


def test_the_counter_counts():
    with Waits() as waits:
        torch.ones(3).sum().item()
        torch.ones(3).nonzero()
    assert waits.found == {"_local_scalar_dense": 1, "nonzero": 1}


@pytest.mark.parametrize("name", harness.TRAINING)
def test_no_step_waits_for_a_value(name, tmp_path, monkeypatch):
    made = loop(tmp_path, name)
    made.start()
    made.epoch(0)  # epoch hooks may wait
    monkeypatch.setattr(colour, "selects", lambda images: False)  # as on a GPU
    steps = made.batches.per_epoch
    with Waits() as waits:
        for step, pending in enumerate(made.batches.steps(1, 1)):
            made._step(Progress(steps + step, 3 * steps, steps), pending)
    assert waits.found.total() == (steps if name in ONE_WAIT else 0), waits.found


@pytest.mark.parametrize("name", harness.TRAINING)
def test_every_method_trains_in_bf16(name, tmp_path):
    made = loop(tmp_path, name, precision="bf16-mixed", epochs=1)
    assert np.isfinite(made.run()[0]["loss"])
    assert all(parameter.isfinite().all() for parameter in made.method.parameters())
