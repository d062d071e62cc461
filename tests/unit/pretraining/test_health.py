import math

import pytest
import torch

from sslbench.core.errors import UserError
from sslbench.methods.base import Progress
from sslbench.objectives.spread import unit_spread
from sslbench.pretraining import health
from tests.contract import harness

IMAGES = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
WITH_TEACHER = ["byol", "dino", "ibot", "mocov1", "mocov2", "mocov3", "msn"]


def test_random_directions_have_spread_one_and_full_rank():
    features = torch.randn(4096, 32, generator=torch.Generator().manual_seed(0))
    assert float(unit_spread(features)) == pytest.approx(1, abs=0.02)
    assert health.effective_rank(features) == pytest.approx(32, rel=0.01)


def test_collapsed_features_have_no_spread_and_rank_one():
    features = torch.ones(64, 32)
    assert float(unit_spread(features)) == pytest.approx(0, abs=1e-5)
    assert health.effective_rank(features) == pytest.approx(1, abs=1e-3)


def test_effective_rank_is_exp_entropy_of_singular_values():
    features = torch.diag(torch.tensor([3.0, 1.0]))
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert health.effective_rank(features) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_loss_names_its_step_and_a_mend(bad):
    losses = torch.tensor([1.0, 1.0, bad, 1.0])
    with pytest.raises(UserError, match=r"pretrain byol: the loss became \w+ at step 12; lower"):
        health.refuse_non_finite(losses, 10, "byol")
    health.refuse_non_finite(losses[:2], 10, "byol")


def test_collapse_is_said_aloud_and_health_is_not():
    assert health.collapse_warning({"feature_std": 0.9, "effective_rank": 20.0}, "byol", 3) is None
    text = health.collapse_warning({"feature_std": 0.01, "effective_rank": 1.1}, "byol", 3)
    assert "pretrain byol: looks collapsed after epoch 3" in text
    assert "(feature_std 0.010, effective_rank 1.100)" in text


def test_one_prototype_for_all_is_said_aloud():
    sound = {"feature_std": 0.9, "effective_rank": 20.0}
    assert health.collapse_warning(sound | {"prototype_entropy": 0.9}, "swav", 3) is None
    text = health.collapse_warning(sound | {"prototype_entropy": 0.01}, "swav", 3)
    assert "(prototype_entropy 0.010)" in text


def test_the_gap_of_directions_runs_from_0_to_2():
    rows = torch.randn(5, 3)
    assert health.direction_gap(rows, 7 * rows) == pytest.approx(0.0, abs=1e-6)
    assert health.direction_gap(rows, -rows) == pytest.approx(2.0)
    assert health.direction_gap(torch.eye(3)[:1], torch.eye(3)[1:2]) == pytest.approx(1.0)


def test_methods_with_a_teacher_measure_its_gap_and_no_others():
    found = {
        name
        for name in harness.TRAINING
        if "teacher_student_gap" in health.measure(harness.build_method(name), IMAGES)
    }
    assert found == set(WITH_TEACHER)


@pytest.mark.parametrize("name", WITH_TEACHER)
def test_the_gap_is_0_for_a_fresh_copy_and_grows_as_the_student_leaves(name):
    method = harness.build_method(name)
    assert health.measure(method, IMAGES)["teacher_student_gap"] == pytest.approx(0.0, abs=1e-6)
    list(harness.train(method, range(3), make=harness.adam))
    left = health.measure(method, IMAGES)["teacher_student_gap"]
    assert 1e-6 < left <= 2


def test_the_gap_closes_when_the_teacher_catches_up():
    method = harness.build_method("ibot")
    list(harness.train(method, range(3), make=harness.adam))
    before = health.measure(method, IMAGES)["teacher_student_gap"]
    method.teacher.momentum = 0.0
    method.teacher.update(Progress(0, 10, 2))
    assert health.measure(method, IMAGES)["teacher_student_gap"] < 1e-3 * before


@pytest.mark.parametrize("name", harness.TRAINING)
def test_measuring_changes_no_state_no_mode_and_no_random_stream(name):
    method = harness.build_method(name)
    list(harness.train(method, range(1)))
    state = {key: value.clone() for key, value in method.state_dict().items()}
    modes = [module.training for module in method.modules()]
    stream = torch.get_rng_state()
    health.measure(method, IMAGES)
    assert all(torch.equal(value, state[key]) for key, value in method.state_dict().items())
    assert [module.training for module in method.modules()] == modes
    assert torch.equal(torch.get_rng_state(), stream)
