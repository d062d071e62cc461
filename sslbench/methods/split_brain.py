"""Split-brain: half of a network tells colour from lightness, the other half the reverse.

Paper    Zhang et al. 2017, https://arxiv.org/abs/1611.09842, eq. 1 to 4
Code     https://github.com/richzhang/splitbrainauto
Family   pretext          Views  one, cropped and flipped, colours untouched
Differs  ResNets in place of AlexNet, so a decoder leads up from each last map; the colour bins are
         counted (the paper has 313); targets are averaged over a cell of the target map
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy

from sslbench.backbones.base import Backbone
from sslbench.backbones.lab_resnet import LabResNet
from sslbench.heads.conv_decoder import ConvDecoder
from sslbench.methods.base import DataInfo, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.colour_bins import (
    ColourBins,
    by_position,
    lab_backbone,
    refuse_changed_colours,
)
from sslbench.methods.parts.feature_maps import map_shape
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View

_LIGHTEST = 100.0


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of split-brain.

    Attributes:
        views: one view, which must not change colours.
        target_side: side of the predicted maps; the last map's times a power of two.
        bottleneck_dim: width of the 1x1 bottleneck between each half and its decoder.
        decoder_dim: width of each decoder's first layer; halves as the side doubles.
        bin_size: side of a colour bin, in units of ab.
        num_lightness_bins: equal bins of lightness from black to white.
    """

    views: tuple[View, ...]
    target_side: int
    bottleneck_dim: int
    decoder_dim: int
    bin_size: float
    num_lightness_bins: int

    def __post_init__(self) -> None:
        """Refuse views that give away or spoil the answer."""
        refuse_changed_colours(self.views, "split_brain")


class SplitBrain(Method):
    """Two cross entropies, each of what the other half sees."""

    backbone: LabResNet

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(lab_backbone(backbone, "halves", data, "split_brain"), params.views)
        self.params = params
        self.bins = ColourBins(params.bin_size)
        width, side = map_shape(backbone, data.image_size, "split_brain")
        sizes = (width // 2, side, params.bottleneck_dim, params.decoder_dim, params.target_side)
        self.colour_decoder = ConvDecoder(*sizes, len(self.bins))
        self.lightness_decoder = ConvDecoder(*sizes, params.num_lightness_bins)

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the sum of both cross entropies, and the share of right colours."""
        images = batch.views[0]
        of_lightness, of_colour = self.backbone.feature_map(images).chunk(2, dim=1)
        colour_logits = by_position(self.colour_decoder(of_lightness))
        lightness_logits = by_position(self.lightness_decoder(of_colour))
        colours, lightness = self._targets(images)
        colour = in_float32(cross_entropy, colour_logits, colours)
        light = in_float32(cross_entropy, lightness_logits, lightness)
        accuracy = (colour_logits.detach().argmax(dim=1) == colours).float().mean()
        parts = {"colour": colour.detach(), "lightness": light.detach(), "accuracy": accuracy}
        return StepOutput(colour + light, parts)

    def _targets(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bins of colour and of lightness, each (batch * target_side^2,)."""
        cells = adaptive_avg_pool2d(self.backbone.lab(images), self.params.target_side)
        lightness, ab = by_position(cells).tensor_split([1], dim=1)
        number = self.params.num_lightness_bins
        bins = (lightness[:, 0] * (number / _LIGHTEST)).long().clamp(0, number - 1)
        return self.bins.hard_codes(ab), bins


METHOD = SplitBrain
