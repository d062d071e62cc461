"""The peer: lightly 1.6's published examples (examples/pytorch/<method>.py), as a user runs them.

Its transforms on PIL images from memory (as torchvision's CIFAR10 holds them), torch's loader with
whole batches only, its heads and losses, and its plain loop in fp32. Only the network, the batch
and the optimiser are ours, so that both sides train the same thing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lightly.loss import NegativeCosineSimilarity, NTXentLoss, SwaVLoss
from lightly.models import utils
from lightly.models.modules import (
    BYOLPredictionHead,
    BYOLProjectionHead,
    MaskedVisionTransformerDecoderTIMM,
    MaskedVisionTransformerTIMM,
    MoCoProjectionHead,
    SimCLRProjectionHead,
    SwaVProjectionHead,
    SwaVPrototypes,
)
from lightly.transforms.byol_transform import BYOLTransform, BYOLView1Transform, BYOLView2Transform
from lightly.transforms.mae_transform import MAETransform
from lightly.transforms.moco_transform import MoCoV2Transform
from lightly.transforms.simclr_transform import SimCLRTransform
from lightly.transforms.swav_transform import SwaVTransform
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.rounds import Work
from benchmarks.throughput import images, recipes
from benchmarks.throughput.recipes import Case
from sslbench import backbones
from sslbench.backbones.base import Backbone

Transform = Callable[[Image.Image], list[Tensor]]


class InMemory(Dataset):
    """Images (num, height, width, 3) uint8 with a label each, as torchvision's CIFAR10 has them."""

    def __init__(self, pixels: np.ndarray, transform: Transform) -> None:
        self.pixels = pixels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[list[Tensor], int]:
        return self.transform(Image.fromarray(self.pixels[index])), 0


def transform(case: Case) -> Transform:
    """Return lightly's transform for the method, without blur on small images."""
    size = case.size
    bare: dict[str, Any] = {} if size >= recipes.BLURRED_FROM else {"gaussian_blur": 0.0}
    if case.method == "simclr":
        return SimCLRTransform(input_size=size, **bare)
    if case.method == "mocov2":
        return MoCoV2Transform(input_size=size, **bare)
    if case.method == "byol":
        return BYOLTransform(
            BYOLView1Transform(input_size=size, **bare), BYOLView2Transform(input_size=size, **bare)
        )
    if case.method == "swav":
        sizes = (size, recipes.local_size(size))
        return SwaVTransform(crop_sizes=sizes, crop_counts=(2, recipes.NUM_LOCAL), **bare)
    return MAETransform(input_size=size)


def loader(case: Case, workers: int) -> DataLoader:
    """Return the example's loader; workers stay alive between epochs."""
    pixels = images.load(case.data, case.images, case.size)
    return DataLoader(
        InMemory(pixels, transform(case)),
        batch_size=case.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def views(case: Case, workers: int) -> Work:
    """Return work that makes the views of every whole batch; counted in views."""
    batches = loader(case, workers)

    def work() -> int:
        return sum(len(view) for batch, _ in batches for view in batch)

    return work


def pretrain(case: Case, workers: int, device: str = "cpu") -> Work:
    """Return work that trains for one epoch; counted in images."""
    return example(case, workers, device)[1]


def example(case: Case, workers: int, device: str = "cpu", seed: int = 0) -> tuple[Backbone, Work]:
    """Return the network, and the work that trains it for one epoch."""
    batches = loader(case, workers)
    torch.manual_seed(seed)
    network = backbones.build(recipes.backbone(case))
    model = EXAMPLES[case.method](network, recipes.numbers(case)).to(device)
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=recipes.LEARNING_RATE,
        weight_decay=recipes.WEIGHT_DECAY,
        betas=recipes.BETAS,
    )

    def work() -> int:
        total_loss: Any = 0
        seen = 0
        for batch, _ in batches:
            loss = model([view.to(device) for view in batch])
            total_loss += loss.detach()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            seen += len(batch[0])
        float(total_loss / len(batches))  # the example prints it
        return seen

    return network, work


class SimCLR(nn.Module):
    def __init__(self, backbone: nn.Module, numbers: dict[str, Any]) -> None:
        super().__init__()
        widths = numbers["hidden_dim"], numbers["output_dim"]
        self.backbone = backbone
        self.projection_head = SimCLRProjectionHead(backbone.feature_dim, *widths)
        self.criterion = NTXentLoss(numbers["temperature"])

    def forward(self, views: list[Tensor]) -> Tensor:
        return self.criterion(*(self.projection_head(self.backbone(view)) for view in views))


