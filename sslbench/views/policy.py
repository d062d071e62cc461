"""A view is a record of values: what one image becomes. Same record, same augmentation."""

from __future__ import annotations

from dataclasses import dataclass


def _refuse_probability(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must lie in [0, 1], found {value}")


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Random resized crop: area as a share of the image's, and aspect ratio (width / height)."""

    scale: tuple[float, float]
    ratio: tuple[float, float]

    def __post_init__(self) -> None:
        """Refuse empty or reversed ranges."""
        if not 0 < self.scale[0] <= self.scale[1] <= 1 or not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"crop ranges must be ordered and positive, found {self}")


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """Colour jitter in torchvision's ranges: factors in [1 - x, 1 + x], hue [-hue, hue] turns."""

    probability: float
    brightness: float
    contrast: float
    saturation: float
    hue: float

    def __post_init__(self) -> None:
        """Refuse a probability or hue out of range."""
        _refuse_probability("jitter.probability", self.probability)
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"jitter.hue must lie in [0, 0.5] turns, found {self.hue}")


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Gaussian blur: probability and range of sigma in pixels."""

    probability: float
    sigma: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class View:
    """One kind of augmented copy; None or 0 switches an operation off.

    Operations run in this order: crop (or pad and crop), rotation, flip, jitter, grey, blur,
    solarise, normalise.

    Attributes:
        copies: how many independent copies of this view are made.
        size: output side in pixels; None keeps the data's image size.
        crop: random resized crop.
        pad: reflection-free zero padding in pixels before a random crop of the same size.
        rotation: largest rotation either way, in degrees, corners filled by reflection.
        flip: probability of a horizontal flip.
        jitter: colour jitter.
        grey: probability of grey scale.
        blur: Gaussian blur.
        solarise: probability of inverting values above one half.
    """

    copies: int
    size: int | None
    crop: Crop | None
    pad: int
    rotation: float
    flip: float
    jitter: Jitter | None
    grey: float
    blur: Blur | None
    solarise: float

    def __post_init__(self) -> None:
        """Refuse values that no image could take."""
        for name in ("flip", "grey", "solarise"):
            _refuse_probability(name, getattr(self, name))
        if self.copies < 1:
            raise ValueError(f"copies must be at least 1, found {self.copies}")
        if self.crop is not None and self.pad:
            raise ValueError("crop and pad exclude one another")


PLAIN = View(
    copies=1, size=None, crop=None, pad=0, rotation=0.0, flip=0.0,
    jitter=None, grey=0.0, blur=None, solarise=0.0,
)  # fmt: skip
