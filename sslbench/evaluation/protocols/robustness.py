"""Robustness: a linear probe fitted to clean images, measured on corrupted copies of test.

Source   Hendrycks and Dietterich 2019, https://arxiv.org/abs/1903.12261 (ImageNet-C, CIFAR-10-C):
         a classifier that has seen no corruption, on several kinds at several severities
Chosen   C and layer on clean val, as in `linear`; the probe is refitted to clean train + val
Headline top1_corrupted is the plain mean of top1 over kinds and severities: one less it is the
         source's mCE without the division by AlexNet's errors, which no small data set has
Differs  five kinds of fifteen, three severities of five, which the params name
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from sslbench.data.store import Split
from sslbench.evaluation.features.extract import pool_layer
from sslbench.evaluation.protocols.base import Choice, LayerChoice, Measurement
from sslbench.evaluation.protocols.parts import linear_fit
from sslbench.evaluation.protocols.parts.corruptions import CORRUPTIONS
from sslbench.evaluation.protocols.parts.frozen import Change, features_of, predictions_of
from sslbench.evaluation.protocols.parts.linear_fit import Probe, choose_layer
from sslbench.evaluation.protocols.parts.transfer import Subject

NAME = "robustness"
VERSION = 1
KIND = "transfer"
LABELS = "one"


@dataclass(frozen=True, kw_only=True)
class Params:
    """The probe, and the severities of each kind of corruption, from mild to severe.

    Attributes:
        max_dim: a feature map is average-pooled to at most this many values.
        batch_size: images per forward pass.
        linear: the probe of one layer; as in protocol `linear`.
        blur: standard deviations of a Gaussian, in pixels of the backbone's input.
        noise: standard deviations of Gaussian noise, as shares of the range.
        jpeg: qualities of a JPEG file, 1 to 95.
        brightness: shares of the range added to HSV's value.
        contrast: factors on the distance from the image's mean colour.
    """

    max_dim: int
    batch_size: int
    linear: linear_fit.Params
    blur: tuple[float, ...]
    noise: tuple[float, ...]
    jpeg: tuple[int, ...]
    brightness: tuple[float, ...]
    contrast: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse sizes below one, no corruption at all, and severities without meaning."""
        if min(self.max_dim, self.batch_size) < 1:
            raise ValueError("max_dim and batch_size need one or more")
        if not self.severities:
            raise ValueError("one kind of corruption needs a severity")
        if min((0.0, *self.blur, *self.noise, *self.contrast, *self.brightness)) < 0:
            raise ValueError("blur, noise, brightness and contrast must not be negative")
        if any(not 1 <= quality <= 95 for quality in self.jpeg):
            raise ValueError(f"jpeg qualities must lie in 1 to 95, found {self.jpeg}")

    @property
    def severities(self) -> dict[str, tuple[float, ...]]:
        """The severities of each kind that has any."""
        return {kind: getattr(self, kind) for kind in CORRUPTIONS if getattr(self, kind)}

    def pooled(self, layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each layer (batch, dim) as it is stored for `linear` in fp32."""
        return {name: pool_layer(layer, self.max_dim) for name, layer in layers.items()}


@dataclass(frozen=True)
class RobustnessChoice(Choice):
    """A choice per layer, and the probe of the best layer, refitted to clean train and val."""

    probe: Probe
    params: Params


def choose(subject: Subject, train: Split, val: Split, params: Params) -> RobustnessChoice:
    """Return each layer's C with the best top1 on clean val, and the best layer's probe."""
    backbone = subject.backbone(is_pretrained=True)
    seen = features_of(backbone, train, subject, params.batch_size, params.pooled)
    held_out = features_of(backbone, val, subject, params.batch_size, params.pooled)
    layers = tuple(choose_layer(layer, seen, held_out, params.linear) for layer in seen.layers)
    probe = Probe.of(Choice(layers).headline, seen, held_out, params.linear)
    return RobustnessChoice(layers, probe, params)


def measure(
    choice: RobustnessChoice,
    subject: Subject,
    train: Split,  # noqa: ARG001  (part of the contract)
    val: Split,  # noqa: ARG001
    test: Split,
) -> list[Measurement]:
    """Return top1 on corrupted copies, on the clean images, and on each kind of corruption.

    The first is the mean over kinds of the mean over severities, and so is each image's share.
    A kind's severities stand in its detail.
    """
    backbone = subject.backbone(is_pretrained=True)
    chosen = choice.headline

    def right(change: Change | None = None) -> np.ndarray:
        predicted = predictions_of(
            {chosen.layer: choice.probe}, backbone, test, subject,
            choice.params.batch_size, choice.params.pooled, change,
        )  # fmt: skip
        hits: np.ndarray = predicted[chosen.layer] == test.labels
        return hits

    clean = right()
    by_kind: dict[str, np.ndarray] = {}
    details: dict[str, dict[str, float]] = {}
    for kind, severities in choice.params.severities.items():
        copies = [right(partial(_corrupted, kind=kind, severity=each)) for each in severities]
        by_kind[kind] = np.mean(copies, axis=0)
        shares = [float(copy.mean()) for copy in copies]
        details[kind] = {f"{each:g}": share for each, share in zip(severities, shares, strict=True)}
    overall = np.mean(list(by_kind.values()), axis=0)
    rows = [
        _row("top1_corrupted", overall, chosen, choice.probe.note),
        _row("top1_clean", clean, chosen, choice.probe.note),
    ]
    for kind, values in by_kind.items():
        rows.append(_row(f"top1_{kind}", values, chosen, {"severities": details[kind]}))
    return rows


def _corrupted(images: np.ndarray, rows: np.ndarray, kind: str, severity: float) -> np.ndarray:
    return CORRUPTIONS[kind](images, severity, rows)


def _row(
    metric: str, values: np.ndarray, chosen: LayerChoice, note: Mapping[str, Any]
) -> Measurement:
    row = Measurement(
        metric=metric, value=float(values.mean()), unit="fraction", n=len(values), split="test",
        layer=chosen.layer, role="headline", detail={**chosen.setting, "val": chosen.val, **note},
    )  # fmt: skip
    return replace(row, per_sample=values)
