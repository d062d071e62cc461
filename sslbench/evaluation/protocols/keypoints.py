"""Keypoints: the first frame's keypoints follow the likeness of frozen features.

Source   Jabri et al. 2020, https://arxiv.org/abs/2006.14613, section 4, as JHMDB's poses:
         https://github.com/ajabri/videowalk (code/utils/test_utils.py, code/eval/eval_pck.py);
         labels travel as in tracking; a keypoint is the weighted mean of its strongest cells
Metric   PCK at .1 and .2 of the object's size in the frame, which is .6 of the diagonal of the
         box around its keypoints; the mean over a clip's keypoints and frames, then over clips
Chosen   layer and input scale on val by PCK at .1, for the random twin by itself
Floor    the detail's `first_frame_copied` is the score of keypoints left where they are
Differs  a keypoint is spread over the four cells round it by its distances, so that it is found
         again between cells (the source: a Gaussian); means are over clips, so that clips can be
         compared (the source: over each joint of all clips, then over joints)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sslbench.data.store import Split
from sslbench.data.store.clips import Clip, clips, keypoints
from sslbench.evaluation.protocols.base import Measurement
from sslbench.evaluation.protocols.parts import videos
from sslbench.evaluation.protocols.parts.propagation import Propagation
from sslbench.evaluation.protocols.parts.transfer import Subject
from sslbench.evaluation.protocols.parts.video_scores import keypoint_scores

NAME = "keypoints"
VERSION = 1
KIND = "video"
LABELS = "none"
THRESHOLDS = (0.1, 0.2)


@dataclass(frozen=True, kw_only=True)
class Params:
    """How labels travel, and how a keypoint is read from them.

    Attributes:
        propagation: input scales, context, window and weights.
        peak: number of strongest cells whose weighted mean is the keypoint.
    """

    propagation: Propagation
    peak: int

    def __post_init__(self) -> None:
        """Refuse a peak of no cells."""
        if self.peak < 1:
            raise ValueError(f"peak must be at least 1, found {self.peak}")


@dataclass(frozen=True)
class KeypointsChoice:
    """What val chose, and the parameters that measuring shares with it."""

    places: videos.VideoChoice
    params: Params


@dataclass(frozen=True)
class Points:
    """Keypoints as soft labels: one channel each, empty where not visible.

    Attributes:
        peak: number of strongest cells whose weighted mean is the keypoint.
    """

    peak: int
    metrics: ClassVar[tuple[str, ...]] = ("pck_01", "pck_02")
    least_frames: ClassVar[int] = 2  # the first is not scored

    def clips(self, split: Split) -> list[Clip]:
        """Return the clips of a split."""
        return clips(split, "keypoints")

    def truth(self, split: Split, row: int) -> np.ndarray:
        """Return the keypoints (num_points, 3) of a frame."""
        return keypoints(split, row)

    def encode(self, truth: np.ndarray, frame: videos.Size, grid: videos.Size) -> Tensor:
        """Return labels (num_points, *grid) that sum to 1 over the cells round each keypoint.

        A point nearer to the border than half a cell is moved to the middle of its cell.
        """
        labels = torch.ones(len(truth), *grid)
        for axis, (cells, pixels) in enumerate(zip(grid, frame, strict=True)):
            along = truth[:, 1 - axis] * cells / pixels - 0.5
            place = torch.from_numpy(along.clip(0, cells - 1))[:, None]
            near = (1 - (torch.arange(cells) - place).abs()).clamp(min=0)
            labels *= near.reshape(len(truth), *((-1, 1) if axis == 0 else (1, -1)))
        return labels * torch.from_numpy(truth[:, 2])[:, None, None]

    def decode(self, labels: Tensor, truth: np.ndarray, frame: videos.Size) -> np.ndarray:
        """Return x, y (num_points, 2) in pixels, NaN where a label has vanished."""
        del truth
        height, width = labels.shape[1:]
        top = labels.flatten(1).topk(min(self.peak, height * width))
        weights = top.values / top.values.sum(dim=1, keepdim=True)
        x = (top.indices % width + 0.5) * (frame[1] / width)
        y = (top.indices // width + 0.5) * (frame[0] / height)
        found: np.ndarray = torch.stack([x, y], dim=2).mul(weights[:, :, None]).sum(1).cpu().numpy()
        return found

    def copied(self, truth: np.ndarray) -> np.ndarray:
        """Return the first frame's x and y."""
        return truth[:, :2]

    def score(self, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Return PCK at .1 and .2 (1, 2), or (0, 2) where no keypoint is scored."""
        return keypoint_scores(truth, found, THRESHOLDS)


def choose(subject: Subject, train: Split, val: Split, params: Params) -> KeypointsChoice:
    """Return each layer's input scale with the best PCK at .1 on val."""
    del train
    task = Points(params.peak)
    return KeypointsChoice(videos.choose(subject, val, task, params.propagation), params)


def measure(
    choice: KeypointsChoice, subject: Subject, train: Split, val: Split, test: Split
) -> list[Measurement]:
    """Return PCK on test at the chosen layer, PCK at .1 of every layer, and the twin's."""
    del train, val
    task = Points(choice.params.peak)
    return videos.measure(choice.places, subject, test, task, choice.params.propagation)
