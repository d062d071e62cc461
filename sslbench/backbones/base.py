"""The contract of a backbone: images in, pooled features out, named layers in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from sslbench.core.errors import UserError


class Backbone(nn.Module):
    """A network without a classifier.

    Attributes:
        feature_dim: width of the pooled features.
        layers: the names of the layers that `extract` returns, from input to output; the last
            one is the pooled feature itself.
    """

    feature_dim: int
    layers: tuple[str, ...]

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Tell by which mean and std (channel,) images are normalised; most networks ignore it."""

    def forward(self, images: Tensor) -> Tensor:
        """Return pooled features (batch, feature_dim) of images (batch, channel, height, width)."""
        raise NotImplementedError

    def feature_map(self, images: Tensor) -> Tensor:
        """Return the last map before pooling (batch, channel, height, width); convnets only."""
        raise NotImplementedError

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """Return the layers that are maps, from input to output, the last one before pooling.

        Each is (batch, channel, height, width); the names are those of `layers`.
        """
        raise NotImplementedError

    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """Return every named layer.

        Maps are (batch, channel, height, width); token means and pooled features (batch, dim).
        """
        raise NotImplementedError


def refuse_unknown(name: str, value: str, known: Iterable[str], family: str) -> None:
    """Refuse a value that a family of backbones does not offer.

    Raises:
        UserError: the value is not among the known ones, which the message lists.
    """
    known = tuple(known)
    if value not in known:
        mend = "known: " + ", ".join(known)
        raise UserError(f"unknown {name} {value!r}", where=f"backbone ({family})", mend=mend)
