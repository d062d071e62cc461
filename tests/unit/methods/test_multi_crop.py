"""Views of several sizes: one pass a size, outputs in the order of the views."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sslbench.core.errors import UserError
from sslbench.methods.parts.multi_crop import count_global, forward_by_size, refuse_crops
from sslbench.views.policy import PLAIN, View


def test_outputs_come_view_after_view_with_one_pass_a_size() -> None:
    passes: list[tuple[int, ...]] = []

    def network(images: Tensor) -> Tensor:
        passes.append(tuple(images.shape))
        return images.mean(dim=(1, 2, 3))[:, None]

    views = [torch.full((2, 3, size, size), float(i)) for i, size in enumerate((8, 8, 4, 4, 4))]
    outputs = forward_by_size(network, views)
    assert passes == [(4, 3, 8, 8), (6, 3, 4, 4)]
    assert outputs[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_one_view_of_each_size_will_do() -> None:
    views = [torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 4, 4)]
    assert forward_by_size(lambda images: images.flatten(1)[:, :1], views)[:, 0].sum() == 2


@pytest.mark.parametrize(
    ("copies", "num_global", "says"),
    [
        ([1], 1, "at least 2 copies"),
        ([2, 4], 0, r"num_global_views must lie in \[1, 6\]"),
        ([2, 4], 7, r"num_global_views must lie in \[1, 6\]"),
        ([2, 4], 3, "must share a size"),
    ],
)
def test_impossible_crops_are_refused(copies: list[int], num_global: int, says: str) -> None:
    sizes = (None, 16)
    views = [replace(PLAIN, copies=n, size=s) for n, s in zip(copies, sizes, strict=False)]
    with pytest.raises(ValueError, match=says):
        refuse_crops(views, num_global)


def test_two_views_without_local_ones_will_do() -> None:
    refuse_crops([replace(PLAIN, copies=2)], 2)
    refuse_crops([PLAIN, replace(PLAIN, flip=0.5)], 2)


def views(*sizes: int | None) -> tuple[View, ...]:
    return tuple(replace(PLAIN, size=size) for size in sizes)


@pytest.mark.parametrize(
    ("sizes", "count"), [((None, None), 2), ((None, 32, 16), 2), ((32, 16, 16, 8), 1)]
)
def test_global_views_are_those_of_the_first_ones_size(
    sizes: tuple[int | None, ...], count: int
) -> None:
    assert count_global(views(*sizes), 32, "swav") == count


def test_copies_count() -> None:
    many = (replace(PLAIN, copies=2), replace(PLAIN, copies=4, size=16))
    assert count_global(many, 32, "swav") == 2


def test_global_views_after_local_ones_are_refused() -> None:
    with pytest.raises(UserError, match=r"methods\.swav\.views: global views must come first"):
        count_global(views(32, 16, None), 32, "swav")
