"""DINO, iBOT and MSN against restatements from the papers' formulas, and the guards they need."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sslbench.core import seeding
from sslbench.core.errors import UserError
from sslbench.methods.base import Progress
from sslbench.methods.parts.prototype_matching import MatchingParams, PrototypeMatching
from sslbench.methods.parts.self_distillation import CrossViewLoss, DistillationParams, PatchLoss
from sslbench.objectives.entropy import entropies, entropy
from tests.contract import harness

BATCH, PROTOTYPES, DIM = 5, 8, 6
START = Progress(0, 10, harness.STEPS_PER_EPOCH)


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = seeding.generator(seed, "reference")
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def numbers(**changes: Any) -> DistillationParams:
    values = {
        "num_global_views": 2, "hidden_dim": 16, "bottleneck_dim": 8, "output_dim": PROTOTYPES,
        "batch_norm": False, "norm_last_layer": True, "frozen_last_layer_epochs": 1,
        "student_temperature": 0.1, "teacher_temperature": (0.04, 0.04),
        "teacher_warmup_fraction": 0.0, "centre_momentum": 0.9, "teacher_momentum": 0.9,
    }  # fmt: skip
    return DistillationParams(**(values | changes))


def softmax(logits: list[float]) -> list[float]:
    weights = [math.exp(value - max(logits)) for value in logits]
    return [weight / sum(weights) for weight in weights]


def cross_entropy(target: Tensor, logits: Tensor, centre: Tensor, sharp: float = 0.04) -> float:
    """-sum_k P_t log P_s of one row, with temperatures `sharp` and 0.1 (DINO, eq. 1 to 3)."""
    theirs = softmax([float(a - b) / sharp for a, b in zip(target, centre, strict=True)])
    ours = softmax([float(value) / 0.1 for value in logits])
    return -sum(p * math.log(q) for p, q in zip(theirs, ours, strict=True))


def restated_dino(
    targets: Tensor, logits: Tensor, num_global: int, centre: Tensor, sharp: float = 0.04
) -> float:
    """Algorithm 1 with loops: targets and logits are (views, batch, prototypes)."""
    found = [
        cross_entropy(targets[t, row], logits[s, row], centre, sharp)
        for t in range(num_global)
        for s in range(len(logits))
        if t != s
        for row in range(logits.shape[1])
    ]
    return sum(found) / len(found)


def test_dino_loss_equals_its_restatement_with_a_moved_centre() -> None:
    criterion = CrossViewLoss(numbers())
    targets, logits = draw(2, BATCH, PROTOTYPES) / 9, draw(5, BATCH, PROTOTYPES, seed=1) / 9
    centre = torch.zeros(PROTOTYPES, dtype=torch.float64)
    for _ in range(3):
        loss, _ = criterion(targets.flatten(0, 1), logits.flatten(0, 1), START)
        assert float(loss) == pytest.approx(restated_dino(targets, logits, 2, centre), abs=1e-5)
        centre = 0.9 * centre + 0.1 * targets.mean(dim=(0, 1))
        assert torch.allclose(criterion.criterion.center[0, 0].double(), centre, atol=1e-6)


def test_dino_of_uniform_logits_is_log_of_the_prototypes() -> None:
    loss, figures = CrossViewLoss(numbers())(torch.ones(8, 8), torch.ones(16, 8), START)
    assert float(loss) == pytest.approx(math.log(8), abs=1e-5)
    assert all(float(value) == pytest.approx(1.0, abs=1e-5) for value in figures.values())


def test_dino_figures_tell_one_prototype_for_all_from_none() -> None:
    one_for_all = torch.tensor([5.0] + [0.0] * 7).repeat(8, 1)
    _, figures = CrossViewLoss(numbers())(one_for_all, one_for_all, START)
    assert max(float(value) for value in figures.values()) < 1e-3
    own = 5.0 * torch.eye(8)
    _, figures = CrossViewLoss(numbers())(own, own, START)
    assert float(figures["teacher_entropy"]) < 1e-3
    assert float(figures["prototype_entropy"]) == pytest.approx(1.0, abs=1e-3)


def test_the_centre_is_saved_and_leaves_no_gradient_to_the_teacher() -> None:
    method = harness.build_method("dino")
    saved = [name for name in method.state_dict() if name.endswith("center")]
    assert saved == ["cross_view_loss.criterion.center"]
    method = harness.build_method("ibot")
    saved = [name for name in method.state_dict() if name.endswith("center")]
    assert saved == ["cross_view_loss.criterion.center", "patch_loss.criterion.center.center"]


def with_local_views(name: str) -> list[dict[str, Any]]:
    """Return the recipe's two global views and four local ones of half the side."""
    (views,) = harness.SMALL["methods"][name]["views"]
    return [views, {**views, "copies": 4, "size": 16}]


