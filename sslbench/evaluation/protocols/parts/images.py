"""Images on their way to a network that learns from them: joined splits, batches, predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from sslbench.core import seeding
from sslbench.data.store import Split
from sslbench.data.store.decoder import wait
from sslbench.evaluation.features.model import plain_view, to_device
from sslbench.evaluation.protocols.parts.row_batches import row_batches
from sslbench.evaluation.protocols.parts.transfer import Subject
from sslbench.views.apply import make_views
from sslbench.views.policy import View
from sslbench.views.whole import WholeViews


class JoinedImages:
    """Splits joined end to end, with labels as indices of the train split's classes.

    Attributes:
        classes: the labels that occur in the first split, ascending; where images have several
            labels, every class that their targets speak of.
        labels: (num_images,) indices into `classes`, or where images have several labels their
            targets (num_images, num_classes) int8: 1 there, 0 not, -1 unsaid.
    """

    def __init__(self, splits: Sequence[Split], rows: np.ndarray | None = None) -> None:
        """Join splits.

        Args:
            splits: the first one is train, whose labels make the classes.
            rows: (num_images,) the rows of the joined splits that are kept; None keeps all.
        """
        several = splits[0].targets is not None
        labels = np.concatenate([s.column("targets") if several else s.labels for s in splits])
        self._kept = np.arange(len(labels)) if rows is None else rows
        self.labels = labels[self._kept]
        self.classes = np.arange(labels.shape[1]) if several else np.unique(splits[0].labels)
        if not several:
            self.labels = np.searchsorted(self.classes, self.labels)
        self._splits = splits
        self._starts = np.cumsum([0, *(len(split) for split in splits)])

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def views(
        self, rows: np.ndarray, policy: tuple[View, ...], subject: Subject, chance: torch.Generator
    ) -> list[Tensor]:
        """Return every copy of every view of some images, each (batch, channel, size, size).

        Of files, crops are taken from the whole image, as in pretraining (docs/decisions/0015).

        Args:
            rows: (batch,) which images.
            policy: what each image becomes.
            subject: its device, input size and normalisation.
            chance: on that device.
        """
        info, device = subject.info, subject.device
        mean, std = torch.tensor(info.mean, device=device), torch.tensor(info.std, device=device)
        if not self._splits[0].is_encoded:
            images = to_device(self.decode(rows, info.size), device)
            return make_views(policy, images, info.size, mean, std, chance)
        parts = list(self._by_split(rows))
        sizes = torch.empty(len(rows), 2)
        for split, places, inside in parts:
            sizes[places] = split.decoder.sizes(inside)
        views = WholeViews(policy, sizes, info.size, chance)
        for split, places, inside in parts:

            def cut(index: int, image: Tensor, places: np.ndarray = places) -> None:
                views.cut(int(places[index]), image)

            wait(split.decoder.start(inside, cut))
        return views.finish(mean, std)

    def decode(self, rows: np.ndarray, size: int) -> np.ndarray:
        """Return images (len(rows), size, size, channel) uint8."""
        out = np.empty((len(rows), size, size, 3), np.uint8)
        for split, places, inside in self._by_split(rows):
            out[places] = split.decode(inside, size)
        return out

    def _by_split(self, rows: np.ndarray) -> Iterator[tuple[Split, np.ndarray, np.ndarray]]:
        """Yield each split with images among the rows, their places there, and its own rows."""
        wanted = self._kept[rows]
        for split, start in zip(self._splits, self._starts, strict=False):
            places = np.flatnonzero((wanted >= start) & (wanted < start + len(split)))
            if len(places):
                yield split, places, wanted[places] - start


def augmented_batches(
    subject: Subject, data: JoinedImages, view: View, batch_size: int, steps: int, stream: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield augmented images (batch, channel, size, size) and their rows of `data.labels`.

    Args:
        subject: its seed decides order and views, its device where they are made.
        data: the images.
        view: what each image becomes.
        batch_size: at most as many as there are images.
        steps: how many batches.
        stream: names the two streams of chance, `<stream>/order` and `<stream>/views`.
    """
    device = subject.device
    order = seeding.generator(subject.seed, f"{stream}/order")
    chance = seeding.generator(subject.seed, f"{stream}/views", device)
    for rows in row_batches(len(data), batch_size, steps, order):
        (made,) = data.views(rows, (view,), subject, chance)
        yield made, torch.from_numpy(data.labels[rows]).to(device)


def predict(network: Callable[[Tensor], Tensor], split: Split, subject: Subject) -> np.ndarray:
    """Return the class of the highest output (num_samples, ...) for a split's plain views.

    Args:
        network: images -> outputs (batch, classes, ...); in eval mode where it has modes.
        split: the images.
        subject: whose input size and normalisation they take.
    """
    return outputs(lambda images: network(images).argmax(dim=1), split, subject)


@torch.no_grad()
def outputs(network: Callable[[Tensor], Tensor], split: Split, subject: Subject) -> np.ndarray:
    """Return a network's outputs (num_samples, ...) for a split's plain views; as `predict`."""
    found = []
    for rows in np.array_split(np.arange(len(split)), math.ceil(len(split) / 256)):
        images = plain_view(split.decode(rows, subject.info.size), subject.info, subject.device)
        found.append(network(images).cpu().numpy())
    return np.concatenate(found)
