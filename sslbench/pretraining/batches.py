"""Batches as a method sees them: views of images, their index, a random stream, granted labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sslbench.core import seeding
from sslbench.methods.base import Method, ViewBatch
from sslbench.pretraining.feed import Feed
from sslbench.views.apply import make_views, plain


@dataclass(frozen=True)
class Batches:
    """Makes batches of one feed for one method.

    Attributes:
        feed: the train split.
        method: says which views, and whether labels are granted.
        image_size: side of the views in pixels, unless a view has its own.
        mean, std: (channel,) of the train split, for images in [0, 1].
        size: images per batch.
        seed: every stream is made from it and a name, so none needs saving.
        device: where batches live.
    """

    feed: Feed
    method: Method
    image_size: int
    mean: Tensor
    std: Tensor
    size: int
    seed: int
    device: torch.device

    @property
    def per_epoch(self) -> int:
        """Whole batches in one pass; the short rest is dropped."""
        return len(self.feed) // self.size

    @cached_property
    def rows(self) -> Tensor:
        """The images that training steps on, by index: all, or those whose label is granted."""
        if self.method.needs.labels == "some":
            return self.method.labelled_rows.cpu()
        return torch.arange(len(self.feed))

    @cached_property
    def labels(self) -> Tensor | None:
        """Class indices (num_samples,), -1 where not granted; None where none is."""
        if self.method.needs.labels == "none":
            return None
        rows = self.rows.to(self.device)
        granted = torch.full_like(self.feed.labels, -1)
        granted[rows] = self.feed.labels[rows]
        return granted

    def order(self, epoch: int) -> list[Tensor]:
        """Return the epoch's batches as indices, each (size,), shuffled anew in every pass.

        Few rows are passed over again until the epoch has the steps that every method has.
        """
        stream = seeding.generator(self.seed, f"order/{epoch}")
        wanted = self.per_epoch * self.size
        passes = math.ceil(wanted / len(self.rows))
        shuffled = [torch.randperm(len(self.rows), generator=stream) for _ in range(passes)]
        return list(torch.split(self.rows[torch.cat(shuffled)[:wanted]], self.size))

    def make(self, index: Tensor, stream: torch.Generator) -> ViewBatch:
        """Return the batch of (batch,) indices."""
        index = index.to(self.device)
        images = self.feed.images(index)
        views = make_views(self.method.views, images, self.image_size, self.mean, self.std, stream)
        labels = None if self.labels is None else self.labels[index]
        return ViewBatch(views, index, stream, labels)

    def plain(self, count: int) -> Tensor:
        """Return the first images of the split (at most `count`) as evaluation sees them."""
        index = torch.arange(min(count, len(self.feed)))
        return plain(self.feed.whole(index, self.image_size), self.mean, self.std)

    def extract(self, function: Callable[[list[Tensor]], Tensor]) -> Tensor:
        """Apply a function of a batch's training views to the whole split, in index order."""
        stream = self.stream("extract")
        was_training = self.method.training
        self.method.eval()
        with torch.no_grad():
            chunks = torch.split(torch.arange(len(self.feed)), self.size)
            found = [function(self.make(chunk, stream).views) for chunk in chunks]
        self.method.train(was_training)
        return torch.cat(found)

    def stream(self, name: str) -> torch.Generator:
        """Return the named random stream on the device."""
        return seeding.generator(self.seed, name, str(self.device))