def test_dino_method_is_the_restatement_of_its_own_logits() -> None:
    method = harness.build_method("dino", views=with_local_views("dino"))
    method.eval()  # batch norms that see views together would tie them
    batch = harness.make_batch(method, torch.arange(3))
    loss = float(method(batch, START, "main").loss.detach())
    with torch.no_grad():
        logits = [method.projection_head(method.backbone(view)) for view in batch.views]
    assert [view.shape[-1] for view in batch.views] == [32, 32, 16, 16, 16, 16]
    stacked, centre = torch.stack(logits).double(), torch.zeros(logits[0].shape[1])
    # The teacher equals the student at step 0, so its logits are these.
    sharp = method.cross_view_loss.params.teacher_temperature[0]
    assert loss == pytest.approx(restated_dino(stacked[:2], stacked, 2, centre, sharp), abs=1e-4)


def restated_patch_loss(targets: Tensor, logits: Tensor, masks: Tensor, centre: Tensor) -> float:
    """iBOT eq. 2 with loops: targets and logits are (images, grid, grid, prototypes)."""
    total = 0.0
    for image, mask in enumerate(masks.tolist()):
        places = [(i, j) for i, row in enumerate(mask) for j, hidden in enumerate(row) if hidden]
        found = [
            cross_entropy(targets[image, i, j], logits[image, i, j], centre) for i, j in places
        ]
        total += sum(found) / max(len(found), 1)
    return total / len(masks)


MASKS = torch.tensor([[[1, 0, 0], [1, 1, 0], [0, 0, 0]], [[0] * 3] * 3, [[0, 0, 1]] * 3]).bool()


def test_ibot_patch_loss_equals_its_restatement_with_an_image_unmasked() -> None:
    criterion = PatchLoss(numbers())
    targets, logits = draw(3, 3, 3, PROTOTYPES) / 9, draw(3, 3, 3, PROTOTYPES, seed=1) / 9
    centre = torch.zeros(PROTOTYPES, dtype=torch.float64)
    for _ in range(3):
        loss = criterion(targets[MASKS], logits[MASKS], MASKS, START)
        expected = restated_patch_loss(targets, logits, MASKS, centre)
        assert float(loss) == pytest.approx(expected, abs=1e-5)
        centre = 0.9 * centre + 0.1 * targets[MASKS].mean(dim=0)


def test_ibot_of_uniform_logits_is_log_of_the_prototypes() -> None:
    masks = torch.ones(2, 2, 2, dtype=torch.bool)
    loss = PatchLoss(numbers())(torch.ones(8, 8), torch.ones(8, 8), masks, START)
    assert float(loss) == pytest.approx(math.log(8), abs=1e-5)


def test_ibot_survives_a_batch_in_which_no_view_drew_a_mask() -> None:
    criterion = PatchLoss(numbers())
    logits = torch.zeros(0, PROTOTYPES, requires_grad=True)
    loss = criterion(torch.zeros(0, PROTOTYPES), logits, torch.zeros_like(MASKS), START)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert torch.isfinite(criterion.criterion.center.value).all()


