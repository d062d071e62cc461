"""What detection and instance_masks share: training a detector, and reading it on a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from sslbench.core import seeding
from sslbench.core.errors import UserError
from sslbench.data.store import Split
from sslbench.data.store.instances import Instances, instances_of
from sslbench.evaluation.features.model import to_device
from sslbench.evaluation.protocols.base import Measurement, Role
from sslbench.evaluation.protocols.parts.coco_ap import (
    Annotation,
    Matches,
    found_of,
    truth_of,
)
from sslbench.evaluation.protocols.parts.dense_training import (
    Trained,
    Training,
    choose_rate,
    learn,
)
from sslbench.evaluation.protocols.parts.detector import Detector, build
from sslbench.evaluation.protocols.parts.resampling import standard_errors
from sslbench.evaluation.protocols.parts.transfer import Subject

# The COCO API's word for what overlaps -> what is added to a metric's name.
KINDS: dict[Literal["bbox", "segm"], str] = {"bbox": "", "segm": "_mask"}
# A mask's pixel belongs to the object from this probability on (torchvision, Detectron2).
_MASK_THRESHOLD = 0.5


@dataclass(frozen=True)
class Task:
    """One detection problem.

    Attributes:
        name: the protocol's, for streams of chance and messages.
        detector: the sizes.
        training: the budget.
        mask_dim: channels of the mask head; None where boxes alone are found.
    """

    name: str
    detector: Detector
    training: Training
    mask_dim: int | None

    @property
    def has_masks(self) -> bool:
        """Whether masks are found, too."""
        return self.mask_dim is not None

    @property
    def kinds(self) -> tuple[Literal["bbox", "segm"], ...]:
        """What overlaps, the headline first."""
        return ("segm", "bbox") if self.has_masks else ("bbox",)


@dataclass(frozen=True)
class DetectionChoice:
    """The trained detectors of the backbone and of its random twin, and what they are for.

    Attributes:
        pretrained: on the checkpoint's weights.
        twin: on random weights.
        classes: (num_classes,) label of each class of the networks, background left out.
        task: the problem.
    """

    pretrained: Trained
    twin: Trained
    classes: np.ndarray
    task: Task


class Objects:
    """The rows of a split that have an object to learn from, and their classes.

    Crowds are no objects to learn from; difficult ones are, as in Detectron2.
    """

    def __init__(self, split: Split, *, has_masks: bool) -> None:
        kept, labels = [], []
        for row in range(len(split)):
            objects = _objects_of(split, row, has_masks=has_masks)
            if not objects.is_crowd.all():
                kept.append(row)
                labels.append(objects.labels[~objects.is_crowd])
        if not kept:
            mend = "take a data set with objects"
            raise UserError("names no object to learn from", where=str(split.path), mend=mend)
        self.split = split
        self.rows = np.array(kept)
        self.classes = np.unique(np.concatenate(labels))


def _objects_of(split: Split, row: int, *, has_masks: bool) -> Instances:
    """Return an image's objects.

    Raises:
        UserError: they have no masks where masks are asked for.
    """
    objects = instances_of(split, row)
    if has_masks and objects.masks is None:
        mend = "take a data set with masks, or take instance_masks out of the grid"
        raise UserError("the objects have no masks", where=str(split.path), mend=mend)
    return objects


def choose(subject: Subject, train: Split, val: Split, task: Task) -> DetectionChoice:
    """Return detectors trained on train, each with the rate that did best on val (AP).

    Raises:
        UserError: no objects or masks where they are needed, or no rate that can be trained at.
    """
    objects = Objects(train, has_masks=task.has_masks)

    def one(is_pretrained: bool) -> Trained:
        def score(network: nn.Module) -> float:
            found = matched(network, subject, val, objects.classes, task)
            return precisions(found)[f"ap{KINDS[task.kinds[0]]}"]

        def fit(rate: float) -> nn.Module | None:
            return trained(subject, is_pretrained, objects, rate, task)

        return choose_rate(task.training.learning_rate, fit, score, task.name)

    return DetectionChoice(one(True), one(False), objects.classes, task)


def measure(choice: DetectionChoice, subject: Subject, test: Split) -> list[Measurement]:
    """Return AP, AP50 and AP75 on test of the backbone's detector, then of its twin's."""
    rows = []
    roles: dict[Role, Trained] = {"headline": choice.pretrained, "twin": choice.twin}
    for role, run in roles.items():
        found = matched(run.network, subject, test, choice.classes, choice.task)
        of_images = partial(precisions, found)
        errors = standard_errors(of_images, len(test)) if role == "headline" else {}
        detail = {"learning_rate": run.learning_rate, "val": run.val}
        rows += [
            Measurement(
                metric=metric, value=value, unit="fraction", n=len(test), split="test",
                layer=None, role=role, detail=detail, standard_error=errors.get(metric),
            )
            for metric, value in precisions(found).items()
        ]  # fmt: skip
    return rows


def trained(
    subject: Subject, is_pretrained: bool, objects: Objects, rate: float, task: Task
) -> nn.Module | None:
    """Return a trained detector, or None where its loss was not finite."""
    draw = seeding.generator(subject.seed, f"{task.name}/views")

    with _global_chance(subject, f"{task.name}/network"):
        network = build(
            subject.backbone(is_pretrained=is_pretrained),
            subject.info,
            task.detector,
            task.detector.sides(objects.split),
            len(objects.classes),
            mask_dim=task.mask_dim,
        )

        def loss_of(rows: np.ndarray) -> Tensor:
            flips = torch.rand(len(rows), generator=draw) < task.training.flip
            samples = [
                _sample(objects, objects.rows[row], bool(flip), subject.device)
                for row, flip in zip(rows, flips, strict=True)
            ]
            images, targets = zip(*samples, strict=True)
            losses: dict[str, Tensor] = network(list(images), list(targets))
            return torch.stack(list(losses.values())).sum()

        order = seeding.generator(subject.seed, f"{task.name}/order")
        return learn(network, loss_of, len(objects.rows), rate, task.training, order)


@contextmanager
def _global_chance(subject: Subject, name: str) -> Iterator[None]:
    """Seed torch's global generator, which torchvision draws its samples of boxes from."""
    devices = [torch.device(subject.device)] if subject.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seeding.stream_seed(subject.seed, name))
        yield


