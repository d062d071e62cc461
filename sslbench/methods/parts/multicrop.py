"""Views of several resolutions: global ones first, then smaller local ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import torch
from torch import Tensor

from sslbench.core.errors import UserError
from sslbench.views.policy import View


def count_global(views: tuple[View, ...], image_size: int, method: str) -> int:
    """Return how many copies have the first view's size; all of them must come first.

    Args:
        views: the method's views.
        image_size: side in pixels of the views that name none.
        method: its name, for the message.

    Raises:
        UserError: a view of the first size comes after one of another size.
    """
    sides = [view.size or image_size for view in views for _ in range(view.copies)]
    count = sides.count(sides[0])
    if any(side != sides[0] for side in sides[:count]):
        mend = "put all views of the first one's size before the others"
        raise UserError("global views must come first", where=f"methods.{method}.views", mend=mend)
    return count


def per_resolution(network: Callable[[Tensor], Tensor], views: list[Tensor]) -> Tensor:
    """Return outputs (num_views * batch, dim), one call for each run of views of one size."""
    groups = [list(group) for _, group in groupby(views, key=lambda view: view.shape[-1])]
    return torch.cat([network(torch.cat(group)) for group in groups])
