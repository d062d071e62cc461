"""Labels carried from frame to frame by the likeness of frozen features; nothing is trained.

Source   Jabri et al. 2020, https://arxiv.org/abs/2006.14613, with the settings of DINO,
         https://github.com/facebookresearch/dino/blob/main/eval_video_segmentation.py
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Side of the block of cells that is asked at once: its window stays in the processor's cache.
_BLOCK = 8


@dataclass(frozen=True, kw_only=True)
class Propagation:
    """How frames are read, and how labels travel over them.

    Attributes:
        scale: input sides as multiples of the frame's own; val chooses one per layer.
        max_cells: a layer whose map of a frame of val has more cells than this is left out; frames
            of test may be larger.
        context: frames just before, that give their labels beside the first frame.
        radius: cells further away than this, across or down, give nothing.
        top_k: of all cells within the radius in all context frames, how many give their label.
        temperature: of the softmax over their cosines.
    """

    scale: tuple[float, ...]
    max_cells: int
    context: int
    radius: int
    top_k: int
    temperature: float

    def __post_init__(self) -> None:
        """Refuse settings under which nothing travels."""
        if not self.scale or min(self.scale) <= 0 or self.temperature <= 0:
            raise ValueError(f"scale and temperature must be positive: {self}")
        if min(self.max_cells, self.radius, self.top_k) < 1 or self.context < 0:
            raise ValueError(f"max_cells, radius and top_k must be 1 or more: {self}")


class Propagator:
    """The labels of one clip at one layer, a frame at a time; holds the context frames alone."""

    def __init__(self, settings: Propagation, features: Tensor, labels: Tensor) -> None:
        """Start from the first frame.

        Args:
            settings: how labels travel.
            features: (dim, height, width) of the first frame.
            labels: (num_labels, height, width) of the first frame.
        """
        self._settings = settings
        self._first = (functional.normalize(features, dim=0), labels)
        self._recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=settings.context)

    def step(self, features: Tensor) -> Tensor:
        """Return the labels (num_labels, height, width) of the next frame.

        Args:
            features: (dim, height, width) of that frame.
        """
        query = functional.normalize(features, dim=0)
        keys, labels = zip(self._first, *self._recent, strict=True)
        made = _carry(query, torch.stack(keys, dim=1), torch.stack(labels, dim=1), self._settings)
        self._recent.append((query, made))
        return made


def _carry(query: Tensor, keys: Tensor, labels: Tensor, settings: Propagation) -> Tensor:
    """Return labels (num_labels, height, width) of a frame from those of its context.

    Args:
        query: (dim, height, width) of length 1 along dim.
        keys: (dim, num_context, height, width), likewise.
        labels: (num_labels, num_context, height, width).
        settings: how labels travel.
    """
    height, width = query.shape[1:]
    made = labels.new_empty(len(labels), height, width)
    for rows, near_rows in _spans(height, settings.radius):
        for columns, near_columns in _spans(width, settings.radius):
            down = _is_far(rows, near_rows, settings.radius)
            across = _is_far(columns, near_columns, settings.radius)
            is_far = (down[:, None, :, None] | across[None, :, None, :]).to(query.device)
            made[:, rows, columns] = _carry_block(
                query[:, rows, columns],
                keys[:, :, near_rows, near_columns],
                labels[:, :, near_rows, near_columns],
                is_far.flatten(2).flatten(0, 1),
                settings,
            )
    return made


def _spans(size: int, radius: int) -> Iterator[tuple[slice, slice]]:
    """Yield the blocks along a side, each with what lies within the radius of any of its cells."""
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        yield slice(start, stop), slice(max(0, start - radius), min(size, stop + radius))


def _is_far(block: slice, near: slice, radius: int) -> Tensor:
    """Return (length of block, length of near) bool: further apart than the radius."""
    place, other = (torch.arange(span.start, span.stop) for span in (block, near))
    return (place[:, None] - other).abs() > radius


def _carry_block(
    query: Tensor, keys: Tensor, labels: Tensor, is_far: Tensor, settings: Propagation
) -> Tensor:
    """Return labels (num_labels, rows, columns) of a block; `is_far` is (cells, cells near)."""
    num_labels, num_context = labels.shape[:2]
    cosines = query.flatten(1).T @ keys.flatten(1)
    cosines.view(len(cosines), num_context, -1).masked_fill_(is_far[:, None], -torch.inf)
    top = _strongest(cosines, settings.top_k)
    least = top.values[:, [min(settings.top_k, cosines.shape[1]) - 1]]
    values = top.values.masked_fill(top.values < least, -torch.inf)
    weights = (values / settings.temperature).softmax(dim=1)
    carried = torch.einsum("lck,ck->lc", labels.flatten(1)[:, top.indices], weights)
    return carried.reshape(num_labels, *query.shape[1:])


def _strongest(cosines: Tensor, top_k: int) -> torch.return_types.topk:
    """Return at least the top k of each row, and all that equal the least of them."""
    size = cosines.shape[1]
    top = cosines.topk(min(top_k + 1, size))
    if size <= top_k or (top.values[:, -1] < top.values[:, -2]).all():
        return top
    least = top.values[:, [top_k - 1]]
    return cosines.topk(int((cosines >= least).sum(dim=1).max()))
