"""Which train images show their labels to a method that needs "some"."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sslbench.core import seeding
from sslbench.core.errors import UserError
from sslbench.methods.base import LabelSubset


def draw(labels: np.ndarray, num_classes: int, subset: LabelSubset) -> Tensor:
    """Return (num_classes * per_class,) indices, class by class, drawn from the subset's seed.

    Args:
        labels: (num_samples,) class indices, -1 where there is none.
        num_classes: classes that the labels name.
        subset: how many of each, and the seed.

    Raises:
        UserError: a class has fewer images.
    """
    stream = seeding.generator(subset.seed, "label_subset")
    chosen = []
    for label in range(num_classes):
        rows = torch.from_numpy(np.flatnonzero(labels == label))
        if len(rows) < subset.per_class:
            what = f"class {label} has {len(rows)} train images, asked for {subset.per_class}"
            mend = "lower per_class of the method's labels"
            raise UserError(what, where="label subset", mend=mend)
        chosen.append(rows[torch.randperm(len(rows), generator=stream)[: subset.per_class]])
    return torch.cat(chosen)