def test_ibot_hides_patches_from_the_student_alone_and_predicts_only_those() -> None:
    method = harness.build_method("ibot", views=with_local_views("ibot"))
    seen: dict[str, Any] = {}
    encode, encode_masked = method.teacher_encoder.encode, method.encoder.encode_masked
    method.teacher_encoder.encode = lambda images: seen.setdefault("teacher", encode(images))

    def masked(images: Tensor, mask: Tensor) -> Tensor:
        seen["mask"] = mask
        return seen.setdefault("student", encode_masked(images, mask))

    method.encoder.encode_masked = masked
    method.cross_view_loss = Recorder(method.cross_view_loss)
    method.patch_loss = Recorder(method.patch_loss)
    batch = harness.make_batch(method, torch.arange(4))
    output = method(batch, START, "main")
    mask = seen["mask"]
    assert 0 < mask.sum() < mask.numel()
    assert float(output.parts["share_masked"]) == pytest.approx(float(mask.float().mean()))
    plain = method.backbone.vit.forward_features(torch.cat(batch.views[:2]))
    assert torch.allclose(seen["teacher"], plain, atol=1e-5)
    head = method.projection_head
    targets, logits, masks, _ = method.patch_loss.given
    assert torch.allclose(targets, head(plain[:, 1:][mask]), atol=1e-5)
    assert torch.allclose(logits, head(seen["student"][:, 1:][mask]), atol=1e-5)
    assert torch.equal(masks.flatten(1), mask)
    targets, logits, _ = method.cross_view_loss.given
    assert torch.allclose(targets, head(plain[:, 0]), atol=1e-5)
    local = head(method.backbone(torch.cat(batch.views[2:])))
    assert torch.allclose(logits, torch.cat([head(seen["student"][:, 0]), local]), atol=1e-5)
    both = float(output.parts["class_loss"] + output.parts["patch_loss"])
    assert float(output.loss.detach()) == pytest.approx(both, abs=1e-6)


