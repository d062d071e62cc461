"""What the features of test images look like without labels, at the last layer.

Source   rankme: Garrido et al. 2023, https://arxiv.org/abs/2210.02885, equation 1
         effective_rank: Roy and Vetterli 2007, https://ieeexplore.ieee.org/document/7098875, of
         the covariance matrix
         alpha_req: Agrawal et al. 2022, https://openreview.net/forum?id=ii9X4vtZGTZ; the fit is
         that of the authors' https://github.com/arnab39/reptrix, alpha.py: least squares of
         log eigenvalue on log place, weighted by 1 / place
         uniformity and alignment: Wang and Isola 2020, https://arxiv.org/abs/2005.10242, section
         4: the log of the mean Gaussian potential over all pairs, and the mean squared distance
         of two views of an image, on features of unit length
Chosen   nothing; no label is looked at
Better   neither: rankme's source claims "higher" for the settings of one method, and across
         methods an untrained network leads; alpha_req is best near 1; uniformity and alignment
         mean something together (a collapsed network is perfectly aligned)
Differs  on the backbone's features, which evaluation receives; rankme's source reads projections
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sslbench.core import seeding
from sslbench.core.errors import UserError
from sslbench.data.store import Split
from sslbench.evaluation.protocols.base import Measurement
from sslbench.evaluation.protocols.parts.frozen import features_of
from sslbench.evaluation.protocols.parts.images import JoinedImages
from sslbench.evaluation.protocols.parts.transfer import Subject
from sslbench.views.policy import PLAIN, Crop, Jitter, View

NAME = "label_free"
VERSION = 4
KIND = "transfer"
LABELS = "none"

_RANKME_EPSILON = 1e-7  # equation 1's, for float32
_ROUNDING = 1e-7  # of float32: a smaller share of the largest singular value is noise
_LEAST_PLACES = 3  # two points lie on a line, whatever they are
_CHUNK_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class Params:
    """The two views of alignment, and the constants of the other figures.

    Attributes:
        batch_size: images per forward pass; views are drawn a batch at a time.
        crop: random resized crop of a view.
        flip: probability of a horizontal flip.
        jitter: colour jitter, or None.
        grey: probability of grey scale.
        uniformity_t: the Gaussian potential is exp(-t * squared distance).
        alpha_first: place of the first eigenvalue of the fit, counted from 1.
        alpha_last: place of the last one, or that of the last there is.
    """

    batch_size: int
    crop: Crop
    flip: float
    jitter: Jitter | None
    grey: float
    uniformity_t: float
    alpha_first: int
    alpha_last: int

    def __post_init__(self) -> None:
        """Refuse sizes below one and an empty range."""
        if self.batch_size < 1 or self.uniformity_t <= 0:
            raise ValueError("batch_size and uniformity_t must be positive")
        if not 1 <= self.alpha_first <= self.alpha_last - _LEAST_PLACES + 1:
            raise ValueError(f"alpha needs {_LEAST_PLACES} places or more, counted from 1")
        _ = self.view  # refuses a strange flip or grey

    @property
    def view(self) -> View:
        """What an image becomes, twice."""
        return replace(
            PLAIN, copies=2, crop=self.crop, flip=self.flip, jitter=self.jitter, grey=self.grey
        )


def choose(subject: Subject, train: Split, val: Split, params: Params) -> Params:  # noqa: ARG001
    """Return the params: there is nothing to choose."""
    return params


def measure(
    choice: Params,
    subject: Subject,
    train: Split,  # noqa: ARG001  (part of the contract)
    val: Split,  # noqa: ARG001
    test: Split,
) -> list[Measurement]:
    """Return rankme, effective_rank, alpha_req, uniformity and alignment of the test images.

    alpha_req is left out where too few eigenvalues are there to be fitted.

    Raises:
        UserError: fewer than two test images.
    """
    if len(test) < 2:
        mend = "give the data set a larger test split"
        raise UserError("label_free needs two images or more", where=str(test.path), mend=mend)
    layer = subject.info.layers[-1]

    def keep(layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {layer: layers[layer]}

    backbone = subject.backbone(is_pretrained=True)
    found = features_of(backbone, test, subject, choice.batch_size, keep)
    features = found.layers[layer].astype(np.float64)
    gaps = _view_gaps(subject, test, choice)
    exponent, note = alpha_req(features, choice.alpha_first, choice.alpha_last)

    def row(metric: str, value: float, unit: str, **detail: Any) -> Measurement:
        return Measurement(
            metric=metric, value=value, unit=unit, n=len(test), split="test", layer=layer,
            role="headline", better="neither", detail=detail,
        )  # fmt: skip

    width = features.shape[1]
    power = [] if exponent is None else [row("alpha_req", exponent, "exponent", **note)]
    return [
        row("rankme", rankme(features), "dimensions", dim=width),
        row("effective_rank", effective_rank(features), "dimensions", dim=width),
        *power,
        row("uniformity", uniformity(features, choice.uniformity_t), "nats"),
        replace(row("alignment", float(gaps.mean()), "squared distance"), per_sample=gaps),
    ]


def rankme(features: np.ndarray) -> float:
    """Return exp of the entropy of the singular values of features (num_samples, dim).

    Between 1 and dim; not centred, as in the source. At most min(num_samples, dim).
    """
    singular = np.linalg.svd(features, compute_uv=False)
    share = singular / max(singular.sum(), np.finfo(np.float64).tiny) + _RANKME_EPSILON
    return float(np.exp(-(share * np.log(share)).sum()))


def effective_rank(features: np.ndarray) -> float:
    """Return exp of the entropy of the covariance's eigenvalues; 0 where nothing varies."""
    share = _eigenvalues(features)
    if not share.any():
        return 0.0
    share = share[share > 0] / share.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def alpha_req(features: np.ndarray, first: int, last: int) -> tuple[float | None, dict[str, int]]:
    """Return alpha of eigenvalue ~ place ** -alpha, and which places were fitted.

    Alpha is None below three eigenvalues. Centring leaves one fewer than there are images.

    Eigenvalues below float32's rounding of the largest are raised to it: they are noise, and a
    network of lower rank than the range still has a finite slope. Where nothing varies, alpha
    is 0.

    Args:
        features: (num_samples, dim).
        first: place of the first eigenvalue fitted, from 1; moved down to fit three or more.
        last: place of the last; moved down where there are fewer.
    """
    values = _eigenvalues(features)
    last = min(last, len(values), len(features) - 1)
    first = max(1, min(first, last - _LEAST_PLACES + 1))
    note = {"first": first, "last": last}
    if last < _LEAST_PLACES:
        return None, note
    if not values.any():
        return 0.0, note
    place = np.arange(first, last + 1)
    height = np.log(np.maximum(values[first - 1 : last], values[0] * _ROUNDING**2))
    slope, _ = np.polyfit(np.log(place), height, 1, w=place**-0.5)  # polyfit squares its weights
    return float(-slope), note


