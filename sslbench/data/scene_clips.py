"""`scene_clips`: short videos of `scenes`, with the object's mask and keypoints in every frame.

The object moves and turns steadily and the camera drifts (`scene_parameters.draw_motion`); each
frame has camera noise of its own. Some objects leave the frame in part. The keypoints are the
object's centre and the four points half-way to its right, top, left and bottom, in the object's
own frame, so they follow its motion exactly; a keypoint is visible while it lies inside the frame.

The object stands out by its colour, so the first layer of random weights follows its mask to a J&F
of .94 (measured at the sizes of conf/data/scene_clips.yaml; the first mask left in place has .33):
this set tests the protocols, real videos rank methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sslbench.data import scene_drawing, scene_parameters
from sslbench.data.batch import Batch, Source
from sslbench.data.scene_drawing import Scenes
from sslbench.data.scene_parameters import Parameters
from sslbench.data.scene_shapes import SHAPES
from sslbench.data.store import MAX_RAW_SIZE, Column
from sslbench.data.store.clips import map_to_bytes

VERSION = 1
SPLITS = ("train", "val", "test")
# In the object's own frame, where it fits within [-1, 1].
KEYPOINTS = np.array([[0, 0], [0.5, 0], [0, 0.5], [-0.5, 0], [0, -0.5]], np.float32)
_CHUNK = 16
# Streams 0 to 2 of a seed are the splits of `scenes`.
_FIRST_STREAM = 3
_MIN_FRAMES = 3  # the first is given, and the last is not scored


@dataclass(frozen=True, kw_only=True)
class Params:
    """The `data.<dataset>` block of kind scene_clips.

    Attributes:
        kind: always `scene_clips`.
        seed: of the drawing; splits use streams of their own.
        image_size: side of a frame in pixels.
        frames: frames in a clip.
        train: clips in the train split.
        val: clips in the val split.
        test: clips in the test split.
    """

    kind: Literal["scene_clips"]
    seed: int
    image_size: int
    frames: int
    train: int
    val: int
    test: int

    def __post_init__(self) -> None:
        """Refuse sizes and counts that cannot be drawn."""
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, found {self.seed}")
        if not 16 <= self.image_size <= MAX_RAW_SIZE:
            raise ValueError(f"image_size must lie in [16, {MAX_RAW_SIZE}]")
        if self.frames < _MIN_FRAMES:
            raise ValueError(f"frames must be at least {_MIN_FRAMES}, found {self.frames}")
        if min(self.train, self.val, self.test) < 1:
            raise ValueError("train, val and test must hold at least one clip each")


def open_source(params: Params) -> Source:
    """Return the data set to draw."""
    return Source(
        classes=(),
        image_size=params.image_size,
        source=f"drawn from seed {params.seed} by sslbench scene_clips version {VERSION}",
        split_rule=f"independent random streams per split, version {VERSION}",
        batches=lambda split: _batches(params, split),
    )


def chunks(
    seed: int, split: str, count: int, frames: int, size: int
) -> Iterator[tuple[Scenes, np.ndarray]]:
    """Yield a split's clips, 16 at a time; fewer clips are a prefix of more.

    Args:
        seed: of the drawing.
        split: train, val or test; each has streams of its own.
        count: number of clips; the class of clip i is i modulo 10.
        frames: frames in a clip.
        size: side in pixels.

    Yields:
        The frames of the clips one after the other, and their keypoints (frames, points, 3):
        x, y in pixels and 1 where visible.
    """
    stream = _FIRST_STREAM + SPLITS.index(split)
    for start in range(0, count, _CHUNK):
        rng = np.random.default_rng([seed, stream, start])
        parameters = scene_parameters.draw(rng, np.arange(start, start + _CHUNK) % len(SHAPES))
        motion = scene_parameters.draw_motion(rng, _CHUNK)
        drawn, points = [], []
        for frame in range(frames):
            now = scene_parameters.moved(parameters, motion, frame)
            noise = rng.standard_normal((_CHUNK, 3, size, size), dtype=np.float32)
            drawn.append(scene_drawing.render(now, noise))
            points.append(keypoints(now, size))
        by_clip = np.arange(frames * _CHUNK).reshape(frames, _CHUNK).T[: count - start].reshape(-1)
        yield Scenes.join(drawn).take(by_clip), np.concatenate(points)[by_clip]


def keypoints(parameters: Parameters, size: int) -> np.ndarray:
    """Return the keypoints (num_scenes, num_points, 3) float32 of scenes `size` pixels wide.

    The inverse of what `scene_drawing` does from a pixel to the object's own frame.
    """
    p = {name: values[:, None] for name, values in parameters.items()}
    right = KEYPOINTS[:, 0] * p["mirror"] * p["aspect"]
    up = KEYPOINTS[:, 1] / p["aspect"]
    cos, sin = np.cos(p["rotation"]), np.sin(p["rotation"])
    x = p["x"] + p["half"] * (cos * right - sin * up) - p["camera_x"]
    y = 1 - (p["y"] + p["half"] * (sin * right + cos * up) - p["camera_y"])
    is_visible = (x >= 0) & (x < 1) & (y >= 0) & (y < 1)
    return np.stack([x * size, y * size, is_visible], axis=2).astype(np.float32)


def _batches(params: Params, split: str) -> Iterator[Batch]:
    count, frames = getattr(params, split), params.frames
    start = 0
    for drawn, points in chunks(params.seed, split, count, frames, params.image_size):
        clip = start + np.arange(len(drawn.labels)) // frames
        frame = np.arange(len(drawn.labels)) % frames
        start += len(drawn.labels) // frames
        names = [f"{split}/{c:05d}/{f:05d}" for c, f in zip(clip, frame, strict=True)]
        columns: dict[str, Column] = {
            "clip": clip,
            "frame": frame,
            "object_map": [map_to_bytes(mask) for mask in drawn.mask],
            "keypoints": points.reshape(len(points), -1),
        }
        yield Batch(drawn.images, np.full(len(names), -1), names, columns)
