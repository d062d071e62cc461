"""AlexNet's five convolutions with batch norm, the network of the pretext-task era.

Source: channels of Krizhevsky, arXiv 1404.5997 (torchvision's alexnet); batch norm instead of
local response normalisation, as in RotNet (arXiv 1803.07728) and DeepCluster (arXiv 1807.05520).
"""

from __future__ import annotations

from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.core.errors import UserError

# Inputs, outputs, kernel, stride, padding of each convolution.
_LARGE = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2))
_SMALL = ((3, 64, 5, 2, 2), (64, 192, 5, 1, 2))
_COMMON = ((192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
_LARGE_FROM_PX = 96
_SMALLEST_PX = 8


class AlexNet(Backbone):
    """Five convolutions, each with batch norm and ReLU, and an average over positions.

    Layers: `conv1` to `conv5` as maps after ReLU and before any pooling, and `pooled`. Max
    pooling (3x3, stride 2) stands after conv1 and conv2; the one after conv5 is left out.
    Images below 96 px meet a first convolution of 5x5 at stride 2 in place of 11x11 at stride 4.
    """

    layers = ("conv1", "conv2", "conv3", "conv4", "conv5", "pooled")
    feature_dim = 256

    def __init__(self, image_size: int) -> None:
        super().__init__()
        shapes = (_LARGE if image_size >= _LARGE_FROM_PX else _SMALL) + _COMMON
        blocks = (_block(*shape) for shape in shapes)
        self.conv1, self.conv2, self.conv3, self.conv4, self.conv5 = blocks
        self.pool = nn.MaxPool2d(3, 2, 1 if image_size < _LARGE_FROM_PX else 0)

    def forward(self, images: Tensor) -> Tensor:
        """Return conv5 averaged over positions (batch, 256)."""
        return self.extract(images)["pooled"]

    def feature_map(self, images: Tensor) -> Tensor:
        """Return conv5 (batch, 256, height, width)."""
        return self.maps(images)["conv5"]

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """Return conv1 to conv5."""
        found = {"conv1": self.conv1(images)}
        found["conv2"] = self.conv2(self.pool(found["conv1"]))
        found["conv3"] = self.conv3(self.pool(found["conv2"]))
        found["conv4"] = self.conv4(found["conv3"])
        found["conv5"] = self.conv5(found["conv4"])
        return found

    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """Return every named layer: five maps and the pooled vector (batch, 256)."""
        found = self.maps(images)
        return {**found, "pooled": found["conv5"].mean(dim=(2, 3))}


def _block(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def build(*, image_size: int) -> AlexNet:
    """Return an AlexNet for images of `image_size` px.

    Raises:
        UserError: images too small for the strides.
    """
    if image_size < _SMALLEST_PX:
        what = f"images of {image_size} px are too small"
        raise UserError(what, where="backbone (alexnet)", mend=f"use {_SMALLEST_PX} px or more")
    return AlexNet(image_size)
