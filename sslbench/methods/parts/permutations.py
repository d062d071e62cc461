"""Sets of permutations that differ in as many places as can be, for puzzles with few answers."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

MOST_TILES = 9  # 9! rows fit into memory, 10! take their time


@cache
def hamming_permutations(num_tiles: int, count: int) -> Tensor:
    """Return a fixed set of distinct permutations (count, num_tiles), far from one another.

    Greedy, as Noroozi and Favaro 2016, algorithm 1: each next one has the largest Hamming distance
    to the nearest of those chosen, and among equals the largest to all of them together (the
    paper maximises only the latter). The first is fixed, not drawn, so the set is always the same.

    Args:
        num_tiles: at most 9.
        count: at most num_tiles!.
    """
    table = _all_permutations(num_tiles)  # (num_tiles, num_tiles!) uint8: a tile's place is a row
    nearest = torch.full((table.shape[1],), num_tiles, dtype=torch.uint8)
    total = torch.zeros(table.shape[1], dtype=torch.int32)
    chosen = [0]
    for _ in range(count - 1):
        distance = _hamming(table, chosen[-1])
        torch.minimum(nearest, distance, out=nearest)
        total += distance
        score = nearest.to(torch.int32).mul_(num_tiles * count).add_(total)
        chosen.append(int(score.argmax()))
    return table[:, chosen].T.long().contiguous()


def _all_permutations(num_tiles: int) -> Tensor:
    """Return every permutation as a column of (num_tiles, num_tiles!)."""
    table = torch.zeros(1, 1, dtype=torch.uint8)
    for tile in range(1, num_tiles):
        new = torch.full((1, table.shape[1]), tile, dtype=torch.uint8)
        places = range(tile, -1, -1)
        table = torch.cat([torch.cat([table[:at], new, table[at:]]) for at in places], dim=1)
    return table


def _hamming(table: Tensor, column: int) -> Tensor:
    """Return in how many places each column differs from one of them, (num_columns,) uint8."""
    distance = torch.zeros(table.shape[1], dtype=torch.uint8)
    for place in table:
        distance += (place != place[column]).view(torch.uint8)
    return distance
