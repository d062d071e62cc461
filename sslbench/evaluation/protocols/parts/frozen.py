"""Features of a frozen backbone in memory, for protocols that need others than the stored ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from sslbench.backbones.base import Backbone
from sslbench.core.feature_file import Features, id_hashes
from sslbench.data.store import Split
from sslbench.evaluation.features.extract import layer_batches
from sslbench.evaluation.protocols.parts import scratch
from sslbench.evaluation.protocols.parts.divergence import refuse_non_finite
from sslbench.evaluation.protocols.parts.linear_fit import Probe
from sslbench.evaluation.protocols.parts.transfer import Subject

# Every layer of a batch -> what is kept of it: name -> (batch, dim).
Keep = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
# (images, rows) -> images, each (batch, size, size, channel) uint8.
Change = Callable[[np.ndarray, np.ndarray], np.ndarray]


def features_of(
    backbone: Backbone, split: Split, subject: Subject, batch_size: int, keep: Keep
) -> Features:
    """Return what `keep` keeps of a split's plain views.

    Raises:
        UserError: NaN or infinity.
    """
    arrays: dict[str, np.ndarray] = {}
    batches = layer_batches(
        backbone, split, subject.info, batch_size=batch_size, device=subject.device
    )
    for rows, layers in batches:
        for name, kept in keep(layers).items():
            values = kept.cpu().numpy()
            if name not in arrays:
                arrays[name] = scratch.empty((len(split), values.shape[1]), np.float32)
            arrays[name][rows] = values
    for name, values in arrays.items():
        refuse_non_finite(torch.from_numpy(values), name, subject)
    return Features(split.path.stem, split.labels, arrays, id_hashes(split.ids))


def predictions_of(
    probes: Mapping[str, Probe],
    backbone: Backbone,
    split: Split,
    subject: Subject,
    batch_size: int,
    keep: Keep,
    change: Change | None = None,
) -> dict[str, np.ndarray]:
    """Return name -> (num_samples,) labels that probes give to a split; no feature is held.

    Args:
        probes: name, as `keep` names it -> a fitted probe.
        backbone: left in eval mode.
        split: the images.
        subject: whose input size and normalisation they take.
        batch_size: images per forward pass.
        keep: makes the features of at least these names.
        change: done to the images first.
    """
    found: dict[str, np.ndarray] = {name: np.empty(len(split), np.int64) for name in probes}
    batches = layer_batches(
        backbone, split, subject.info,
        batch_size=batch_size, device=subject.device, change=change,
    )  # fmt: skip
    for rows, layers in batches:
        kept = keep(layers)
        for name, probe in probes.items():
            found[name][rows] = probe.predict(kept[name].cpu().numpy())
    return found
