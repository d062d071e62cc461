"""From a small feature map up to an image block."""

from __future__ import annotations

from torch import nn

from sslbench.core.errors import UserError


class ConvDecoder(nn.Sequential):
    """A 1x1 bottleneck and transposed convolutions that double the side until it fits.

    The width halves at each doubling, as in the authors' code of context encoders
    (https://github.com/pathak22/context-encoder/blob/defa69a94c12737e70b74712852e98d323795702/train.lua,
    netG); the last layer is linear, because normalised pixels are not bounded.

    Maps (batch, input_dim, input_side, input_side) to (batch, channels, output_side, output_side).
    """

    def __init__(
        self,
        input_dim: int,
        input_side: int,
        bottleneck_dim: int,
        decoder_dim: int,
        output_side: int,
        channels: int = 3,
    ) -> None:
        doublings = (output_side // input_side).bit_length() - 1
        if doublings < 1 or input_side << doublings != output_side:
            raise UserError(
                f"cannot double a map of side {input_side} up to a block of side {output_side}",
                mend="choose a block side that is a power of two times the last map's side",
            )
        widths = [max(decoder_dim >> step, 8) for step in range(doublings - 1)]
        layers: list[nn.Module] = [nn.Conv2d(input_dim, bottleneck_dim, 1), nn.ReLU()]
        width = bottleneck_dim
        for wider in widths:
            layers += [_double(width, wider), nn.BatchNorm2d(wider), nn.ReLU()]
            width = wider
        super().__init__(*layers, _double(width, channels, bias=True))


def _double(input_dim: int, output_dim: int, bias: bool = False) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(input_dim, output_dim, 4, stride=2, padding=1, bias=bias)
