"""Views of several sizes: global ones that the teacher sees too, and small local ones.

Source: SwAV (multi-crop), https://arxiv.org/abs/2006.09882, section 3.3; global and local are
DINO's words, https://arxiv.org/abs/2104.14294, section 3.1.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sslbench.core.errors import UserError
from sslbench.views.policy import View


def refuse_crops(views: Sequence[View], num_global_views: int) -> None:
    """Refuse views that leave nothing to compare, or global views of several sizes.

    Raises:
        ValueError: what is wrong, with the number found.
    """
    sizes = [view.size for view in views for _ in range(view.copies)]
    if len(sizes) < 2:
        raise ValueError(f"views must make at least 2 copies in all, found {len(sizes)}")
    if not 1 <= num_global_views <= len(sizes):
        what = f"num_global_views must lie in [1, {len(sizes)}], the copies of all views"
        raise ValueError(f"{what}, found {num_global_views}")
    if len(set(sizes[:num_global_views])) > 1:
        raise ValueError(f"global views must share a size, found {sizes[:num_global_views]}")


def count_global(views: Sequence[View], image_size: int, method: str) -> int:
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


def forward_by_size(network: Callable[[Tensor], Tensor], views: Sequence[Tensor]) -> Tensor:
    """Return outputs (num_views * batch, dim), view after view.

    Neighbours of one size share a pass, so batch norms see each size apart.

    Args:
        network: maps (rows, channel, size, size) to (rows, dim), for any size.
        views: each (batch, channel, size, size).
    """
    by_size = itertools.groupby(views, key=lambda view: view.shape[-1])
    return torch.cat([network(torch.cat(list(group))) for _, group in by_size])