def uniformity(features: np.ndarray, t: float) -> float:
    """Return log of the mean of exp(-t |x - y|^2) over pairs of different rows of unit length.

    Args:
        features: (num_samples, dim), brought to unit length here.
        t: of the potential. The value lies between -4 t and 0 (all rows equal).
    """
    unit = _unit(features)
    count = len(unit)
    total = 0.0
    for start in range(0, count, _CHUNK_ROWS):
        some = unit[start : start + _CHUNK_ROWS]
        potential = np.exp(-t * _squared_distance(some, unit))
        own = np.arange(len(some))
        potential[own, start + own] = 0.0
        total += float(potential.sum())
    return float(np.log(total / (count * (count - 1))))


def alignment(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the squared distance (num_pairs,) of paired rows of unit length, each in [0, 4]."""
    squared: np.ndarray = np.square(_unit(first) - _unit(second)).sum(axis=1)
    return squared


def _eigenvalues(features: np.ndarray) -> np.ndarray:
    """Return the covariance's eigenvalues (min(num_samples, dim),), the largest first.

    A feature that varies by no more than float32's rounding of its mean counts as constant, as in
    `parts.scaling`: of a collapsed network the noise alone is left, and would look full of life.
    """
    mean = features.mean(axis=0)
    centred = features - mean
    centred[:, features.std(axis=0) <= 1e-6 * np.abs(mean)] = 0.0
    values: np.ndarray = np.square(np.linalg.svd(centred, compute_uv=False)) / len(features)
    return values


def _unit(features: np.ndarray) -> np.ndarray:
    """Return rows (num_samples, dim) of length one; a zero row stays zero."""
    norm = np.linalg.norm(features, axis=1, keepdims=True)
    unit: np.ndarray = features / np.maximum(norm, 1e-12)
    return unit


def _squared_distance(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return (some, others) squared distances."""
    lengths = np.square(some).sum(axis=1)[:, None] + np.square(others).sum(axis=1)
    distance: np.ndarray = np.maximum(lengths - 2 * some @ others.T, 0.0)
    return distance


@torch.no_grad()
def _view_gaps(subject: Subject, split: Split, params: Params) -> np.ndarray:
    """Return the squared distance (num_samples,) of two views of each image."""
    images = JoinedImages([split])
    backbone = subject.backbone(is_pretrained=True).eval()
    chance = seeding.generator(subject.seed, "label_free/views", subject.device)
    found = []
    for start in range(0, len(split), params.batch_size):
        rows = np.arange(start, min(start + params.batch_size, len(split)))
        pair = images.views(rows, (params.view,), subject, chance)
        first, second = (backbone(view).double().cpu().numpy() for view in pair)
        found.append(alignment(first, second))
    return np.concatenate(found)
