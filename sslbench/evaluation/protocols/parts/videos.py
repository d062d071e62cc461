"""What tracking and keypoints share: frames through frozen layers, the choice on val, the test."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import lcm
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sslbench.backbones.base import Backbone
from sslbench.core.errors import UserError
from sslbench.data.store import Split
from sslbench.data.store.clips import Clip
from sslbench.evaluation.features.model import plain_view
from sslbench.evaluation.protocols.base import Choice, LayerChoice, Measurement, Role, best
from sslbench.evaluation.protocols.parts.propagation import Propagation, Propagator
from sslbench.evaluation.protocols.parts.transfer import Subject

# Input sides are multiples of this many pixels, so that every cell of every map is whole.
_MULTIPLE = 32
Size = tuple[int, int]


class Task(Protocol):
    """What is followed through a clip.

    Attributes:
        metrics: names of the scores, in order; val chooses by the first.
    """

    metrics: ClassVar[tuple[str, ...]]

    def clips(self, split: Split) -> list[Clip]:
        """Return the clips of a split that has this task's truth."""

    def truth(self, split: Split, row: int) -> np.ndarray:
        """Return the truth of a frame."""

    def encode(self, truth: np.ndarray, frame: Size, grid: Size) -> Tensor:
        """Return the truth of a frame as labels (num_labels, height, width) on a grid."""

    def decode(self, labels: Tensor, truth: np.ndarray, frame: Size) -> np.ndarray:
        """Return what labels on a grid say of a frame, given the truth of the first one."""

    def copied(self, truth: np.ndarray) -> np.ndarray:
        """Return the truth of the first frame in the form that `decode` gives."""

    def score(self, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Return a clip's scores (num_samples, num_metrics), all frames but the first found."""


@dataclass(frozen=True, order=True)
class Place:
    """Where features are read: a layer, at an input of `scale` times the frame's sides."""

    layer: str
    scale: float


@dataclass(frozen=True)
class VideoChoice:
    """A scale per layer for the pretrained backbone and for its random twin."""

    pretrained: Choice
    twin: Choice


def choose(subject: Subject, val: Split, task: Task, settings: Propagation) -> VideoChoice:
    """Return each layer's scale with the best first metric on val, with and without pretraining.

    Raises:
        UserError: the backbone has no maps, or none that is small enough.
    """
    return VideoChoice(*(_choose_one(subject, p, val, task, settings) for p in (True, False)))


def measure(
    choice: VideoChoice, subject: Subject, test: Split, task: Task, settings: Propagation
) -> list[Measurement]:
    """Return the metrics on test at the layer that val chose, of each layer, and of the twin."""
    copied = np.concatenate([_copied(test, clip, task) for clip in task.clips(test)])
    mine = [_place(layer) for layer in choice.pretrained.layers]
    scores = _scores(subject, True, test, task, settings, mine)
    first, twin = choice.pretrained.headline, choice.twin.headline
    rows = _rows(first, scores[_place(first)], "headline", task.metrics, copied)
    for layer in choice.pretrained.layers:
        rows += _rows(layer, scores[_place(layer)], "layer", task.metrics[:1], copied)
    of_twin = _scores(subject, False, test, task, settings, [_place(twin)])[_place(twin)]
    return rows + _rows(twin, of_twin, "twin", task.metrics, copied)


def _choose_one(
    subject: Subject, is_pretrained: bool, val: Split, task: Task, settings: Propagation
) -> Choice:
    scores = _scores(subject, is_pretrained, val, task, settings, None)
    values = {place: float(found[:, 0].mean()) for place, found in scores.items()}
    layers = []
    for name in subject.info.layers:
        if mine := {place: value for place, value in values.items() if place.layer == name}:
            chosen = best(mine)
            layers.append(LayerChoice(name, {"scale": chosen.scale}, mine[chosen]))
    return Choice(tuple(layers))


def _place(layer: LayerChoice) -> Place:
    return Place(layer.layer, layer.setting["scale"])


def _rows(
    chosen: LayerChoice, scores: np.ndarray, role: Role, metrics: Sequence[str], copied: np.ndarray
) -> list[Measurement]:
    means, standing = scores.mean(axis=0), copied.mean(axis=0)
    return [
        Measurement(
            metric=metric, value=float(means[i]), unit="fraction", n=len(scores), split="test",
            layer=chosen.layer, role=role, per_sample=scores[:, i],
            detail={**chosen.setting, "val": chosen.val, "first_frame_copied": float(standing[i])},
        )
        for i, metric in enumerate(metrics)
    ]  # fmt: skip


def _copied(split: Split, clip: Clip, task: Task) -> np.ndarray:
    """Return the scores of an object that stands still: what following must beat."""
    truth = np.stack([task.truth(split, row) for row in clip.rows])
    still = task.copied(truth[0])
    return task.score(truth, np.stack([still] * (len(truth) - 1)))


@torch.no_grad()
def _scores(
    subject: Subject,
    is_pretrained: bool,
    split: Split,
    task: Task,
    settings: Propagation,
    places: Collection[Place] | None,
) -> dict[Place, np.ndarray]:
    """Return (num_samples, num_metrics) of each place, or of all there are."""
    backbone = subject.backbone(is_pretrained=is_pretrained).eval()
    scores: dict[Place, list[np.ndarray]] = {}
    for clip in task.clips(split):
        truth = np.stack([task.truth(split, row) for row in clip.rows])
        for place, found in _follow(backbone, subject, split, clip, task, settings, places).items():
            scores.setdefault(place, []).append(task.score(truth, np.stack(found)))
    if not scores:
        what = f"no layer gives a map of at most {settings.max_cells} cells"
        mend = "lower scale or raise max_cells in the protocol's propagation block"
        raise UserError(what, where=str(subject.checkpoint_dir), mend=mend)
    return {place: np.concatenate(found) for place, found in scores.items()}


def _follow(
    backbone: Backbone,
    subject: Subject,
    split: Split,
    clip: Clip,
    task: Task,
    settings: Propagation,
    places: Collection[Place] | None,
) -> dict[Place, list[np.ndarray]]:
    """Return what is found in every frame but the first, at each place."""
    first = task.truth(split, clip.rows[0])
    propagators: dict[Place, Propagator] = {}
    found: dict[Place, list[np.ndarray]] = {}
    for frame, row in enumerate(clip.rows):
        image = split.image(row)
        size = (image.shape[0], image.shape[1])
        for place, features in _maps(backbone, subject, image, settings, places):
            if frame == 0:
                grid = (features.shape[1], features.shape[2])
                labels = task.encode(first, size, grid).to(features)
                propagators[place] = Propagator(settings, features, labels)
            else:
                labels = propagators[place].step(features)
                found.setdefault(place, []).append(task.decode(labels, first, size))
    return found


def _maps(
    backbone: Backbone,
    subject: Subject,
    image: np.ndarray,
    settings: Propagation,
    places: Collection[Place] | None,
) -> Iterator[tuple[Place, Tensor]]:
    """Yield the features (dim, height, width) of an image at each place that is asked for."""
    for scale in settings.scale:
        if places is not None and not any(place.scale == scale for place in places):
            continue
        for layer, maps in backbone.extract(_input(subject, image, scale)).items():
            place = Place(layer, scale)
            is_asked = places is None or place in places
            if maps.ndim == 4 and is_asked and maps[0, 0].numel() <= settings.max_cells:
                yield place, maps[0].float()


def _input(subject: Subject, image: np.ndarray, scale: float) -> Tensor:
    """Return an image (1, channel, height, width) normalised, at `scale` times its sides.

    Each side is rounded to whole patches and strides.
    """
    step = lcm(_MULTIPLE, int(subject.info.backbone.get("patch_size", 1)))
    size = [max(1, round(side * scale / step)) * step for side in image.shape[:2]]
    view = plain_view(image[None], subject.info, subject.device)
    if list(view.shape[2:]) == size:
        return view
    return functional.interpolate(
        view, size=size, mode="bilinear", align_corners=False, antialias=True
    )
