"""Margin triplets: a positive must be more similar than a negative, by a margin."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Mining = Literal["all", "semi_hard"]


def triplet_loss(similarities: Tensor, groups: Tensor, margin: float, mining: Mining) -> Tensor:
    """Return the mean of max(0, s(anchor, negative) - s(anchor, positive) + margin).

    With cosines this is SimCLR's margin triplet (https://arxiv.org/abs/2002.05709, table 2); with
    negated squared distances FaceNet's (https://arxiv.org/abs/1503.03832, eq. 2). A collapsed
    network scores the margin.

    Args:
        similarities: (rows, rows), larger where two rows are nearer.
        groups: (rows,) an id; rows of one id are each other's positives, all others negatives.
        margin: in units of similarity.
        mining: `all` takes every negative of every positive pair, `semi_hard` the one that
            `semi_hard_negatives` finds.
    """
    same = groups[:, None] == groups
    anchors, positives = same.fill_diagonal_(False).nonzero(as_tuple=True)  # (pairs,) each
    to_positive = similarities[anchors, positives]
    to_others = similarities[anchors]  # (pairs, rows)
    is_negative = groups[anchors, None] != groups
    if mining == "semi_hard":
        to_negative = semi_hard_negatives(to_others, to_positive, is_negative)
        return (to_negative - to_positive + margin).relu().mean()
    gaps = (to_others - to_positive[:, None] + margin).relu()
    return (gaps * is_negative).sum() / is_negative.sum()


def semi_hard_negatives(to_others: Tensor, to_positive: Tensor, is_negative: Tensor) -> Tensor:
    """Return the similarity (pairs,) of each pair's anchor to its semi-hard negative.

    That is the nearest of the negatives farther away than the positive; the farthest negative
    where none is (FaceNet, section 3.2; the authors of the exemplar triplets use the same rule).

    Args:
        to_others: (pairs, rows) similarity of each pair's anchor to all rows.
        to_positive: (pairs,) similarity of each pair.
        is_negative: (pairs, rows) bool.
    """
    farther = is_negative & (to_others < to_positive[:, None])
    nearest = to_others.masked_fill(~farther, -torch.inf).amax(dim=1)
    farthest = to_others.masked_fill(~is_negative, torch.inf).amin(dim=1)
    return torch.where(farther.any(dim=1), nearest, farthest)
