"""Views of several sizes: which are global, and one call of a network a size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sslbench.core.errors import UserError
from sslbench.methods.parts.multicrop import count_global, per_resolution
from sslbench.views.policy import PLAIN


def views(*sizes: int | None) -> tuple:
    return tuple(replace(PLAIN, size=size) for size in sizes)


@pytest.mark.parametrize(
    ("sizes", "count"), [((None, None), 2), ((None, 32, 16), 2), ((32, 16, 16, 8), 1)]
)
def test_global_views_are_those_of_the_first_ones_size(sizes: tuple, count: int) -> None:
    assert count_global(views(*sizes), 32, "swav") == count


def test_copies_count() -> None:
    many = (replace(PLAIN, copies=2), replace(PLAIN, copies=4, size=16))
    assert count_global(many, 32, "swav") == 2


def test_global_views_after_local_ones_are_refused() -> None:
    with pytest.raises(UserError, match=r"methods\.swav\.views: global views must come first"):
        count_global(views(32, 16, None), 32, "swav")


def test_a_network_sees_each_resolution_once_and_views_keep_their_order() -> None:
    calls = []

    def network(images: torch.Tensor) -> torch.Tensor:
        calls.append(tuple(images.shape))
        return images.mean(dim=(1, 2, 3))[:, None]

    made = [torch.full((2, 3, side, side), value) for value, side in ((1.0, 8), (2.0, 8), (3.0, 4))]
    found = per_resolution(network, made)
    assert found[:, 0].tolist() == [1, 1, 2, 2, 3, 3]
    assert calls == [(4, 3, 8, 8), (2, 3, 4, 4)]
