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
from sslbench.evaluation.protocols.parts.map_shapes import map_scales, map_shapes

_TIMES = (4.0, 2.0, 1.0, 0.5)


class Pyramid(nn.Module):
    """A backbone under an FPN that joins the last map of each scale.

    Attributes:
        out_channels: of every level.
        scales: each level's positions a pixel, finest first. torchvision guesses a power of two
            from the first batch's images before they are padded, which is half or twice the truth
            for sides of 33 to 45 px, and no patch of 12 px has one.
    """

    def __init__(self, backbone: Backbone, step: int, dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        channels_of = {name: width for name, (width, _) in map_shapes(backbone, 2 * step).items()}
        last_of_scale = {scale: name for name, scale in map_scales(backbone, step).items()}
        self.names = tuple(last_of_scale.values())
        self.scales = list(last_of_scale)
        self.rescales = None
        channels = [channels_of[name] for name in self.names]
        if len(self.names) == 1:
            self.rescales = _rescales(channels[0])
            self.scales = [times * self.scales[0] for times in _TIMES]
            channels *= len(_TIMES)
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
    """Return what makes a map of `dim` channels `_TIMES` its size; a single position stays one."""
    twice = [nn.ConvTranspose2d(dim, dim, 2, 2) for _ in range(3)]
    four_times = nn.Sequential(twice[0], nn.BatchNorm2d(dim), nn.GELU(), twice[1])
    return nn.ModuleList([four_times, twice[2], nn.Identity(), nn.MaxPool2d(2, ceil_mode=True)])
