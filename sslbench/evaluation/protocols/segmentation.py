"""Segmentation: a linear head on the backbone's maps, frozen and fine-tuned.

Source   Oquab et al. 2023, https://arxiv.org/abs/2304.07193, section 7.4: batch norm and a linear
         layer on frozen maps, enlarged to the image; fine-tuning with the schedule of MoCo,
         https://arxiv.org/abs/1911.05722, section 4.2 (SGD, drops at 70 % and 90 % of the steps);
         mIoU over all test pixels as in PASCAL VOC, https://doi.org/10.1007/s11263-014-0733-5
Chosen   learning rate on val (mIoU after the last step), for frozen and fine-tuned, backbone and
         twin, each by itself; a grid of one rate leaves val unread
Twin     the same head on the seed's random weights, frozen and fine-tuned, the same steps and grid
Differs  the head sees every named map, enlarged and laid side by side (the last stage of a small
         network on 32 px has four positions), and the same head is fine-tuned (the source has an
         FCN); trained on train alone and measured as chosen; SGD for both; inputs are normalised
         with the pretraining data's mean and std; sides in multiples of 32 px and of a patch; one
         scale in testing
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sslbench.backbones.model_info import ModelInfo
from sslbench.core import seeding
from sslbench.core.errors import UserError
from sslbench.data.store import Split
from sslbench.evaluation.features.model import plain_view
from sslbench.evaluation.protocols.base import Measurement, Role
from sslbench.evaluation.protocols.parts.dense_training import (
    Trained,
    Training,
    choose_rate,
    learn,
)
from sslbench.evaluation.protocols.parts.map_shapes import map_shapes, side_step
from sslbench.evaluation.protocols.parts.resampling import standard_error
from sslbench.evaluation.protocols.parts.segmentation_scores import VOID, areas, confusion, mean_iou
from sslbench.evaluation.protocols.parts.segmenter import (
    Segmenter,
    Sides,
    crop_of,
    loss_of,
    resized,
)
from sslbench.evaluation.protocols.parts.semantic import semantic_of
from sslbench.evaluation.protocols.parts.transfer import Subject

NAME = "segmentation"
VERSION = 1
KIND = "dense"
LABELS = "none"

_RAW_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Params:
    """The size of the images, and the two trainings.

    Attributes:
        short_side: pixels that an encoded image's short side is resized to, in multiples of 32;
            images kept as raw pixels (96 px or fewer) are taken near their own size.
        frozen: training of the head alone.
        finetune: training of all weights.
    """

    short_side: int
    frozen: Training
    finetune: Training

    def __post_init__(self) -> None:
        """Refuse a size below 1."""
        if self.short_side < 1:
            raise ValueError("short_side must be 1 or more")

    def sides(self, split: Split, info: ModelInfo) -> Sides:
        """Return the size that images of this split are brought to."""
        short = self.short_side if split.is_encoded else min(split.pixels.shape[1:3])
        return Sides(short, side_step(info))


@dataclass(frozen=True)
class SegmentationChoice:
    """The trained networks by metric and by whether the backbone was pretrained."""

    networks: dict[tuple[str, bool], Trained]
    sides: Sides


def choose(subject: Subject, train: Split, val: Split, params: Params) -> SegmentationChoice:
    """Return four trained networks, each with the learning rate that did best on val.

    Raises:
        UserError: train is of background alone, val of nothing, or every rate diverged.
    """
    num_classes, sides = _num_classes(train), params.sides(train, subject.info)

    def one(is_frozen: bool, is_pretrained: bool) -> Trained:
        training = params.frozen if is_frozen else params.finetune

        def fit(rate: float) -> nn.Module | None:
            network = _network(subject, is_pretrained, num_classes, is_frozen=is_frozen)
            return _trained(network, subject, train, sides, rate, training)

        def score(network: nn.Module) -> float:
            return _mean_iou(_areas(network, subject, val, sides), val)

        return choose_rate(training.learning_rate, fit, score, NAME)

    networks = {
        (metric, is_pretrained): one(is_frozen, is_pretrained)
        for metric, is_frozen in (("miou_frozen", True), ("miou_finetuned", False))
        for is_pretrained in (True, False)
    }
    return SegmentationChoice(networks, sides)


def measure(
    choice: SegmentationChoice, subject: Subject, train: Split, val: Split, test: Split
) -> list[Measurement]:
    """Return miou_frozen and miou_finetuned on test of the backbone, each with its twin's.

    Raises:
        UserError: test says nothing of any pixel.
    """
    del train, val
    rows = []
    for (metric, is_pretrained), run in choice.networks.items():
        role: Role = "headline" if is_pretrained else "twin"
        by_image = _areas(run.network, subject, test, choice.sides)
        of_images = partial(mean_iou_of, by_image)
        error = standard_error(of_images, len(test)) if is_pretrained else None
        rows.append(
            Measurement(
                metric=metric, value=_mean_iou(by_image, test), unit="fraction", n=len(test),
                split="test", layer=None, role=role,
                detail={"learning_rate": run.learning_rate, "val": run.val}, standard_error=error,
            )
        )  # fmt: skip
    return rows


def _num_classes(train: Split) -> int:
    """Return one more than the largest class of a pixel of the train split.

    Raises:
        UserError: there is none but the background.
    """
    largest = 0
    for row in range(len(train)):
        said = semantic_of(train, row)
        largest = max(largest, int(said[said != VOID].max(initial=0)))
    if not largest:
        mend = "take a train split with objects, or take segmentation out of the grid"
        what = "its pixels are background or void alone"
        raise UserError(what, where=str(train.path), mend=mend)
    return largest + 1


def _network(
    subject: Subject, is_pretrained: bool, num_classes: int, *, is_frozen: bool
) -> Segmenter:
    backbone = subject.backbone(is_pretrained=is_pretrained)
    shapes = map_shapes(backbone, subject.info.size)
    channels = {name: width for name, (width, _) in shapes.items()}
    network = Segmenter(backbone, channels, num_classes, is_frozen=is_frozen).to(subject.device)
    # As images come: with the maps that keep their size, 36 ms a step in place of 60.
    return network.to(memory_format=torch.channels_last)


def _trained(
    network: Segmenter,
    subject: Subject,
    train: Split,
    sides: Sides,
    rate: float,
    training: Training,
) -> nn.Module | None:
    draw = seeding.generator(subject.seed, "segmentation/views")

    def loss(rows: np.ndarray) -> Tensor:
        pairs = [crop_of(train, row, sides, draw, training.flip) for row in rows]
        images, truth = (np.stack(part) for part in zip(*pairs, strict=True))
        view = plain_view(images, subject.info, subject.device)
        classes = torch.from_numpy(truth.astype(np.int64)).to(subject.device)
        return loss_of(network(view), classes)

    order = seeding.generator(subject.seed, "segmentation/order")
    return learn(network.train(), loss, len(train), rate, training, order)


def _areas(network: nn.Module, subject: Subject, split: Split, sides: Sides) -> np.ndarray:
    """Return (num_images, 3, classes) int64 areas of a split at its own size.

    There is room for every class that a map can name: a split may name more than train does, and
    those score 0.
    """
    found = np.empty((len(split), 3, VOID), np.int64)
    for row, predicted in enumerate(predictions(network, subject, split, sides)):
        found[row] = areas(confusion(semantic_of(split, row), predicted, VOID))
    return found


def _mean_iou(by_image: np.ndarray, split: Split) -> float:
    """Return the mean IoU of a split's areas (num_images, 3, classes).

    Raises:
        UserError: all its pixels are void.
    """
    if not by_image[:, 1].any():
        mend = "take a split with pixels that are not void"
        raise UserError("its truth says nothing of any pixel", where=str(split.path), mend=mend)
    return mean_iou(by_image.sum(axis=0))


def mean_iou_of(by_image: np.ndarray, rows: np.ndarray) -> float:
    """Return the mean IoU of some images, by rows of areas (num_images, 3, classes)."""
    # How often each image was drawn, times its areas: no copy of them all for each draw.
    times = np.bincount(rows, minlength=len(by_image))
    return mean_iou(np.tensordot(times, by_image, axes=1))


@torch.no_grad()
def predictions(
    network: nn.Module, subject: Subject, split: Split, sides: Sides
) -> Iterator[np.ndarray]:
    """Yield the class of every pixel (height, width) uint8 of each image at its own size."""
    network.eval()
    step = 1 if split.is_encoded else _RAW_BATCH  # raw images are all of one size
    for start in range(0, len(split), step):
        rows = range(start, min(start + step, len(split)))
        images = np.stack([resized(split, row, sides) for row in rows])
        logits = network(plain_view(images, subject.info, subject.device))
        size = split.image(start).shape[:2]
        logits = functional.interpolate(logits, size=size, mode="bilinear")
        yield from logits.argmax(dim=1).to(torch.uint8).cpu().numpy()
