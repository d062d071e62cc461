"""torchvision's residual networks, with a stem for small images.

Source: He et al., arXiv 1512.03385, table 1; initialisation, names and order of the weights are
torchvision's (`torchvision.models.resnet`), so a width-64 network loads there and back.
"""

from __future__ import annotations

from torch import Tensor, nn

from sslbench.backbones.base import Backbone, refuse_unknown
from sslbench.backbones.residual import BasicBlock, Bottleneck, conv1x1
from sslbench.core.errors import UserError

_Block = type[BasicBlock] | type[Bottleneck]

# Blocks in each of the four stages, by depth as it is written in params.yaml.
DEPTHS: dict[str, tuple[_Block, tuple[int, int, int, int]]] = {
    "tiny": (BasicBlock, (1, 1, 1, 1)),
    "18": (BasicBlock, (2, 2, 2, 2)),
    "34": (BasicBlock, (3, 4, 6, 3)),
    "50": (Bottleneck, (3, 4, 6, 3)),
}

# Kernel, stride and padding of the first convolution; only "imagenet" is followed by a pooling.
STEMS = {"small": (3, 1, 1), "small_stride2": (3, 2, 1), "imagenet": (7, 2, 3)}


class ResNet(Backbone):
    """A residual network without its classifier.

    Layers: `stem` (after ReLU, and pooling where the stem has one), `layer1` to `layer3` as
    maps, and `layer4` averaged over positions, which is the pooled feature.
    """

    layers = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, depth: str, stem: str, width: int, channels: int = 3) -> None:
        super().__init__()
        block, (first, second, third, fourth) = DEPTHS[depth]
        kernel, stride, padding = STEMS[stem]
        out = width * block.expansion
        self.conv1 = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        self.layer1 = _stage(block, width, width, first, stride=1)
        self.layer2 = _stage(block, out, 2 * width, second, stride=2)
        self.layer3 = _stage(block, 2 * out, 4 * width, third, stride=2)
        self.layer4 = _stage(block, 4 * out, 8 * width, fourth, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Identity()
        self.feature_dim = 8 * out
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return layer4 averaged over positions (batch, feature_dim)."""
        return self._pool(self.feature_map(images))

    def feature_map(self, images: Tensor) -> Tensor:
        """Return layer4 before pooling (batch, feature_dim, height, width)."""
        return self.maps(images)["layer4"]

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """Return the stem and the four stages as maps."""
        found = {"stem": self._stem(images)}
        found["layer1"] = self.layer1(found["stem"])
        found["layer2"] = self.layer2(found["layer1"])
        found["layer3"] = self.layer3(found["layer2"])
        found["layer4"] = self.layer4(found["layer3"])
        return found

    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """Return every named layer: four maps and the pooled vector (batch, feature_dim)."""
        found = self.maps(images)
        return {**found, "layer4": self._pool(found["layer4"])}

    def _stem(self, images: Tensor) -> Tensor:
        maps: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return maps

    def _pool(self, maps: Tensor) -> Tensor:
        pooled: Tensor = self.fc(self.avgpool(maps).flatten(1))
        return pooled


def _stage(block: _Block, inputs: int, planes: int, count: int, stride: int) -> nn.Sequential:
    """Return `count` blocks; the first changes channels and stride, as torchvision's does."""
    outputs = planes * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))
    first = block(inputs, planes, stride, downsample)
    return nn.Sequential(first, *(block(outputs, planes) for _ in range(count - 1)))


def _initialise(network: nn.Module) -> None:
    """Draw convolutions as torchvision does; batch norms start at one and zero already."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def build(*, depth: str | int, stem: str, width: int, image_size: int | None = None) -> ResNet:
    """Return a residual network.

    Args:
        depth: "tiny" (one basic block a stage), 18, 34 or 50.
        stem: "small" (3x3, no pooling), "small_stride2" (3x3, stride 2) or "imagenet" (7x7).
        width: channels of the first stage; 64 is torchvision's.
        image_size: accepted because every family is called alike; convolutions need no size.

    Raises:
        UserError: a depth or stem that does not exist, or a width below 1.
    """
    del image_size
    refuse_unknown("depth", str(depth), DEPTHS, "resnet")
    refuse_unknown("stem", stem, STEMS, "resnet")
    if width < 1:
        raise UserError(f"width must be at least 1, found {width}", where="backbone (resnet)")
    return ResNet(str(depth), stem, width)