class Recorder(nn.Module):
    """Keeps what a module was given."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *given: Any) -> Any:
        self.given = given
        return self.inner(*given)


def matching(**changes: Any) -> PrototypeMatching:
    values = {
        "num_prototypes": PROTOTYPES, "temperature": 0.1, "sharpening": 0.25,
        "sinkhorn_iterations": 0, "memax_weight": 1.0,
    }  # fmt: skip
    torch.manual_seed(0)
    return PrototypeMatching(DIM, MatchingParams(**(values | changes)))


def met(row: Tensor, prototypes: Tensor) -> list[float]:
    """Eq. before 1: softmax of cosines over a temperature of 0.1."""
    return softmax([float(row @ q / row.norm() / q.norm()) / 0.1 for q in prototypes])


def restated_msn(anchors: Tensor, targets: Tensor, prototypes: Tensor, sinkhorn: int) -> float:
    """Eq. 1 with loops: anchors (views, batch, dim), lambda 1, sharpening 1/4."""
    sharp = [[p**4 for p in met(row, prototypes)] for row in targets]
    sharp = [[p / sum(row) for p in row] for row in sharp]
    for _ in range(sinkhorn):  # SwAV's appendix A: columns to 1/K, rows to 1/B, in turn
        used = [sum(row[k] for row in sharp) for k in range(len(prototypes))]
        sharp = [[p / used[k] for k, p in enumerate(row)] for row in sharp]
        sharp = [[p / sum(row) for p in row] for row in sharp]
    predictions = [[met(row, prototypes) for row in view] for view in anchors]
    rows = [(p, q) for view in predictions for p, q in zip(view, sharp, strict=True)]
    loss = -sum(b * math.log(a) for p, q in rows for a, b in zip(p, q, strict=True)) / len(rows)
    mean = [sum(p[k] for p, _ in rows) / len(rows) for k in range(len(prototypes))]
    return loss + math.log(len(mean)) + sum(p * math.log(p) for p in mean)


@pytest.mark.parametrize("sinkhorn", [0, 3])
def test_msn_loss_equals_its_restatement(sinkhorn: int) -> None:
    criterion = matching(sinkhorn_iterations=sinkhorn)
    anchors, targets = draw(3, BATCH, DIM), draw(BATCH, DIM, seed=1)
    loss, _ = criterion(anchors.flatten(0, 1), targets)
    prototypes = criterion.prototypes.detach().double()
    expected = restated_msn(anchors, targets, prototypes, sinkhorn)
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-4)


def test_msn_of_equal_prototypes_is_log_of_their_number_and_no_me_max() -> None:
    criterion = matching()
    nn.init.ones_(criterion.prototypes)
    loss, figures = criterion(draw(6, DIM), draw(3, DIM, seed=1))
    assert float(loss.detach()) == pytest.approx(math.log(PROTOTYPES), abs=1e-5)
    assert float(figures["prototype_entropy"]) == pytest.approx(1.0, abs=1e-5)


def test_msn_me_max_punishes_one_prototype_for_all() -> None:
    rows = draw(1, DIM).repeat(4, 1)
    with_it, without = matching(), matching(memax_weight=0.0)
    gap = float((with_it(rows, rows)[0] - without(rows, rows)[0]).detach())
    prediction = torch.tensor(met(rows[0], with_it.prototypes.detach().double()))
    expected = math.log(PROTOTYPES) * (1 - float(entropy(prediction)))
    assert gap == pytest.approx(expected, abs=1e-5)


def test_msn_sharpening_of_one_leaves_the_target() -> None:
    rows = draw(4, DIM)
    figures = matching(sharpening=1.0)(rows, rows)[1]
    assert float(figures["teacher_entropy"]) == pytest.approx(float(figures["student_entropy"]))


def test_msn_prototypes_learn_and_targets_get_no_gradient() -> None:
    criterion = matching()
    anchors, targets = draw(4, DIM).requires_grad_(), draw(4, DIM, seed=1).requires_grad_()
    criterion(anchors, targets)[0].backward()
    assert criterion.prototypes.grad.abs().sum() > 0
    assert anchors.grad.abs().sum() > 0
    assert targets.grad is None


def test_msn_shows_the_target_whole_and_pairs_anchors_with_their_image() -> None:
    method = harness.build_method("msn")
    method.matching = Recorder(method.matching)
    batch = harness.make_batch(method, torch.arange(4))
    anchors, targets = (method(batch, START, "main"), method.matching.given)[1]
    whole = method.projection_head(method.backbone(batch.views[0]))
    assert torch.allclose(targets, whole, atol=1e-4)
    assert anchors.shape == (5 * 4, targets.shape[1])


def test_msn_anchors_of_full_sight_are_the_plain_pass() -> None:
    method = harness.build_method("msn").eval()
    method.anchors.focal_side = method.anchors.encoder.grid_size
    views = harness.make_batch(method, torch.arange(3)).views[1:]
    _, focal = method.anchors.class_tokens(views, torch.Generator())
    assert torch.allclose(focal, method.backbone(torch.cat(views[1:])), atol=1e-4)


def test_msn_decays_no_prototype() -> None:
    method = harness.build_method("msn")
    groups = [g for g in method.parameter_groups() if g.parameters[0] is method.matching.prototypes]
    assert [group.weight_decay for group in groups] == [False]


def test_entropies_by_hand() -> None:
    half = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    found = entropies(half, torch.eye(4))
    assert float(found["teacher_entropy"]) == pytest.approx(0.5)
    assert float(found["student_entropy"]) == 0.0
    assert float(found["prototype_entropy"]) == pytest.approx(1.0)


@pytest.mark.parametrize("changes", [{"temperature": 0.0}, {"sharpening": 1.5}])
def test_impossible_matching_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        matching(**changes)


def test_views_without_anchors_are_refused() -> None:
    views = [harness.SMALL["methods"]["msn"]["views"][0] | {"copies": 1}]
    with pytest.raises(UserError, match="anchors"):
        harness.build_params("msn", views=views)
