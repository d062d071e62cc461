"""What tracking and keypoints share: frames through frozen layers, the choice on val, the test."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
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
from sslbench.evaluation.protocols.parts.divergence import refuse_non_finite
from sslbench.evaluation.protocols.parts.map_shapes import side_step
from sslbench.evaluation.protocols.parts.propagation import Propagation, Propagator
from sslbench.evaluation.protocols.parts.resampling import standard_error
from sslbench.evaluation.protocols.parts.transfer import Subject

Size = tuple[int, int]


class Task(Protocol):
    """What is followed through a clip.

    Attributes:
        metrics: names of the scores, in order; val chooses by the first.
        least_frames: that a clip needs to be scored.
    """

    metrics: ClassVar[tuple[str, ...]]
    least_frames: ClassVar[int]

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
        """Return a clip's scores (num_objects, num_metrics), all frames but the first found."""


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


@dataclass(frozen=True)
class Follower:
    """A frozen backbone that follows a task's truth through clips.

    Attributes:
        subject: whose description says how images are read.
        backbone: in eval mode, on the subject's device.
        task: what is followed.
        settings: how.
    """

    subject: Subject
    backbone: Backbone
    task: Task
    settings: Propagation

    @classmethod
    def of(
        cls, subject: Subject, task: Task, settings: Propagation, *, is_pretrained: bool
    ) -> Follower:
        """Return a follower with trained weights, or with the seed's random ones."""
        backbone = subject.backbone(is_pretrained=is_pretrained).eval()
        return cls(subject, backbone, task, settings)

    @torch.no_grad()
    def places(self, split: Split) -> list[Place]:
        """Return the places whose maps are small enough in every clip.

        Raises:
            UserError: there are none, or a clip is too short.
        """
        most = self.settings.max_cells
        images = (split.image(clip.rows[0]) for clip in _clips(split, self.task))
        by_size = {image.shape: image for image in images}
        fit = [
            {place for place, found in self._maps(image) if found[0].numel() <= most}
            for image in by_size.values()
        ]
        if not (places := sorted(set.intersection(*fit))):
            what = f"no layer gives a map of at most {most} cells"
            mend = "lower scale or raise max_cells in the protocol's propagation block"
            raise UserError(what, where=str(self.subject.checkpoint_dir), mend=mend)
        return places

    @torch.no_grad()
    def scores(self, split: Split, places: Collection[Place]) -> dict[Place, list[np.ndarray]]:
        """Return (num_objects, num_metrics) of each clip that can be scored, at each place.

        Raises:
            UserError: there is nothing to score, or a clip is too short.
        """
        scores: dict[Place, list[np.ndarray]] = {place: [] for place in places}
        for clip in _clips(split, self.task):
            truth = _truth(split, clip, self.task)
            found = self._follow(split, clip, truth[0], places)
            for place in places:
                if len(scored := self.task.score(truth, np.stack(found[place]))):
                    scores[place].append(scored)
        if not all(scores.values()):
            mend = "take clips whose objects are visible in the first frame and later"
            what = "nothing in its clips can be scored"
            raise UserError(what, where=str(split.path), mend=mend)
        return scores

    def _follow(
        self, split: Split, clip: Clip, first: np.ndarray, places: Collection[Place]
    ) -> dict[Place, list[np.ndarray]]:
        """Return what is found in every frame but the first, at each place."""
        propagators: dict[Place, Propagator] = {}
        found: dict[Place, list[np.ndarray]] = {place: [] for place in places}
        for frame, row in enumerate(clip.rows):
            image = split.image(row)
            size = (image.shape[0], image.shape[1])
            for place, features in self._maps(image, places):
                if frame == 0:
                    grid = (features.shape[1], features.shape[2])
                    labels = self.task.encode(first, size, grid).to(features)
                    propagators[place] = Propagator(self.settings, features, labels)
                else:
                    labels = propagators[place].step(features)
                    found[place].append(self.task.decode(labels, first, size))
        return found

    def _maps(
        self, image: np.ndarray, places: Collection[Place] | None = None
    ) -> Iterator[tuple[Place, Tensor]]:
        """Yield the features (dim, height, width) of an image at some places, or at all.

        Raises:
            UserError: NaN or infinity.
        """
        scales = self.settings.scale if places is None else {place.scale for place in places}
        for scale in sorted(scales):
            view = _input(self.subject, image, scale)
            for layer, maps in self.backbone.extract(view).items():
                place = Place(layer, scale)
                if maps.ndim == 4 and (places is None or place in places):
                    yield place, refuse_non_finite(maps[0].float(), layer, self.subject)


def choose(subject: Subject, val: Split, task: Task, settings: Propagation) -> VideoChoice:
    """Return each layer's scale with the best first metric on val, with and without pretraining.

    Raises:
        UserError: the backbone has no maps, or none that is small enough.
    """
    return VideoChoice(*(_choose_one(subject, val, task, settings, p) for p in (True, False)))


