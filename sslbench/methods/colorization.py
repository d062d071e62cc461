"""Colourisation: see an image's lightness only and say which colour each place has.

Paper    Zhang et al. 2016, https://arxiv.org/abs/1603.08511, eq. 2 to 4
Code     https://github.com/richzhang/colorization
Family   pretext          Views  one, cropped and flipped, colours untouched
Differs  a ResNet in place of VGG, so a decoder leads up from its last map; the bins are counted
         (the published list has 313); targets are colours averaged over a cell of the target map;
         the prior is that of the train split in use
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from sslbench.backbones.base import Backbone
from sslbench.backbones.lab_resnet import LabResNet
from sslbench.heads.conv_decoder import ConvDecoder
from sslbench.methods.base import DataInfo, EpochContext, Method, Progress, StepOutput, ViewBatch
from sslbench.methods.parts.colour_bins import (
    ColourBins,
    by_position,
    lab_backbone,
    refuse_changed_colours,
)
from sslbench.methods.parts.feature_maps import map_shape
from sslbench.objectives.colour import rebalancing_weights, weighted_cross_entropy
from sslbench.objectives.precision import in_float32
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of colourisation.

    Attributes:
        views: one view, which must not change colours.
        target_side: side of the map of predicted colours; the last map's times a power of two.
        bottleneck_dim: width of the 1x1 bottleneck between backbone and decoder.
        decoder_dim: width of the decoder's first layer; halves as the side doubles.
        bin_size: side of a colour bin, in units of ab.
        neighbours: bins that share the code of a colour.
        sigma: spread of that code, in units of ab.
        uniform_share: of the uniform distribution in the prior that rebalances, in (0, 1].
        grey_threshold: an image none of whose |a| and |b| exceed it teaches nothing.
    """

    views: tuple[View, ...]
    target_side: int
    bottleneck_dim: int
    decoder_dim: int
    bin_size: float
    neighbours: int
    sigma: float
    uniform_share: float
    grey_threshold: float

    def __post_init__(self) -> None:
        """Refuse views that give away or spoil the answer, and a prior without a floor."""
        refuse_changed_colours(self.views, "colorization")
        if not 0 < self.uniform_share <= 1:
            raise ValueError(f"uniform_share must lie in (0, 1], found {self.uniform_share}")


class Colorization(Method):
    """Cross entropy of soft colour codes, rare colours weighing more."""

    backbone: LabResNet
    weights: Tensor

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(lab_backbone(backbone, "lightness", data, "colorization"), params.views)
        self.params = params
        self.bins = ColourBins(params.bin_size)
        sizes = (params.bottleneck_dim, params.decoder_dim, params.target_side, len(self.bins))
        self.decoder = ConvDecoder(*map_shape(backbone, data.image_size, "colorization"), *sizes)
        self.register_buffer("weights", torch.ones(len(self.bins)))

    def on_epoch_start(self, context: EpochContext) -> None:
        """Before the first epoch, weigh each bin by how rare it is in the train split."""
        if context.progress.step == 0:
            shares = context.extract(self._shares_of_bins)
            self.weights.copy_(rebalancing_weights(shares.mean(dim=0), self.params.uniform_share))

    def forward(self, batch: ViewBatch, progress: Progress, phase: str) -> StepOutput:
        """Return the rebalanced cross entropy, and how near the predicted colours are."""
        images = batch.views[0]
        logits = by_position(self.decoder(self.backbone.feature_map(images)))
        ab = self._target(images)  # (batch, 2, target_side, target_side)
        colours = by_position(ab)
        codes = self._codes(colours)
        is_coloured = (ab.abs() > self.params.grey_threshold).flatten(1).any(dim=1)
        counted = is_coloured.repeat_interleave(self.params.target_side**2)
        weights = self.weights[codes.argmax(dim=1)] * counted
        loss = in_float32(weighted_cross_entropy, logits, codes, weights)
        miss = (self.bins.decode(logits.detach()) - colours).norm(dim=1).mean()
        return StepOutput(loss, {"ab_error": miss})

    def _target(self, images: Tensor) -> Tensor:
        """Return the mean ab (batch, 2, target_side, target_side) of each cell."""
        return adaptive_avg_pool2d(self.backbone.lab(images)[:, 1:], self.params.target_side)

    def _codes(self, colours: Tensor) -> Tensor:
        return self.bins.soft_codes(colours, self.params.neighbours, self.params.sigma)

    def _shares_of_bins(self, views: list[Tensor]) -> Tensor:
        """Return the mean code (batch, num_bins) of each image."""
        codes = self._codes(by_position(self._target(views[0])))
        return codes.view(len(views[0]), -1, len(self.bins)).mean(dim=1)


METHOD = Colorization
