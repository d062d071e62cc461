"""Losses against an independent restatement, and against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from torch import Tensor, nn

from sslbench import methods
from sslbench.core import seeding
from sslbench.methods.base import Method, Progress
from sslbench.methods.deepclusterv2 import cluster_loss
from sslbench.methods.mae import pixel_targets
from sslbench.objectives.precision import in_float32
from tests.contract import harness

BATCH, DIM = 6, 5


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeding.generator(seed, "reference"))


def restated_nt_xent(first: Tensor, second: Tensor, temperature: float) -> float:
    """Eq. 1 of arXiv 2002.05709 with loops: 2N terms, the self-pair left out of the sum."""
    unit = [row / row.norm() for row in (*first, *second)]
    total, count = 0.0, len(first)
    for i, row in enumerate(unit):
        weights = [math.exp(float(row @ other) / temperature) for other in unit]
        positive = weights[(i + count) % (2 * count)]
        total -= math.log(positive / (sum(weights) - weights[i]))
    return total / (2 * count)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_equals_its_restatement(temperature: float) -> None:
    first, second = draw(BATCH, DIM), draw(BATCH, DIM, seed=1)
    loss = NTXentLoss(temperature)(first, second)
    assert float(loss) == pytest.approx(restated_nt_xent(first, second, temperature), abs=1e-5)


def test_nt_xent_of_collapsed_projections_is_log_of_the_candidates() -> None:
    same = torch.ones(4, DIM)
    assert float(NTXentLoss(0.5)(same, same)) == pytest.approx(math.log(2 * 4 - 1), abs=1e-5)


def test_nt_xent_of_orthonormal_aligned_pairs() -> None:
    loss = NTXentLoss(0.5)(torch.eye(4), torch.eye(4))
    assert float(loss) == pytest.approx(-math.log(math.e**2 / (math.e**2 + 6)), abs=1e-5)
    assert float(loss) == pytest.approx(0.594438, abs=1e-5)


def test_nt_xent_does_not_mind_the_order_of_pairs() -> None:
    first, second = draw(BATCH, DIM), draw(BATCH, DIM, seed=1)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    criterion = NTXentLoss(0.2)
    assert float(criterion(first[order], second[order])) == pytest.approx(
        float(criterion(first, second)), abs=1e-5
    )


class Fixed(nn.Module):
    """Returns what it was given, whatever comes in."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, inputs: Tensor) -> Tensor:
        return self.output[: len(inputs)]


