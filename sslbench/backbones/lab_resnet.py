"""ResNets that take ordinary images and see only lightness, or lightness and colour apart.

Source: Zhang et al., arXiv 1603.08511 (colourisation) and arXiv 1611.09842 (split-brain), whose
networks are AlexNet and VGG. The conversion belongs to the network, so that evaluation feeds it
like any other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sslbench.backbones.base import Backbone, refuse_unknown
from sslbench.backbones.colour_space import rgb_to_lab
from sslbench.backbones.resnet import DEPTHS, STEMS, ResNet
from sslbench.core.errors import UserError

# Input channels of each trunk: lightness, or lightness and ab.
SEES = {"lightness": (1,), "halves": (1, 2)}
_LARGEST_AB = 110.0


class LabResNet(Backbone):
    """One trunk that sees lightness, or two of half the width for lightness and for ab.

    The layers are a ResNet's; those of two trunks are concatenated, lightness first, and no
    connection leads from one trunk to the other.

    Attributes:
        sees: "lightness" or "halves".
        mean, std: (3,) by which the images that come in are normalised; kept with the weights.
    """

    layers = ResNet.layers
    mean: Tensor
    std: Tensor

    def __init__(self, sees: str, depth: str, stem: str, width: int) -> None:
        super().__init__()
        channels = SEES[sees]
        trunks = [ResNet(depth, stem, width // len(channels), number) for number in channels]
        self.sees = sees
        self.trunks = nn.ModuleList(trunks)
        self.feature_dim = sum(trunk.feature_dim for trunk in trunks)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))

    @torch.no_grad()
    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Take note of the mean and std (channel,) by which images are normalised."""
        self.mean.copy_(torch.tensor(mean))
        self.std.copy_(torch.tensor(std))

    def lab(self, images: Tensor) -> Tensor:
        """Return normalised images (batch, 3, height, width) as Lab, of the same shape."""
        rgb = images * self.std[:, None, None] + self.mean[:, None, None]
        return rgb_to_lab(rgb.clamp(0.0, 1.0))

    def forward(self, images: Tensor) -> Tensor:
        """Return layer4 averaged over positions (batch, feature_dim)."""
        return torch.cat([trunk(part) for trunk, part in self._feed(images)], dim=1)

    def feature_map(self, images: Tensor) -> Tensor:
        """Return layer4 before pooling (batch, feature_dim, height, width)."""
        return torch.cat([trunk.feature_map(part) for trunk, part in self._feed(images)], dim=1)

    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """Return every named layer: four maps and the pooled vector (batch, feature_dim)."""
        return _joined([trunk.extract(part) for trunk, part in self._feed(images)])

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """Return the stem and the four stages as maps, those of two trunks concatenated."""
        return _joined([trunk.maps(part) for trunk, part in self._feed(images)])

    def _feed(self, images: Tensor) -> list[tuple[ResNet, Tensor]]:
        """Return each trunk with what it sees, scaled to about [-1, 1]."""
        lightness, ab = self.lab(images).tensor_split([1], dim=1)
        return list(zip(self.trunks, (lightness / 50 - 1, ab / _LARGEST_AB), strict=False))  # type: ignore[arg-type]


def _joined(trunks: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([layers[name] for layers in trunks], dim=1) for name in trunks[0]}


def build(
    *, sees: str, depth: str | int, stem: str, width: int, image_size: int | None = None
) -> LabResNet:
    """Return a residual network over Lab.

    Args:
        sees: "lightness" (one trunk) or "halves" (two of half the width: lightness, ab).
        depth: as a resnet's.
        stem: as a resnet's.
        width: channels of the first stage, of both trunks together.
        image_size: accepted because every family is called alike; convolutions need no size.

    Raises:
        UserError: a value that does not exist, or a width that the trunks cannot share.
    """
    del image_size
    refuse_unknown("sees", sees, SEES, "lab_resnet")
    refuse_unknown("depth", str(depth), DEPTHS, "lab_resnet")
    refuse_unknown("stem", stem, STEMS, "lab_resnet")
    trunks = len(SEES[sees])
    if width < trunks or width % trunks:
        what = f"width must be a positive multiple of {trunks}, found {width}"
        raise UserError(what, where="backbone (lab_resnet)")
    return LabResNet(sees, str(depth), stem, width)
