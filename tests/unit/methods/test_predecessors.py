"""SimCLR v2's chain: what each method takes from the one before, and what stays as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sslbench.core.errors import UserError
from sslbench.methods.parts.frozen import Frozen
from sslbench.methods.parts.predecessor import load_part
from tests.contract import harness


def equal(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def distilled(**changes: str) -> tuple[nn.Module, nn.Module]:
    """Return a distillation and the trained predecessor that it continues."""
    before = harness.build_method("simclrv2_finetune", seed=1)
    list(harness.train(before, range(3), make=harness.adam))
    method = harness.build_method("simclrv2_distill", **changes)
    method.continue_from(before.state_dict())
    return method, before


def test_fine_tuning_starts_from_backbone_and_first_head_layer() -> None:
    before = harness.build_method("simclrv2", seed=1)
    list(harness.train(before, range(3), make=harness.adam))
    method = harness.build_method("simclrv2_finetune")
    drawn = copy.deepcopy(method.head.classifier)
    method.continue_from(before.state_dict())
    assert equal(method.backbone, before.backbone)
    assert equal(method.head.first_layer, before.projection_head.layers[:3])
    assert equal(method.head.classifier, drawn)
    features = torch.randn(4, method.backbone.feature_dim)
    wanted = before.eval().projection_head.layers[2](
        before.projection_head.layers[1](before.projection_head.layers[0](features))
    )
    assert torch.equal(method.eval().head.first_layer(features), wanted)


def test_fine_tuning_trains_batch_norms() -> None:
    method = harness.build_method("simclrv2_finetune")
    means = [value.clone() for key, value in method.state_dict().items() if "running_mean" in key]
    list(harness.train(method, range(1)))
    after = [value for key, value in method.state_dict().items() if "running_mean" in key]
    assert not any(torch.equal(a, b) for a, b in zip(means, after, strict=True))


def test_the_teacher_is_the_fine_tuned_network_and_never_moves() -> None:
    method, before = distilled()
    list(harness.train(method, range(3), make=harness.adam))
    assert equal(method.teacher[0], before.backbone)
    assert equal(method.teacher[1], before.head)
    view = harness.make_batch(method, torch.arange(4)).views[0]
    before.eval()
    with torch.no_grad():
        wanted = before.head(before.backbone(view))
    assert torch.equal(method.train().teacher(view), wanted), "eval mode, whatever the method's"


def test_the_teacher_gets_no_gradient() -> None:
    method, _ = distilled()
    harness.one_backward(method)
    assert not any(p.requires_grad or p.grad is not None for p in method.teacher.parameters())
    assert not {id(p) for p in method.teacher.parameters()} & {
        id(p) for p in harness.phase_parameters(method, "main")
    }


def test_the_student_starts_at_random_or_as_the_teacher_with_a_new_classifier() -> None:
    random, before = distilled()
    assert equal(random.backbone, harness.build_method("simclrv2_distill").backbone)
    assert not equal(random.backbone, before.backbone)
    taught, before = distilled(student="teacher")
    assert equal(taught.backbone, before.backbone)
    assert equal(taught.head.first_layer, before.head.first_layer)
    assert not torch.equal(taught.head.classifier.weight, before.head.classifier.weight)


def test_a_student_equal_to_its_teacher_has_no_divergence() -> None:
    method, before = distilled(student="teacher")
    method.head.classifier.load_state_dict(before.head.classifier.state_dict())
    method.eval()
    batch = harness.make_batch(method, torch.arange(harness.BATCH))
    parts = method(batch, harness.Progress(0, 1, 1), "main").parts
    assert float(parts["kl"]) == pytest.approx(0, abs=1e-6)
    assert float(parts["agreement"]) == 1


def state() -> dict[str, Tensor]:
    return {
        "part.weight": torch.ones(2, 3),
        "part.bias": torch.ones(2),
        "other.bias": torch.ones(9),
    }


def test_a_part_is_copied_whole_and_nothing_else() -> None:
    module = nn.Linear(3, 2)
    tensors = state()
    load_part(module, tensors, "part")
    assert torch.equal(module.weight, torch.ones(2, 3))
    tensors["part.weight"].zero_()
    assert module.weight.all(), "a copy"


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (nn.Sequential(nn.Linear(3, 2)), "predecessor: has no part.0.weight"),
        (nn.Linear(4, 2), "predecessor: part.weight is (2, 3), here it is (2, 4)"),
    ],
)
def test_a_part_that_does_not_fit_is_one_line(module: nn.Module, says: str) -> None:
    with pytest.raises(UserError) as error:
        load_part(module, state(), "part")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_frozen_stays_in_eval_mode() -> None:
    frozen = Frozen(nn.Linear(3, 4), nn.BatchNorm1d(4))
    holder = nn.Sequential(frozen).train()
    assert holder.training
    assert not any(module.training for module in frozen.modules())
    holder(torch.randn(5, 3))
    assert not frozen[1].running_mean.any()
