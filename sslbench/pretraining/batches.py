"""Batches as a method sees them: views of images, their index, a random stream, granted labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from sslbench.core import seeding
from sslbench.data.store.decoder import wait
from sslbench.methods.base import Method, ViewBatch
from sslbench.pretraining.feed import Feed
from sslbench.views.apply import make_views, plain
from sslbench.views.whole import WholeViews

Item = TypeVar("Item")


@dataclass(frozen=True)
class Pending:
    """A batch that was started.

    Attributes:
        index: (batch,) position of each image in the train split.
        stream: the batch's random stream.
        views: those that threads are cutting; None where images are small.
        tasks: what to wait for before they are whole.
        images: small images on their way; None where they live on the device.
    """

    index: Tensor
    stream: torch.Generator
    views: WholeViews | None = None
    tasks: Sequence[Future[None]] = ()
    images: Future[Tensor] | None = None


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

    def steps(self, epoch: int, parts: int) -> Iterator[list[Pending]]:
        """Yield each step's batch of an epoch in so many parts, while the next one is decoded."""
        return _one_ahead(
            self._start_step(epoch * self.per_epoch + number, index.chunk(parts))
            for number, index in enumerate(self.order(epoch))
        )

    def _start_step(self, step: int, parts: Iterable[Tensor]) -> list[Pending]:
        stream = self.stream(f"step/{step}")
        return [self.start(part, stream) for part in parts]

    def start(self, index: Tensor, stream: torch.Generator) -> Pending:
        """Start on the batch of (batch,) indices, where its images are not on the device yet."""
        decoder = self.feed.decoder
        if decoder is None:
            images = None if self.feed.is_resident else self.feed.fetch(index)
            return Pending(index, stream, images=images)
        rows = index.cpu().numpy()
        views = WholeViews(self.method.views, decoder.sizes(rows), self.image_size, stream)
        return Pending(index, stream, views, decoder.start(rows, views.cut))

    def finish(self, pending: Pending) -> ViewBatch:
        """Return the batch once it is there."""
        index, stream = pending.index.to(self.device), pending.stream
        if pending.views is None:
            if pending.images is None:
                images = self.feed.images(index)
            else:
                images = pending.images.result().to(self.device, non_blocking=True)
            views = make_views(
                self.method.views, images, self.image_size, self.mean, self.std, stream
            )
        else:
            wait(pending.tasks)
            views = pending.views.finish(self.mean, self.std)
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
            started = _one_ahead(self.start(chunk, stream) for chunk in chunks)
            found = [function(self.finish(pending).views) for pending in started]
        self.method.train(was_training)
        return torch.cat(found)

    def stream(self, name: str) -> torch.Generator:
        """Return the named random stream on the device."""
        return seeding.generator(self.seed, name, str(self.device))


def _one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield items in order, each once the next has been taken, and so started."""
    previous = next(items, None)
    for item in items:
        if previous is not None:
            yield previous
        previous = item
    if previous is not None:
        yield previous
