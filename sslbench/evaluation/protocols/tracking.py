"""Tracking: the first frame's object masks follow the likeness of frozen features.

Source   Jabri et al. 2020, https://arxiv.org/abs/2006.14613, with DINO's settings,
         https://github.com/facebookresearch/dino/blob/main/eval_video_segmentation.py: the first
         frame and the 7 before give labels within 12 cells, top 5, temperature .1; labels are
         enlarged bilinearly, each is stretched to [0, 1], and the largest wins
Metric   J, F and their mean (headline `jf`) of each object over all frames but the first and the
         last, then the mean over objects: DAVIS-2017's official rule (`parts.video_scores`)
Samples  clips, since objects of one clip are alike: their means where all clips have one number of
         objects; otherwise the headlines have a standard error from a bootstrap over clips
Chosen   layer and input scale on val by J&F, for the random twin by itself
Floor    the detail's `first_frame_copied` is the score of the first mask left where it is
Differs  every layer that is a map is tried (the source takes the last one); sides are multiples of
         32 px (of 224 px with patches of 14: of both) at a scale of the frame's own, so that two
         scales of a small frame can be one (the source: 480 px, multiples of 64); resizing is
         antialiased; labels are enlarged to the frame at once; a label that is the same everywhere
         is not stretched (in the source one that fills the frame becomes 0, and background wins)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sslbench.data.store import Split
from sslbench.data.store.clips import Clip, clips, object_map
from sslbench.evaluation.protocols.base import Measurement
from sslbench.evaluation.protocols.parts import videos
from sslbench.evaluation.protocols.parts.propagation import Propagation
from sslbench.evaluation.protocols.parts.transfer import Subject
from sslbench.evaluation.protocols.parts.video_scores import follow_scores

NAME = "tracking"
VERSION = 2
KIND = "video"
LABELS = "none"

# A label that spans less is the same everywhere: of one that fills the frame, weights that sum to
# 1 in float32 leave 1e-7.
_FLAT = 1e-5


@dataclass(frozen=True, kw_only=True)
class Params:
    """How labels travel.

    Attributes:
        propagation: input scales, context, window and weights.
    """

    propagation: Propagation


@dataclass(frozen=True)
class TrackingChoice:
    """What val chose, and the parameters that measuring shares with it."""

    places: videos.VideoChoice
    params: Params


class Masks:
    """Object masks as soft labels: a channel of background, then one per object of frame one."""

    metrics: ClassVar[tuple[str, ...]] = ("jf", "j", "f")
    least_frames: ClassVar[int] = 3  # neither the first nor the last is scored

    def clips(self, split: Split) -> list[Clip]:
        """Return the clips of a split."""
        return clips(split, "object_map")

    def truth(self, split: Split, row: int) -> np.ndarray:
        """Return the object numbers (height, width) of a frame."""
        return object_map(split, row)

    def encode(self, truth: np.ndarray, frame: videos.Size, grid: videos.Size) -> Tensor:
        """Return one-hot labels (1 + num_objects, *grid): the pixel in the middle of each cell."""
        rows, columns = (
            ((np.arange(cells) + 0.5) * pixels / cells).astype(int)
            for cells, pixels in zip(grid, frame, strict=True)
        )
        cells = truth[np.ix_(rows, columns)]
        return torch.from_numpy((cells == _numbers(truth)[:, None, None]).astype(np.float32))

    def decode(self, labels: Tensor, truth: np.ndarray, frame: videos.Size) -> np.ndarray:
        """Return the object numbers (height, width) of a frame."""
        large = functional.interpolate(labels[None], frame, mode="bilinear", align_corners=False)[0]
        least, most = (pick(large, dim=(1, 2), keepdim=True) for pick in (torch.amin, torch.amax))
        span = most - least
        stretched = torch.where(span > _FLAT, (large - least) / span.clamp_min(_FLAT), large)
        found: np.ndarray = _numbers(truth)[stretched.argmax(dim=0).cpu().numpy()]
        return found

    def copied(self, truth: np.ndarray) -> np.ndarray:
        """Return the first frame's object numbers."""
        return truth

    def score(self, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Return J&F, J and F (num_objects, 3)."""
        return follow_scores(truth, found)


def _numbers(truth: np.ndarray) -> np.ndarray:
    """Return background and the objects of a frame by number."""
    return np.union1d(truth, np.zeros(1, truth.dtype))


def choose(subject: Subject, train: Split, val: Split, params: Params) -> TrackingChoice:
    """Return each layer's input scale with the best J&F on val."""
    del train
    return TrackingChoice(videos.choose(subject, val, Masks(), params.propagation), params)


def measure(
    choice: TrackingChoice, subject: Subject, train: Split, val: Split, test: Split
) -> list[Measurement]:
    """Return J&F, J and F on test at the chosen layer, J&F of every layer, and the twin's."""
    del train, val
    return videos.measure(choice.places, subject, test, Masks(), choice.params.propagation)
