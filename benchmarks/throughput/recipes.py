"""What both sides train: one set of views, networks and numbers for each method.

Views are those of lightly 1.6's transforms, written as ours: without blur at 32 px, as in its
CIFAR-10 examples, and with their default blur above. Networks and widths are the default grid's
(conf/recipes/small.yaml). SwAV has the example's six small crops besides the two large ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.core import params

if TYPE_CHECKING:
    from sslbench.views.policy import View

METHODS = ("simclr", "byol", "mae", "mocov2", "swav")
SIZES = (32, 128)
LEARNING_RATE, WEIGHT_DECAY, BETAS = 1e-3, 1e-4, (0.9, 0.999)
SIGMA = (0.1, 2.0)
BLURRED_FROM = 33  # px; CIFAR-10's examples set the blur to 0
NUM_LOCAL = 6
_CONF = Path(__file__).parents[2] / "conf" / "recipes" / "small.yaml"


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        method: one of METHODS.
        size: side of the images in pixels.
        images: how many one round goes through.
        batch_size: images per step.
        data: folder of images, or None for embedded scenes.
        threads: numeric threads of the main process.
        is_large: SimCLR on ResNet-18 with CIFAR-10's widths in the default grid's place.
    """

    method: str
    size: int
    images: int
    batch_size: int
    data: Path | None
    threads: int
    is_large: bool = False


def numbers(case: Case) -> dict[str, Any]:
    """Return the method's block of params.yaml, views left out, without what the example lacks."""
    values = dict(params.load(_CONF)["methods"][case.method])
    if case.is_large:  # lightly's cifar10_benchmark.py
        values |= {"hidden_dim": 512, "output_dim": 128}
    if case.method == "mocov2":  # the example has no shuffled batch norm
        values["contrast"] = {**values["contrast"], "num_groups": 1}
    if case.method == "swav":  # nor a queue, nor frozen prototypes
        values |= {"queue_size": None, "queue_start_fraction": None, "frozen_epochs": 0}
    return values


def backbone(case: Case) -> dict[str, Any]:
    """Return the spec of the network: the default grid's, with the usual stem for large images."""
    spec = dict(params.load(_CONF)["recipes"][case.method]["backbone"])
    if case.is_large:
        spec |= {"depth": "18", "stem": "small", "width": 64}
    if case.size > 96:
        spec |= {"patch_size": 16} if spec["family"] == "vit" else {"stem": "imagenet"}
    return {**spec, "image_size": case.size}


def local_size(size: int) -> int:
    """Return the side of SwAV's small crops."""
    return size // 2


def views(case: Case) -> tuple[View, ...]:
    """Return the views of lightly's transform for the method, as ours."""
    size = case.size
    if case.method == "simclr":
        return (_view(size, 2, 0.08, (0.8, 0.8, 0.8, 0.2), blur=0.5),)
    if case.method == "mocov2":
        return (_view(size, 2, 0.2, (0.4, 0.4, 0.4, 0.1), blur=0.5),)
    if case.method == "byol":
        jitter = (0.4, 0.4, 0.2, 0.1)
        first = _view(size, 1, 0.08, jitter, blur=1.0)
        return first, _view(size, 1, 0.08, jitter, blur=0.1, solarise=0.2)
    if case.method == "swav":
        jitter = (0.8, 0.8, 0.8, 0.2)
        small = _view(size, NUM_LOCAL, 0.05, jitter, blur=0.5, largest=0.14, side=local_size(size))
        return _view(size, 2, 0.14, jitter, blur=0.5), small
    return (_view(size, 1, 0.2, None, blur=0.0, grey=0.0),)


def _view(
    size: int,
    copies: int,
    smallest: float,
    jitter: tuple[float, float, float, float] | None,
    *,
    blur: float,
    grey: float = 0.2,
    solarise: float = 0.0,
    largest: float = 1.0,
    side: int | None = None,
) -> View:
    from sslbench.views.policy import Blur, Crop, Jitter, View

    strengths = ("brightness", "contrast", "saturation", "hue")
    is_blurred = blur > 0 and size >= BLURRED_FROM
    return View(
        copies=copies,
        size=side,
        crop=Crop(scale=(smallest, largest), ratio=(3 / 4, 4 / 3)),
        pad=0,
        rotation=0.0,
        flip=0.5,
        jitter=Jitter(probability=0.8, **dict(zip(strengths, jitter, strict=True)))
        if jitter
        else None,
        grey=grey,
        blur=Blur(probability=blur, sigma=SIGMA) if is_blurred else None,
        solarise=solarise,
    )
