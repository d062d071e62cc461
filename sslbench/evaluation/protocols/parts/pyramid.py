"""A feature pyramid over any backbone's maps.

Source: Lin et al., arXiv 1612.03144 (FPN, torchvision's), with batch norm after each of its
convolutions (He et al., arXiv 1911.05722, section 4.2). A transformer's maps are all of one size:
the last is first brought to 4, 2, 1 and 1/2 times that size (Li et al., arXiv 2203.16527, figure
2), by one or two deconvolutions, nothing, and a max pooling.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from sslbench.backbones.base import Backbone
from sslbench.evaluation.protocols.parts.map_shapes import map_shapes


class Pyramid(nn.Module):
    """A backbone under an FPN that joins the last map of each size.

    Attributes:
        out_channels: of every level.
        num_levels: how many levels there are.
    """

    def __init__(self, backbone: Backbone, size: int, dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        shapes = map_shapes(backbone, size)
        last_of_size = {side: name for name, (_, side) in shapes.items()}
        self.names = tuple(last_of_size.values())
        self.rescales = _rescales(shapes[self.names[0]][0]) if len(self.names) == 1 else None
        self.num_levels = len(self.rescales or self.names)
        channels = [shapes[name][0] for name in self.names] * (self.num_levels // len(self.names))
        self.fpn = FeaturePyramidNetwork(channels, dim, norm_layer=nn.BatchNorm2d)
        self.out_channels = dim

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the levels "0", "1", ... (batch, out_channels, height, width), finest first."""
        found = self.backbone.maps(images)
        maps = [found[name] for name in self.names]
        if self.rescales is not None:
            maps = [rescale(maps[0]) for rescale in self.rescales]
        levels: dict[str, Tensor] = self.fpn(
            OrderedDict((str(level), each) for level, each in enumerate(maps))
        )
        return levels


def _rescales(dim: int) -> nn.ModuleList:
    """Return what makes a map of `dim` channels 4, 2, 1 and 1/2 times its size."""
    twice = [nn.ConvTranspose2d(dim, dim, 2, 2) for _ in range(3)]
    four_times = nn.Sequential(twice[0], nn.BatchNorm2d(dim), nn.GELU(), twice[1])
    return nn.ModuleList([four_times, twice[2], nn.Identity(), nn.MaxPool2d(2)])
