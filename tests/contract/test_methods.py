"""One contract, every method: each file of sslbench/methods, found by listing the folder."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields, replace

import pytest
import torch

from sslbench import methods
from sslbench.core import artifacts, params
from sslbench.core.errors import UserError
from sslbench.methods.base import Method, Progress, ViewBatch
from sslbench.methods.parts.teacher import Teacher
from tests.contract import harness
from tests.contract.harness import TRAINING, build_method, build_params, train

# Trainable parameters that may go without a gradient, and why. Keep this list short.
NO_GRADIENT: dict[str, dict[str, str]] = {}

# The loss on eight fixed images after LEARNING_STEPS, as a share of the first one's distance from
# the least loss there is. Loosened only with a reason.
LEARNING_STEPS = 40
# Two losses on a transformer whose teacher hardly moves: a share of .91 after 40 steps, .73 after
# 120.
SLOW_LEARNERS = {"ibot": 160}
LEAST_LOSS = {
    "byol": -1.0,
    "simsiam": -1.0,
    "simclrv2_distill": 1.3729,  # the entropy of its untrained teacher
}
# Steps before which the loss says nothing: a queue still holds random rows, which are easy.
NOISE_STEPS = {"mocov1": 2, "mocov2": 2}
LARGEST_SHARE = 0.75

every_method = pytest.mark.parametrize("name", methods.names())
every_training = pytest.mark.parametrize("name", TRAINING)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def teachers(method: Method) -> list[Teacher]:
    return [module for module in method.modules() if isinstance(module, Teacher)]


def chained_state(teacher: Teacher) -> list[torch.Tensor]:
    return [value for student in teacher._students for value in student.state_dict().values()]


def distance(here: list[torch.Tensor], there: list[torch.Tensor]) -> float:
    return sum(float((a.detach() - b).norm()) for a, b in zip(here, there, strict=True))


@every_method
def test_method_is_built_and_hands_over_its_backbone(name: str) -> None:
    method = build_method(name).eval()
    features = method.evaluation_backbone(torch.zeros(2, 3, harness.SIZE, harness.SIZE))
    assert features.shape == (2, method.evaluation_backbone.feature_dim)


@every_method
def test_method_file_and_recipe_agree(name: str) -> None:
    recipe = harness.SMALL["recipes"][name]
    keys = {"backbone", "optimizer", "warmup_fraction", "gradient_clip"}
    continues = methods.load(name).METHOD.continues
    assert set(recipe) == keys | ({"predecessor"} if continues else set())
    assert set(harness.SMALL["methods"]) == set(methods.names()) == set(harness.SMALL["recipes"])


@every_training
def test_loss_is_a_finite_scalar(name: str) -> None:
    method = build_method(name)
    for step in train(method, range(2)):
        assert set(step) == set(method.phases)
        assert all(torch.isfinite(torch.tensor(value)) for value in step.values())


@every_training
def test_loss_has_no_shape_and_its_parts_no_gradient(name: str) -> None:
    method = build_method(name)
    progress = Progress(0, 10, harness.STEPS_PER_EPOCH)
    harness.start_epoch(method, progress)
    batch = harness.make_batch(method, torch.arange(harness.BATCH))
    for phase in method.phases:
        output = method(batch, progress, phase)
        assert output.loss.shape == ()
        assert output.loss.dtype == torch.float32
        assert all(part.ndim == 0 and not part.requires_grad for part in output.parts.values())


@every_training
def test_gradient_reaches_every_trainable_parameter(name: str) -> None:
    method = build_method(name)
    harness.one_backward(method)
    missing = {
        parameter_name
        for parameter_name, parameter in method.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    }
    assert missing == set(NO_GRADIENT.get(name, {}))


@every_training
def test_every_trainable_parameter_is_in_one_group_of_one_phase(name: str) -> None:
    method = build_method(name)
    held = [id(item) for phase in method.phases for item in harness.phase_parameters(method, phase)]
    wanted = [id(item) for item in method.parameters() if item.requires_grad]
    assert sorted(held) == sorted(wanted)
    assert all(group.phase in method.phases for group in method.parameter_groups())


@every_training
def test_biases_norms_and_tokens_are_not_decayed(name: str) -> None:
    method = build_method(name)
    names = {id(parameter): key for key, parameter in method.named_parameters()}
    decayed = [
        item
        for group in method.parameter_groups()
        if group.weight_decay
        for item in group.parameters
    ]
    assert all(item.ndim > 1 for item in decayed)
    assert not [names[id(item)] for item in decayed if "token" in names[id(item)]]


@every_training
def test_teachers_start_equal_and_get_no_gradient(name: str) -> None:
    method = build_method(name)
    for teacher in teachers(method):
        pairs = zip(teacher.network.state_dict().values(), chained_state(teacher), strict=True)
        assert all(torch.equal(slow, fast) for slow, fast in pairs)
    harness.one_backward(method)
    for teacher in teachers(method):
        assert all(parameter.grad is None for parameter in teacher.parameters())
        assert not any(parameter.requires_grad for parameter in teacher.parameters())


@every_training
def test_teachers_follow_but_lag_behind(name: str) -> None:
    method = build_method(name)
    start = [[item.clone() for item in teacher.parameters()] for teacher in teachers(method)]
    list(train(method, range(3)))
    for teacher, before in zip(teachers(method), start, strict=True):
        fast = [item for student in teacher._students for item in student.parameters()]
        slow_path = distance(list(teacher.parameters()), before)
        assert 0 < slow_path < distance(fast, before)


@every_training
def test_same_seed_same_losses_other_seed_other_losses(name: str) -> None:
    first, again, other = (
        list(train(build_method(name, seed), range(3), seed=seed)) for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


@every_training
def test_forward_draws_only_from_the_step_generator(name: str) -> None:
    method = build_method(name)
    progress = Progress(0, 10, harness.STEPS_PER_EPOCH)
    harness.start_epoch(method, progress)
    before = torch.get_rng_state()
    batch = harness.make_batch(method, torch.arange(harness.BATCH))
    for phase in method.phases:
        method(batch, progress, phase)
    assert torch.equal(before, torch.get_rng_state())


@every_training
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resume_equals_no_interruption_bit_for_bit(name: str, stop: int, tmp_path) -> None:
    whole = list(train(build_method(name), range(5)))
    method = build_method(name)
    before = list(train(method, range(stop)))
    artifacts.write_tensors(tmp_path / artifacts.METHOD, method.state_dict())
    fresh = build_method(name, seed=7)
    fresh.load_state_dict(artifacts.read_tensors(tmp_path / artifacts.METHOD))
    assert before + list(train(fresh, range(stop, 5))) == whole


@every_training
def test_saved_state_holds_nothing_twice(name: str) -> None:
    state = build_method(name).state_dict()
    places = [value.data_ptr() for value in state.values() if value.numel()]
    assert len(places) == len(set(places))


@every_training
@pytest.mark.parametrize("total_steps", [1, 3, 10_000])
def test_any_length_of_run(name: str, total_steps: int) -> None:
    method = build_method(name)
    steps = range(min(total_steps, 2))
    for losses in train(method, steps, total_steps=total_steps, steps_per_epoch=1):
        assert all(torch.isfinite(torch.tensor(value)) for value in losses.values())


@every_training
def test_eight_images_are_learned_and_features_do_not_collapse(name: str) -> None:
    method = build_method(name)
    steps = SLOW_LEARNERS.get(name, LEARNING_STEPS)
    index = torch.arange(harness.BATCH)
    losses = [
        step[method.phases[-1]]
        for step in train(
            method,
            range(steps),
            make=harness.adam,
            total_steps=steps,
            steps_per_epoch=steps,
            batch_of=lambda progress: harness.make_batch(method, index),
        )
    ]
    least = LEAST_LOSS.get(name, 0.0)
    first = losses[NOISE_STEPS.get(name, 0)]
    assert losses[-1] - least < LARGEST_SHARE * (first - least)
    method.eval()
    with torch.no_grad():
        features = method.evaluation_backbone(harness.make_batch(method, index).views[0])
    spread = torch.nn.functional.normalize(features, dim=1).std(dim=0).mean()
    assert spread > 0.1 / features.shape[1] ** 0.5


class Blindfolded(ViewBatch):
    """A batch that refuses to show labels."""

    def __getattribute__(self, name: str) -> object:
        assert name != "labels", "the method looked at labels that it did not ask for"
        return super().__getattribute__(name)


@every_training
def test_labels_are_out_of_reach_unless_asked_for(name: str) -> None:
    method = build_method(name)
    if method.needs.labels != "none":
        pytest.skip("asks for labels in its `needs`")

    def blind(progress: Progress) -> ViewBatch:
        batch = harness.make_batch(method, torch.arange(harness.BATCH), step=progress.step)
        shown = {field.name: getattr(batch, field.name) for field in fields(batch)}
        return Blindfolded(**shown)

    list(train(method, range(2), batch_of=blind))


@every_training
def test_bfloat16_autocast_is_finite_and_near_float32(name: str) -> None:
    exact = harness.one_backward(build_method(name))
    method = build_method(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = harness.one_backward(method)
    assert rough == pytest.approx(exact, rel=0.05, abs=0.05)
    gradients = [item.grad for item in method.parameters() if item.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@every_training
def test_a_phase_moves_its_own_parameters_only(name: str) -> None:
    method = build_method(name)
    for phase in method.phases:
        others = [item for item in method.phases if item != phase]
        still = [item for other in others for item in harness.phase_parameters(method, other)]
        before = [item.detach().clone() for item in still]
        optimizer = harness.sgd(harness.phase_parameters(method, phase))
        progress = Progress(0, 10, harness.STEPS_PER_EPOCH)
        harness.start_epoch(method, progress)
        batch = harness.make_batch(method, torch.arange(harness.BATCH))
        harness._step(method, batch, progress, phase, {phase: optimizer})
        assert all(torch.equal(old, new) for old, new in zip(before, still, strict=True))


@every_method
def test_params_are_frozen_and_picklable(name: str) -> None:
    made = build_params(name)
    assert pickle.loads(pickle.dumps(made)) == made
    with pytest.raises(FrozenInstanceError):
        made.views = ()
    assert replace(made) == made


@every_method
def test_unknown_and_missing_keys_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="unknown key 'tempreature'"):
        build_params(name, tempreature=0.1)
    lacking = {
        key: value for key, value in harness.SMALL["methods"][name].items() if key != "views"
    }
    with pytest.raises(UserError, match="missing key 'views'"):
        params.build(methods.load(name).Params, lacking, f"methods.{name}")


@every_method
def test_module_docstring_has_every_field(name: str) -> None:
    text = methods.load(name).__doc__
    for field in ("Paper ", "Code ", "Family ", "Views ", "Differs "):
        assert field in text


@every_method
def test_class_is_one_level_below_method(name: str) -> None:
    assert methods.load(name).METHOD.__bases__ == (Method,)


def test_unknown_method_is_refused() -> None:
    with pytest.raises(UserError, match="unknown method 'simlcr'"):
        methods.load("simlcr")