def _image(split: Split, row: int, device: str) -> Tensor:
    """Return one image (channel, height, width) in [0, 1]; the network normalises it."""
    return to_device(split.image(row)[None], device)[0].float() / 255


def _sample(
    objects: Objects, row: int, flip: bool, device: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return an image and its objects as torchvision takes them, mirrored where `flip` says so."""
    image = _image(objects.split, row, device)
    target = _target(instances_of(objects.split, row), objects.classes)
    target = {name: value.to(device) for name, value in target.items()}
    return mirrored(image, target) if flip else (image, target)


def _target(objects: Instances, classes: np.ndarray) -> dict[str, Tensor]:
    kept = ~objects.is_crowd
    target = {
        "boxes": torch.from_numpy(objects.boxes[kept]),
        "labels": torch.from_numpy(np.searchsorted(classes, objects.labels[kept]) + 1),
    }
    if objects.masks is not None:
        target["masks"] = torch.from_numpy(objects.masks[kept].astype(np.uint8))
    return target


def mirrored(image: Tensor, target: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return an image (channel, height, width) and its objects, left and right exchanged."""
    left, top, right, bottom = target["boxes"].unbind(dim=1)
    width = image.shape[2]
    boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
    masks = {"masks": target["masks"].flip(2)} if "masks" in target else {}
    return image.flip(2), {**target, "boxes": boxes, **masks}


def matched(
    network: nn.Module, subject: Subject, split: Split, classes: np.ndarray, task: Task
) -> dict[str, Matches]:
    """Return what the network finds in a split beside its truth, by what names of metrics end in.

    Raises:
        UserError: the split names no object that counts, or lacks masks that are compared.
    """
    truth = [
        truth_of(_objects_of(split, row, has_masks=task.has_masks)) for row in range(len(split))
    ]
    if not any(not row["iscrowd"] for rows in truth for row in rows):
        mend = "take a data set with objects"
        raise UserError("names no object that counts", where=str(split.path), mend=mend)
    found = list(predictions(network, subject, split, classes, task.training.batch_size))
    return {KINDS[kind]: Matches(truth, found, kind) for kind in task.kinds}


def precisions(found: Mapping[str, Matches], rows: np.ndarray | None = None) -> dict[str, float]:
    """Return `ap`, `ap50`, `ap75`, each with `_mask` appended where masks are compared.

    Args:
        found: from `matched`.
        rows: which images; None for all.

    Raises:
        ValueError: no object that counts in these images.
    """
    return {
        f"{name}{ending}": value
        for ending, matches in found.items()
        for name, value in matches.precision(rows).items()
    }


@torch.no_grad()
def predictions(
    network: nn.Module, subject: Subject, split: Split, classes: np.ndarray, batch_size: int
) -> Iterator[list[Annotation]]:
    """Yield what is found in each image, at the image's own size."""
    network.eval()
    for start in range(0, len(split), batch_size):
        rows = range(start, min(start + batch_size, len(split)))
        for result in network([_image(split, row, subject.device) for row in rows]):
            yield _found(result, classes)


def _found(result: dict[str, Any], classes: np.ndarray) -> list[Annotation]:
    arrays = {name: value.cpu().numpy() for name, value in result.items()}
    masks = arrays["masks"][:, 0] >= _MASK_THRESHOLD if "masks" in arrays else None
    return found_of(arrays["boxes"], classes[arrays["labels"] - 1], arrays["scores"], masks)