def measure(
    choice: VideoChoice, subject: Subject, test: Split, task: Task, settings: Propagation
) -> list[Measurement]:
    """Return the metrics on test at the layer that val chose, of each layer, and of the twin."""
    copied = np.concatenate([_copied(test, clip, task) for clip in _clips(test, task)])
    first, twin = choice.pretrained.headline, choice.twin.headline
    follower = Follower.of(subject, task, settings, is_pretrained=True)
    scores = follower.scores(test, [_place(layer) for layer in choice.pretrained.layers])
    rows = _rows(first, scores[_place(first)], "headline", task.metrics, copied)
    for layer in choice.pretrained.layers:
        rows += _rows(layer, scores[_place(layer)], "layer", task.metrics[:1], copied)
    follower = Follower.of(subject, task, settings, is_pretrained=False)
    scores = follower.scores(test, [_place(twin)])
    return rows + _rows(twin, scores[_place(twin)], "twin", task.metrics, copied)


def _choose_one(
    subject: Subject, val: Split, task: Task, settings: Propagation, is_pretrained: bool
) -> Choice:
    follower = Follower.of(subject, task, settings, is_pretrained=is_pretrained)
    scores = follower.scores(val, follower.places(val))
    layers = []
    for name in subject.info.layers:
        values = {p: _mean(clips, 0) for p, clips in scores.items() if p.layer == name}
        if values:
            chosen = best(values)
            layers.append(LayerChoice(name, {"scale": chosen.scale}, values[chosen]))
    return Choice(tuple(layers))


def _place(layer: LayerChoice) -> Place:
    return Place(layer.layer, layer.setting["scale"])


def _rows(
    chosen: LayerChoice,
    scores: Sequence[np.ndarray],
    role: Role,
    metrics: Sequence[str],
    copied: np.ndarray,
) -> list[Measurement]:
    """Return each metric's mean over objects, with results of clips where they have that mean.

    Objects of one clip are alike, so clips are the samples. Clips of unequal numbers of objects
    have another mean, and a headline's standard error over clips stands in their place.
    """
    standing = copied.mean(axis=0)
    is_even = len({len(clip) for clip in scores}) == 1
    rows = []
    for i, metric in enumerate(metrics):
        error = None if is_even or role != "headline" else _error_over_clips(scores, i)
        rows.append(
            Measurement(
                metric=metric, value=_mean(scores, i), unit="fraction", split="test",
                n=sum(map(len, scores)), layer=chosen.layer, role=role, standard_error=error,
                per_sample=np.array([clip[:, i].mean() for clip in scores]) if is_even else None,
                detail={
                    **chosen.setting, "val": chosen.val, "first_frame_copied": float(standing[i])
                },
            )
        )  # fmt: skip
    return rows


def _mean(clips: Sequence[np.ndarray], metric: int) -> float:
    """Return the mean of a metric over the objects of clips (num_objects, num_metrics)."""
    return float(np.concatenate(clips)[:, metric].mean())


def _error_over_clips(clips: Sequence[np.ndarray], metric: int) -> float | None:
    """Return the standard error of `_mean`, by draws of whole clips."""
    return standard_error(lambda rows: _mean([clips[row] for row in rows], metric), len(clips))


def _clips(split: Split, task: Task) -> list[Clip]:
    """Return the clips of a split.

    Raises:
        UserError: one is too short to be scored.
    """
    clips = task.clips(split)
    for clip in clips:
        if len(clip.rows) < task.least_frames:
            what = f"clip {clip.name!r} has {len(clip.rows)} of {task.least_frames} frames"
            mend = "leave it out, or take more of its frames, and prepare the data set again"
            raise UserError(what, where=str(split.path), mend=mend)
    return clips


def _truth(split: Split, clip: Clip, task: Task) -> np.ndarray:
    return np.stack([task.truth(split, row) for row in clip.rows])


def _copied(split: Split, clip: Clip, task: Task) -> np.ndarray:
    """Return the scores of an object that stands still: what following must beat."""
    truth = _truth(split, clip, task)
    still = task.copied(truth[0])
    return task.score(truth, np.stack([still] * (len(truth) - 1)))


def _input(subject: Subject, image: np.ndarray, scale: float) -> Tensor:
    """Return an image (1, channel, height, width) normalised, at `scale` times its sides.

    Each side is rounded to whole patches and strides.
    """
    step = side_step(subject.info)
    size = [max(1, round(side * scale / step)) * step for side in image.shape[:2]]
    view = plain_view(image[None], subject.info, subject.device)
    if list(view.shape[2:]) == size:
        return view
    return functional.interpolate(
        view, size=size, mode="bilinear", align_corners=False, antialias=True
    )