class Momentum(nn.Module):
    """A student and its slow copy, moved before each step as the examples do."""

    def __init__(self, backbone: nn.Module, projection_head: nn.Module) -> None:
        super().__init__()
        self.student = nn.ModuleList([backbone, projection_head])
        self.teacher = copy.deepcopy(self.student)
        utils.deactivate_requires_grad(self.teacher)

    def move(self) -> None:
        for student, teacher in zip(self.student, self.teacher, strict=True):
            utils.update_momentum(student, teacher, m=0.99)

    @staticmethod
    def through(parts: nn.ModuleList, view: Tensor) -> Tensor:
        for part in parts:
            view = part(view)
        return view


class BYOL(nn.Module):
    def __init__(self, backbone: nn.Module, numbers: dict[str, Any]) -> None:
        super().__init__()
        widths = numbers["hidden_dim"], numbers["output_dim"]
        self.pair = Momentum(backbone, BYOLProjectionHead(backbone.feature_dim, *widths))
        self.prediction_head = BYOLPredictionHead(numbers["output_dim"], *widths)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, views: list[Tensor]) -> Tensor:
        self.pair.move()
        p0, p1 = (self.prediction_head(self.pair.through(self.pair.student, v)) for v in views)
        z0, z1 = (self.pair.through(self.pair.teacher, v).detach() for v in views)
        return 0.5 * (self.criterion(p0, z1) + self.criterion(p1, z0))


class MoCo(nn.Module):
    def __init__(self, backbone: nn.Module, numbers: dict[str, Any]) -> None:
        super().__init__()
        widths = numbers["hidden_dim"], numbers["output_dim"]
        self.pair = Momentum(backbone, MoCoProjectionHead(backbone.feature_dim, *widths))
        size = numbers["contrast"]["queue_size"], numbers["output_dim"]
        self.criterion = NTXentLoss(numbers["contrast"]["temperature"], memory_bank_size=size)

    def forward(self, views: list[Tensor]) -> Tensor:
        self.pair.move()
        query = self.pair.through(self.pair.student, views[0])
        key = self.pair.through(self.pair.teacher, views[1]).detach()
        return self.criterion(query, key)


class SwaV(nn.Module):
    def __init__(self, backbone: nn.Module, numbers: dict[str, Any]) -> None:
        super().__init__()
        widths = numbers["hidden_dim"], numbers["output_dim"]
        self.backbone = backbone
        self.projection_head = SwaVProjectionHead(backbone.feature_dim, *widths)
        self.prototypes = SwaVPrototypes(numbers["output_dim"], numbers["num_prototypes"])
        self.criterion = SwaVLoss()

    def forward(self, views: list[Tensor]) -> Tensor:
        self.prototypes.normalize()
        found = [self._cosines(view) for view in views]
        return self.criterion(found[:2], found[2:])

    def _cosines(self, view: Tensor) -> Tensor:
        projections = self.projection_head(self.backbone(view))
        return self.prototypes(nn.functional.normalize(projections, dim=1, p=2))


class MAE(nn.Module):
    def __init__(self, backbone: nn.Module, numbers: dict[str, Any]) -> None:
        super().__init__()
        vit, width = backbone.vit, numbers["decoder_dim"]
        self.patch_size, self.mask_ratio = vit.patch_embed.patch_size[0], numbers["mask_ratio"]
        self.encoder = MaskedVisionTransformerTIMM(vit=vit)
        self.decoder_embedding = nn.Linear(vit.embed_dim, width)
        self.decoder = MaskedVisionTransformerDecoderTIMM(
            num_patches=vit.patch_embed.num_patches,
            embed_dim=width,
            depth=numbers["decoder_depth"],
            num_heads=numbers["decoder_heads"],
        )
        self.prediction_head = nn.Linear(width, 3 * self.patch_size**2)

    def forward(self, views: list[Tensor]) -> Tensor:
        pixels = views[0]
        length = self.encoder.sequence_length
        kept, masked = utils.random_token_mask(
            size=(len(pixels), length), mask_ratio=self.mask_ratio, device=pixels.device
        )
        encoded = self.decoder_embedding(self.encoder.encode(images=pixels, idx_keep=kept))
        tokens = utils.repeat_token(self.decoder.mask_token, (len(pixels), length))
        decoded = self.decoder(utils.set_at_index(tokens, kept, encoded.type_as(tokens)))
        predicted = self.prediction_head(utils.get_at_index(decoded, masked))
        patches = utils.patchify(pixels, self.patch_size)
        return nn.functional.mse_loss(predicted, utils.get_at_index(patches, masked - 1))


EXAMPLES = {"simclr": SimCLR, "byol": BYOL, "mae": MAE, "mocov2": MoCo, "swav": SwaV}
