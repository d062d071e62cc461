"""Schedules, refusals, and DINO on a convolutional backbone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from sslbench import backbones
from sslbench.core import artifacts
from sslbench.methods.base import Progress
from sslbench.methods.dino import DINO
from sslbench.methods.parts.self_distillation import DistillationParams, teacher_temperature
from tests.contract import harness

NUMBERS: dict[str, Any] = {
    "num_global_views": 2,
    "hidden_dim": 16,
    "bottleneck_dim": 8,
    "output_dim": 12,
    "batch_norm": True,
    "norm_last_layer": True,
    "frozen_last_layer_epochs": 1,
    "student_temperature": 0.1,
    "teacher_temperature": (0.04, 0.07),
    "teacher_warmup_fraction": 0.3,
    "centre_momentum": 0.9,
    "teacher_momentum": 0.9,
}


def numbers(**changes: Any) -> DistillationParams:
    return DistillationParams(**(NUMBERS | changes))


def convolutional_dino(seed: int = 0, **changes: Any) -> DINO:
    torch.manual_seed(seed)
    spec = {"family": "resnet", "depth": "tiny", "stem": "small_stride2", "width": 8}
    params = replace(harness.build_params("dino"), distillation=numbers(**changes))
    data = harness.data_info()
    return DINO(backbones.build(spec), params, data)


def test_the_teachers_temperature_rises_in_a_line_and_stays() -> None:
    found = [teacher_temperature(numbers(), Progress(step, 100, 10)) for step in (0, 15, 30, 99)]
    assert found == pytest.approx([0.04, 0.055, 0.07, 0.07])
    constant = numbers(teacher_warmup_fraction=0.0)
    assert teacher_temperature(constant, Progress(0, 100, 10)) == 0.07


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"student_temperature": 0.0}, "temperature"),
        ({"teacher_temperature": (0.04, 0.0)}, "temperature"),
        ({"teacher_warmup_fraction": 1.5}, "teacher_warmup_fraction"),
        ({"centre_momentum": -0.1}, "centre_momentum"),
        ({"frozen_last_layer_epochs": -1}, "frozen_last_layer_epochs"),
    ],
)
def test_impossible_numbers_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        numbers(**changes)


def test_prototypes_stand_still_in_the_first_epoch_and_learn_after_it() -> None:
    method = convolutional_dino()
    layer = method.projection_head.last_layer
    places = []
    for _ in harness.train(method, range(4)):
        places.append(layer.weight_v.detach().clone())
    first, second, third, fourth = places
    assert torch.equal(first, second)
    assert not torch.equal(second, third)
    assert not torch.equal(third, fourth)


def test_prototypes_keep_length_one_only_if_told() -> None:
    assert not convolutional_dino().projection_head.last_layer.weight_g.requires_grad
    free = convolutional_dino(norm_last_layer=False)
    assert free.projection_head.last_layer.weight_g.requires_grad
    decayed = [p for g in free.parameter_groups() if g.weight_decay for p in g.parameters]
    assert not any(p is free.projection_head.last_layer.weight_g for p in decayed)


def test_a_convolutional_backbone_sees_crops_of_both_sizes_and_resumes_bit_for_bit(tmp_path):
    whole = list(harness.train(convolutional_dino(), range(5)))
    method = convolutional_dino()
    before = list(harness.train(method, range(3)))
    artifacts.write_tensors(tmp_path / artifacts.METHOD, method.state_dict())
    fresh = convolutional_dino(seed=7)
    fresh.load_state_dict(artifacts.read_tensors(tmp_path / artifacts.METHOD))
    assert before + list(harness.train(fresh, range(3, 5))) == whole


def test_the_teachers_backbone_is_evaluated_with_statistics_of_its_own() -> None:
    method = convolutional_dino()
    list(harness.train(method, range(3)))
    teacher = method.evaluation_backbone
    assert type(teacher) is type(method.backbone)
    assert teacher is not method.backbone
    assert teacher.layers == method.backbone.layers
    assert teacher.bn1.running_mean.any()
    assert not torch.equal(teacher.bn1.running_mean, method.backbone.bn1.running_mean)
