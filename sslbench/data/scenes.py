"""`scenes`: ten shapes over textured backgrounds, drawn from a seed with numpy alone.

A shape of one of ten classes in front of a wall, or of sky and ground: there is a canonical up
(horizon, light, shadow, and seven shapes that have one), a layout, colours that go with material
and, weakly, with class, boxes and masks. Parameters are in `scene_parameters.py`, shapes in
`scene_shapes.py`, drawing in `scene_drawing.py`; `scene_clips.py` sets the same scenes in motion.

Version 2: plain objects have a uniform hue; only textured ones carry a material's.

How hard it is, in % of 2,000 test images after 4,000 train images (chance 10, binomial standard
error up to 1.1; seeds 0 and 1), by `python benchmarks/scenes_difficulty.py --seed <seed>`:

    raw pixels, kNN                     33.9   34.2
    raw pixels, centred, kNN            35.4   33.1
    raw pixels, linear                  16.7   17.8
    colour histogram, linear            10.8   12.3
    random tiny ResNet, kNN             15.6   14.1
    random tiny ResNet, linear          17.4   15.8
    supervised tiny ResNet, 30 epochs   95.5   95.9

Nothing was tuned on these figures. About 5,000 images/s on one core. The bytes are the same on
one machine; another CPU's sine may differ in the last bit and so, rarely, in a pixel's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sslbench.data import scene_drawing, scene_parameters
from sslbench.data.batch import Batch, Source
from sslbench.data.scene_drawing import Scenes
from sslbench.data.scene_shapes import SHAPES
from sslbench.data.store import MAX_RAW_SIZE

VERSION = 2
CHUNK = 256
CLASSES = tuple(SHAPES)
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Params:
    """The `data.<dataset>` block of kind scenes.

    Attributes:
        kind: always `scenes`.
        seed: of the drawing; splits use streams of their own.
        image_size: side in pixels.
        train: images in the train split.
        val: images in the val split.
        test: images in the test split.
    """

    kind: Literal["scenes"]
    seed: int
    image_size: int
    train: int
    val: int
    test: int

    def __post_init__(self) -> None:
        """Refuse sizes and counts that cannot be drawn."""
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, found {self.seed}")
        if not 16 <= self.image_size <= MAX_RAW_SIZE:
            raise ValueError(f"image_size must lie in [16, {MAX_RAW_SIZE}]")
        for name in SPLITS:
            if getattr(self, name) < len(SHAPES):
                raise ValueError(f"{name} must hold at least one image of each of 10 classes")


def chunks(seed: int, split: str, count: int, size: int) -> Iterator[Scenes]:
    """Yield a split's images in chunks of 256; fewer images are a prefix of more.

    Args:
        seed: of the drawing.
        split: train, val or test; each has streams of its own.
        count: number of images; the class of image i is i modulo 10.
        size: side in pixels.
    """
    for start in range(0, count, CHUNK):
        rng = np.random.default_rng([seed, SPLITS.index(split), start])
        parameters = scene_parameters.draw(rng, np.arange(start, start + CHUNK) % len(CLASSES))
        noise = rng.standard_normal((CHUNK, 3, size, size), dtype=np.float32)
        yield scene_drawing.render(parameters, noise).take(slice(0, count - start))


def open_source(params: Params) -> Source:
    """Return the data set to draw."""
    return Source(
        classes=CLASSES,
        image_size=params.image_size,
        source=f"drawn from seed {params.seed} by sslbench scenes version {VERSION}",
        split_rule=f"independent random streams per split, class i modulo 10, version {VERSION}",
        batches=lambda split: _batches(params, split),
    )


def _batches(params: Params, split: str) -> Iterator[Batch]:
    start = 0
    for made in chunks(params.seed, split, getattr(params, split), params.image_size):
        names = [f"{split}/{start + row:06d}" for row in range(len(made.labels))]
        start += len(names)
        yield Batch(made.images, made.labels, names, {"boxes": made.boxes, "mask": made.mask})
