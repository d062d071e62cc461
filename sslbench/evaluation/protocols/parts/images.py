"""Images on their way to a network that learns from them: joined splits, batches, predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sslbench.core import seeding
from sslbench.data.store import Split
from sslbench.data.store.decoder import Decoder, wait
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

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of one image in pixels."""
        split, row = self._place(index)
        return split.size(row)

    def image(self, index: int) -> np.ndarray:
        """Return one image (height, width, 3) uint8 at its own size."""
        split, row = self._place(index)
        return split.image(row)

    def _place(self, index: int) -> tuple[Split, int]:
        """Return the split of an image and its row there."""
        wanted = int(self._kept[index])
        which = int(np.searchsorted(self._starts, wanted, side="right")) - 1
        return self._splits[which], wanted - int(self._starts[which])

    @cached_property
    def _decoder(self) -> Decoder:
        return Decoder(self, torch.get_num_threads())

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
        views = WholeViews(policy, self._decoder.sizes(rows), info.size, chance)
        wait(self._decoder.start(rows, views.cut))
        return views.finish(mean, std)

    def decode(self, rows: np.ndarray, size: int) -> np.ndarray:
        """Return images (len(rows), size, size, channel) uint8."""
        out = np.empty((len(rows), size, size, 3), np.uint8)
        wanted = self._kept[rows]
        for split, start in zip(self._splits, self._starts, strict=False):
            inside = (wanted >= start) & (wanted < start + len(split))
            if inside.any():
                out[inside] = split.decode(wanted[inside] - start, size)
        return out


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
