"""The loop on tiny data: what it reports, what accumulation and precision change, and resuming."""

import dataclasses

import numpy as np
import pytest
import torch

from sslbench.core import params
from sslbench.core.errors import UserError
from sslbench.pretraining import checkpoint, optimizers
from sslbench.pretraining.batches import Batches
from sslbench.pretraining.loop import Loop
from sslbench.pretraining.settings import Budget, OptimizerSettings, Recipe
from tests.contract import harness

ADAM = OptimizerSettings(
    name="adamw", learning_rate=1e-3, weight_decay=0.1, momentum=None, betas=(0.9, 0.999)
)
BUDGET = Budget(
    epochs=3,
    batch_size=8,
    image_size=32,
    precision="32-true",
    accumulate=1,
    checkpoint_every_epochs=1,
    keep_every_epochs=None,
)


class Images:
    """A feed of the harness's images, resident."""

    decoder = None
    is_resident = True

    def __init__(self):
        self._images = harness.images()
        self.labels = torch.arange(len(self._images)) % harness.NUM_CLASSES

    def __len__(self):
        return len(self._images)

    def images(self, index):
        return self._images[index]

    def whole(self, index, size):
        assert size == harness.SIZE
        return self._images[index]


def loop(tmp_path, name="simclr", rows=None, **changes):
    clip, feed = changes.pop("gradient_clip", None), changes.pop("feed", None)
    budget = dataclasses.replace(BUDGET, **changes)
    method = harness.build_method(name)
    batches = Batches(
        feed=feed or Images(),
        method=method,
        image_size=budget.image_size,
        mean=harness.MEAN,
        std=harness.STD,
        size=budget.batch_size,
        seed=0,
        device=torch.device("cpu"),
    )
    recipe = Recipe(backbone={}, optimizer=ADAM, warmup_fraction=0.1, gradient_clip=clip)
    report = (rows if rows is not None else []).append
    return Loop(name, method, batches, budget, recipe, tmp_path / "scratch", report)


def weights(made):
    return torch.cat([p.detach().flatten() for p in made.method.parameters()])


def assert_resumes(tmp_path, name, **changes):
    """Stop a run after its second epoch, start it again, and compare with one left alone."""
    whole = loop(tmp_path / "whole", name, **changes)
    history = whole.run()

    class Stop(Exception):
        pass

    def stop(row):
        if row["epoch"] == 1:
            raise Stop

    first = loop(tmp_path / "cut", name, **changes)
    first.report = stop
    with pytest.raises(Stop):
        first.run()
    second = loop(tmp_path / "cut", name, **changes)
    assert second.run() == history
    assert torch.equal(weights(second), weights(whole))


def test_it_reports_every_epoch_live(tmp_path):
    rows = []
    history = loop(tmp_path, rows=rows).run()
    assert rows == history
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert set(history[0]) == {"epoch", "loss", "parts", "learning_rate", "health"}
    assert history[-1]["learning_rate"] < history[0]["learning_rate"]


HEALTH = {"feature_std", "effective_rank"}
EXTRA_HEALTH = {
    "simclr": set(),
    "byol": {"teacher_student_gap"},
    "swav": {"prototype_entropy"},
    "sela": {"prototype_entropy"},
    "deepcluster": {"prototype_entropy"},
    "deepclusterv2": {"prototype_entropy"},
    "dino": {"prototype_entropy", "teacher_student_gap"},
    "msn": {"prototype_entropy", "teacher_student_gap"},
}


@pytest.mark.parametrize("name", EXTRA_HEALTH)
def test_health_has_prototypes_and_teachers_where_a_method_has_them(name, tmp_path):
    row = loop(tmp_path, name, epochs=1).run()[0]
    assert set(row["health"]) == HEALTH | EXTRA_HEALTH[name]
    assert "prototype_entropy" not in row["parts"]
    assert 0 <= row["health"].get("prototype_entropy", 0) <= 1


@pytest.mark.parametrize("name", EXTRA_HEALTH)
def test_an_interrupted_loop_ends_with_the_same_bits(name, tmp_path):
    assert_resumes(tmp_path, name)


def test_accumulation_steps_once_per_batch_on_the_mean_gradient(tmp_path):
    made = loop(tmp_path, epochs=1, accumulate=2)
    sizes, forward = [], made.method.forward

    def spy(batch, progress, phase):
        sizes.append(len(batch.index))
        return forward(batch, progress, phase)

    made.method.forward = spy
    made.run()
    assert sizes == [4, 4] * made.batches.per_epoch
    steps = {int(s["step"]) for s in made.optimizers["main"].state_dict()["state"].values()}
    assert steps == {made.batches.per_epoch}


def test_bf16_trains_and_keeps_fp32_weights(tmp_path):
    made = loop(tmp_path, precision="bf16-mixed", epochs=1)
    assert np.isfinite(made.run()[0]["loss"])
    assert {p.dtype for p in made.method.parameters()} == {torch.float32}


def test_clipping_bounds_the_gradient(tmp_path, monkeypatch):
    from sslbench.pretraining import loop as module

    norms = []
    real = module.clip_grad_norm_

    def spy(parameters, bound):
        real(parameters, bound)
        norms.append(float(torch.stack([p.grad.norm() for p in parameters]).norm()))

    monkeypatch.setattr(module, "clip_grad_norm_", spy)
    loop(tmp_path, gradient_clip=0.01, epochs=1).run()
    assert norms
    assert max(norms) <= 0.01 + 1e-6


def test_adversarial_phases_touch_only_their_own_parameters(tmp_path):
    made = loop(tmp_path, "context_encoder_adversarial", epochs=1)
    made.run()
    groups = {
        phase: {id(p) for p in optimizers.parameters_of(optimizer)}
        for phase, optimizer in made.optimizers.items()
    }
    assert set(groups) == {"discriminator", "generator"}
    assert not groups["discriminator"] & groups["generator"]


def test_a_checkpoint_holds_the_optimisers_too(tmp_path):
    made = loop(tmp_path, epochs=2)
    made.run()
    fresh = harness.build_method("simclr")
    empty = optimizers.build(fresh, ADAM)
    done, history = checkpoint.restore(tmp_path / "scratch", fresh, empty)
    assert done == 2
    assert len(history) == 2
    ours = empty["main"].state_dict()["state"]
    theirs = made.optimizers["main"].state_dict()["state"]
    assert set(ours) == set(theirs)
    for index, state in theirs.items():
        assert all(torch.equal(ours[index][key], state[key]) for key in state)


def test_no_state_means_a_fresh_start(tmp_path):
    assert checkpoint.restore(tmp_path, harness.build_method("simclr"), {}) == (0, [])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epochs": 0}, "pretrain: epochs must be at least 1"),
        ({"accumulate": 3}, "pretrain: accumulate must divide batch_size"),
        ({"precision": "8"}, "pretrain.precision: '8' is not one of"),
    ],
)
def test_a_budget_that_cannot_run_is_refused(change, says):
    with pytest.raises(UserError) as error:
        params.build(Budget, {**dataclasses.asdict(BUDGET), **change}, "pretrain")
    assert says in str(error.value)


def test_sgd_without_momentum_is_refused():
    settings = dataclasses.replace(ADAM, name="sgd")
    with pytest.raises(UserError, match="sgd needs momentum"):
        optimizers.build(harness.build_method("simclr"), settings)


def test_an_empty_train_split_is_refused():
    from sslbench.pretraining.feed import Feed

    class Empty:
        def __len__(self):
            return 0

    with pytest.raises(UserError, match="the train split is empty"):
        Feed(Empty(), torch.device("cpu"))