def zero(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def first_loss(method: Method, phase: str = "main") -> float:
    progress = Progress(0, 10, harness.STEPS_PER_EPOCH)
    harness.start_epoch(method, progress)
    batch = harness.make_batch(method, torch.arange(harness.BATCH))
    return float(method(batch, progress, phase).loss.detach())


def test_simclr_feeds_the_two_views_of_one_image_as_a_pair() -> None:
    method = harness.build_method("simclr")
    method.projection_head = Fixed(torch.eye(2 * harness.BATCH)[: harness.BATCH].repeat(2, 1))
    expected = math.log(1 + (2 * harness.BATCH - 2) * math.exp(-1 / method.criterion.temperature))
    assert first_loss(method) == pytest.approx(expected, abs=1e-5)


def test_negative_cosine_is_minus_one_at_equality() -> None:
    rows = draw(BATCH, DIM)
    assert float(NegativeCosineSimilarity()(rows, 3 * rows)) == pytest.approx(-1.0, abs=1e-6)


def test_byol_is_the_mean_of_both_directions_restated() -> None:
    method = harness.build_method("byol").double()
    progress = Progress(0, 10, harness.STEPS_PER_EPOCH)
    batch = harness.make_batch(method, torch.arange(harness.BATCH))
    first, second = (view.double() for view in batch.views)
    loss = method(
        harness.ViewBatch([first, second], batch.index, batch.generator), progress, "main"
    )

    def unit(rows: Tensor) -> Tensor:
        return rows / rows.norm(dim=1, keepdim=True)

    def side(view: Tensor, other: Tensor) -> Tensor:
        predicted = method.prediction_head(method.projection_head(method.backbone(view)))
        target = method.projection_head(method.backbone(other))  # equal to the teacher's at step 0
        return (unit(predicted) - unit(target)).square().sum(dim=1).mean()  # 2 - 2 cos

    paper = side(first, second) + side(second, first)
    assert float(loss.loss.detach()) == pytest.approx(float(paper.detach()) / 4 - 1, abs=1e-5)


def test_rotation_starts_at_log_four() -> None:
    method = harness.build_method("rotation")
    zero(method.classifier)
    assert first_loss(method) == pytest.approx(math.log(4), abs=1e-6)


def test_supervised_starts_at_log_of_the_classes() -> None:
    method = harness.build_method("supervised")
    zero(method.classifier)
    assert first_loss(method) == pytest.approx(math.log(harness.NUM_CLASSES), abs=1e-6)


def test_four_quarter_turns_are_no_turn_and_pixels_only_move() -> None:
    from sslbench.methods.rotation import all_rotations

    images = draw(3, 3, 6, 6)
    rotated, turns = all_rotations(images)
    assert turns.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    for turn, group in enumerate(rotated.chunk(4)):
        back = torch.rot90(group, 4 - turn, dims=(2, 3))
        assert torch.equal(back, images)
        assert torch.equal(group.flatten(1).sort().values, images.flatten(1).sort().values)


def restated_cluster_loss(
    rows: Tensor, centroids: Tensor, targets: Tensor, temperature: float
) -> float:
    total = 0.0
    for row, target in zip(rows, targets.tolist(), strict=True):
        logits = [float(row @ centroid) / temperature for centroid in centroids]
        total += math.log(sum(map(math.exp, logits))) - logits[target]
    return total / len(rows)


def test_deepcluster_loss_equals_its_restatement() -> None:
    rows, centroids = draw(BATCH, DIM), draw(4, DIM, seed=1)
    targets = torch.tensor([0, 1, 2, 3, 0, 1])
    loss = cluster_loss(rows, centroids / 0.5, targets)
    assert float(loss) == pytest.approx(
        restated_cluster_loss(rows, centroids, targets, 0.5), abs=1e-5
    )


def test_deepcluster_takes_the_assignment_of_each_image_for_both_views() -> None:
    method = harness.build_method("deepclusterv2")
    progress = Progress(0, 10, harness.STEPS_PER_EPOCH)
    harness.start_epoch(method, progress)
    batch = harness.make_batch(method, torch.tensor([9, 2, 14]))
    views = [method._project(batch.views)[side].detach() for side in (0, 1)]
    expected = [
        restated_cluster_loss(
            view, clusters.centroids, clusters.assignments[batch.index], method.temperature
        )
        for clusters in method.clusterings
        for view in views
    ]
    loss = float(method(batch, progress, "main").loss.detach())
    assert loss == pytest.approx(sum(expected) / len(expected), abs=1e-4)
    for side in (0, 1):
        assert torch.allclose(method.banks[side].rows[batch.index], views[side], atol=1e-6)


def test_deepcluster_of_equal_prototypes_is_log_of_their_number() -> None:
    loss = cluster_loss(draw(BATCH, DIM), torch.ones(7, DIM), torch.zeros(BATCH, dtype=torch.int64))
    assert float(loss) == pytest.approx(math.log(7), abs=1e-5)


def test_mae_zero_prediction_scores_the_unbiased_variance() -> None:
    images, patches = draw(4, 3, 32, 32), torch.arange(16).repeat(4, 1)
    targets = pixel_targets(images, 4, patches)
    pixels = 3 * 4**2
    assert float(targets.square().mean()) == pytest.approx((pixels - 1) / pixels, abs=1e-4)


def test_mae_zero_head_scores_it_too() -> None:
    method = harness.build_method("mae")
    zero(method.prediction_head)
    pixels = 3 * method.encoder.patch_size**2
    assert first_loss(method) == pytest.approx((pixels - 1) / pixels, abs=1e-3)


def test_mae_pixel_targets_are_patches_in_reading_order() -> None:
    images = torch.zeros(1, 3, 8, 8)
    images[:, :, 4:, :4] = draw(1, 3, 4, 4)
    target = pixel_targets(images, 4, torch.tensor([[2]]))[0, 0]
    raw = images[0, :, 4:, :4].permute(1, 2, 0).flatten()
    assert torch.allclose(target, (raw - raw.mean()) / raw.std(), atol=1e-4)


def test_mae_loss_does_not_see_visible_pixels_as_targets() -> None:
    """Without an encoder to see them, only the masked patches' pixels can move the loss."""
    method = harness.build_method("mae")
    zero(method.decoder_embedding)
    progress = Progress(0, 10, harness.STEPS_PER_EPOCH)
    batch = harness.make_batch(method, torch.arange(2))
    images = batch.views[0].requires_grad_()
    method(batch, progress, "main").loss.backward()
    side = method.encoder.patch_size
    touched = images.grad.abs().sum(dim=1).unfold(1, side, side).unfold(2, side, side)
    share = (touched.sum(dim=(3, 4)) > 0).float().mean()
    assert float(share) == pytest.approx(method.mask_ratio)


class PositionOf(nn.Module):
    """A decoder that answers with each token's position and keeps what it was given."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.full((1, 1, dim), 7.0))

    def forward(self, tokens: Tensor) -> Tensor:
        self.seen = tokens
        return torch.arange(tokens.shape[1]).float()[None, :, None].expand_as(tokens)


def test_mae_decodes_masked_tokens_and_puts_visible_ones_back_in_place() -> None:
    method = harness.build_method("mae")
    method.decoder, method.prediction_head = PositionOf(32), nn.Identity()
    kept, masked = torch.tensor([[0, 5, 2]]), torch.tensor([[9, 1, 4]])
    images = draw(1, 3, 32, 32)
    painted = method._paint(images, kept, masked)
    assert painted[0, :, 0].tolist() == [9.0, 1.0, 4.0]
    encoded = method.decoder_embedding(method.encoder.encode_kept(images, kept))
    assert torch.allclose(method.decoder.seen[0, kept[0]], encoded[0])
    others = [position for position in range(17) if position not in kept[0].tolist()]
    assert method.decoder.seen[0, others].eq(7.0).all()


def test_in_float32_turns_autocast_off() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = draw(4, 4).bfloat16()
        product = in_float32(torch.matmul, half, half)
    assert product.dtype == torch.float32
    assert torch.equal(product, half.float() @ half.float())


def test_every_criterion_has_a_reference() -> None:
    """A reminder with teeth: a new method states here which test restates its loss."""
    restated = {
        "simclr", "byol", "rotation", "supervised", "deepclusterv2", "mae",
        "context_encoder", "context_encoder_adversarial",
        "simsiam", "barlow_twins", "vicreg", "mocov1", "mocov2", "mocov3", "nnclr",
        "swav", "sela", "deepcluster",
        "dino", "simmim", "ibot", "msn",
        "triplet", "pairwise", "exemplar", "exemplar_triplet", "colorization", "split_brain",
        "npid", "relative_patch", "jigsaw", "pirl",
        "simclrv2", "simclrv2_finetune", "simclrv2_distill",
    }  # fmt: skip
    assert restated == {name for name in methods.names() if methods.load(name).METHOD.trains}
