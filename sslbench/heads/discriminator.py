"""Real or made? A small convolutional judge of image blocks."""

from __future__ import annotations

from torch import Tensor, nn


class BlockDiscriminator(nn.Module):
    """Strided convolutions down to a side of at most four pixels, then one logit.

    After DCGAN (https://arxiv.org/abs/1511.06434) as in the authors' code of context encoders
    (https://github.com/pathak22/context-encoder/blob/defa69a94c12737e70b74712852e98d323795702/train.lua,
    netD): leaky rectifiers of slope 0.2, no normalisation in the first layer.

    Maps (batch, channels, side, side) to (batch,) logits.
    """

    def __init__(self, side: int, width: int, channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [_halve(channels, width, bias=True), nn.LeakyReLU(0.2)]
        side //= 2
        while side > 4:
            layers += [
                _halve(width, 2 * width),
                nn.BatchNorm2d(2 * width),
                nn.LeakyReLU(0.2),
            ]
            width, side = 2 * width, side // 2
        self.trunk = nn.Sequential(*layers)
        self.classifier = nn.Linear(width * side * side, 1)

    def forward(self, blocks: Tensor) -> Tensor:
        """Return one logit per block, positive where it looks real."""
        logits: Tensor = self.classifier(self.trunk(blocks).flatten(1))
        return logits.flatten()


def _halve(input_dim: int, output_dim: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(input_dim, output_dim, 4, stride=2, padding=1, bias=bias)
