"""Labels carried from frame to frame by the likeness of frozen features; nothing is trained.

Source   Jabri et al. 2020, https://arxiv.org/abs/2006.14613, with the settings of DINO,
         https://github.com/facebookresearch/dino/blob/main/eval_video_segmentation.py
"""

from __future__ import annotations

from collections import deque
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
        max_cells: a layer whose map of a frame has more cells than this is left out.
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
        made = _carry(query, torch.stack(keys), torch.stack(labels), self._settings)
        self._recent.append((query, made))
        return made


def _carry(query: Tensor, keys: Tensor, labels: Tensor, settings: Propagation) -> Tensor:
    """Return labels (num_labels, height, width) of a frame from those of its context.

    Args:
        query: (dim, height, width) of length 1 along dim.
        keys: (num_context, dim, height, width), likewise.
        labels: (num_context, num_labels, height, width).
        settings: how labels travel.
    """
    height, width = query.shape[1:]
    made = labels.new_empty(labels.shape[1:])
    for top in range(0, height, _BLOCK):
        for left in range(0, width, _BLOCK):
            rows, near_rows = _spans(top, height, settings.radius, query.device)
            columns, near_columns = _spans(left, width, settings.radius, query.device)
            block = slice(top, top + len(rows)), slice(left, left + len(columns))
            near = (
                slice(int(near_rows[0]), int(near_rows[-1]) + 1),
                slice(int(near_columns[0]), int(near_columns[-1]) + 1),
            )
            is_far = _is_far(rows, near_rows, columns, near_columns, settings.radius)
            made[:, *block] = _carry_block(
                query[:, *block], keys[:, :, *near], labels[:, :, *near], is_far, settings
            )
    return made


def _spans(start: int, size: int, radius: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the positions of a block along one side, and those within the radius of any."""
    stop = min(start + _BLOCK, size)
    near = torch.arange(max(0, start - radius), min(size, stop + radius), device=device)
    return torch.arange(start, stop, device=device), near


def _is_far(
    rows: Tensor, near_rows: Tensor, columns: Tensor, near_columns: Tensor, radius: int
) -> Tensor:
    """Return (cells of the block, cells near it) bool: further apart than the radius."""
    down = (rows[:, None] - near_rows[None]).abs() > radius
    across = (columns[:, None] - near_columns[None]).abs() > radius
    far = down[:, None, :, None] | across[None, :, None, :]
    return far.reshape(len(rows) * len(columns), -1)


def _carry_block(
    query: Tensor, keys: Tensor, labels: Tensor, is_far: Tensor, settings: Propagation
) -> Tensor:
    num_context, num_labels = labels.shape[:2]
    cosines = query.flatten(1).T @ keys.transpose(0, 1).flatten(1)
    cosines.masked_fill_(is_far.repeat(1, num_context), -torch.inf)
    least = cosines.topk(min(settings.top_k, cosines.shape[1])).values[:, -1:]
    cosines.masked_fill_(cosines < least, -torch.inf)  # of equals with the least, all stay
    weights = (cosines / settings.temperature).softmax(dim=1)
    carried = weights @ labels.transpose(0, 1).reshape(num_labels, -1).T
    return carried.T.reshape(num_labels, *query.shape[1:])
