"""The part that both context encoders share: cut the centre out and paint it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.heads.conv_decoder import ConvDecoder
from sslbench.methods.parts.feature_maps import map_shape
from sslbench.objectives.inpainting import ring_weights, weighted_squared_error
from sslbench.objectives.precision import in_float32


@dataclass(frozen=True, kw_only=True)
class BlockParams:
    """What is cut out and what paints it.

    Attributes:
        block_fraction: side of the painted centre block as a share of the image's side.
        overlap_px: width of the ring of the block that stays visible, in pixels.
        overlap_weight: weight of the ring's squared error; the hidden pixels weigh 1.
        bottleneck_dim: width of the 1x1 bottleneck between backbone and decoder.
        decoder_dim: width of the decoder's first layer; halves as the side doubles.
    """

    block_fraction: float
    overlap_px: int
    overlap_weight: float
    bottleneck_dim: int
    decoder_dim: int


class CentreBlock(nn.Module):
    """Hides the centre of images and paints it from the backbone's last map.

    Hidden pixels take the data's mean, which is 0 after normalisation, so the hole says nothing.
    The hole is the block less its ring, which stays visible, as in the authors' code
    (https://github.com/pathak22/context-encoder/blob/defa69a94c12737e70b74712852e98d323795702/train.lua).
    """

    weights: Tensor

    def __init__(self, backbone: Backbone, params: BlockParams, image_size: int) -> None:
        super().__init__()
        self.side = round(params.block_fraction * image_size)
        self.start = (image_size - self.side) // 2
        self.overlap = params.overlap_px
        width, map_side = map_shape(backbone, image_size, "context encoder")
        self.decoder = ConvDecoder(
            width, map_side, params.bottleneck_dim, params.decoder_dim, self.side
        )
        weights = ring_weights(self.side, params.overlap_px, params.overlap_weight)
        self.register_buffer("weights", weights)

    def cut(self, images: Tensor) -> Tensor:
        """Return the true centre block (batch, channel, side, side)."""
        span = slice(self.start, self.start + self.side)
        return images[:, :, span, span]

    def hide(self, images: Tensor) -> Tensor:
        """Return the images with the hole filled by the mean."""
        span = slice(self.start + self.overlap, self.start + self.side - self.overlap)
        context = images.clone()
        context[:, :, span, span] = 0.0
        return context

    def paint(self, backbone: Backbone, images: Tensor) -> Tensor:
        """Return the painted block (batch, channel, side, side), seen from the context only."""
        painted: Tensor = self.decoder(backbone.feature_map(self.hide(images)))
        return painted

    def error(self, painted: Tensor, images: Tensor) -> Tensor:
        """Return the weighted squared error of a painted block."""
        return in_float32(weighted_squared_error, painted, self.cut(images), self.weights)
