"""The two residual blocks, with torchvision's names and order, so that weights load there and back.

Source: He et al., arXiv 1512.03385, figure 5; the stride of a bottleneck is on its 3x3 convolution,
as in torchvision ("ResNet v1.5"). Written here because `import torchvision` takes 1.8 s, most of a
small extraction (docs/decisions/0009); a test holds both against torchvision's own.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

# torch 2.14.1's oneDNN overruns its memory in the backward pass of 1x1 convolutions with a stride,
# channels_last, whose channels in do not fill a vector: on maps of 48 px it hangs or ends in a
# segmentation fault (seen with 4 on AVX2, with 8 on AVX-512). A vector has 16 floats at the most.
_LEAST_CHANNELS = 16


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution without bias that keeps the size, but for the stride."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


def conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Return a 1x1 convolution without bias."""
    is_faulty = stride > 1 and inputs < _LEAST_CHANNELS
    kind = _SteppedConv1x1 if is_faulty else nn.Conv2d
    return kind(inputs, outputs, 1, stride, bias=False)


class _SteppedConv1x1(nn.Conv2d):
    """A strided 1x1 convolution that leaves out the pixels itself; same weights, same values."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return (batch, outputs, height / stride, width / stride)."""
        rows, columns = self.stride
        return functional.conv2d(maps[:, :, ::rows, ::columns], self.weight)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut.

    Args:
        inputs: channels in.
        planes: channels out.
        stride: of the first convolution.
        downsample: what fits the shortcut to the output, or None.
    """

    expansion = 1

    def __init__(
        self, inputs: int, planes: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, maps: Tensor) -> Tensor:
        """Return (batch, planes, height / stride, width / stride)."""
        shortcut = maps if self.downsample is None else self.downsample(maps)
        found = self.relu(self.bn1(self.conv1(maps)))
        found = self.bn2(self.conv2(found))
        found += shortcut
        out: Tensor = self.relu(found)
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut; arguments as in BasicBlock.

    The output has 4 * planes channels.
    """

    expansion = 4

    def __init__(
        self, inputs: int, planes: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = conv1x1(inputs, planes)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = conv3x3(planes, planes, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = conv1x1(planes, planes * self.expansion)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, maps: Tensor) -> Tensor:
        """Return (batch, 4 * planes, height / stride, width / stride)."""
        shortcut = maps if self.downsample is None else self.downsample(maps)
        found = self.relu(self.bn1(self.conv1(maps)))
        found = self.relu(self.bn2(self.conv2(found)))
        found = self.bn3(self.conv3(found))
        found += shortcut
        out: Tensor = self.relu(found)
        return out
