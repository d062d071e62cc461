"""Random, rescaled: random filters, each scaled and shifted so that it answers the data alike.

Paper    Krähenbühl et al. 2016, https://arxiv.org/abs/1511.06856, algorithm 1
Code     https://github.com/philkr/magic_init/blob/1133dfadd7b8b7ed68f6eaba5851ae723cea9927/magic_init.py
Family   baseline          Views  one; a few images are looked at, none is learned from
Differs  first phase only: the second, which balances the layers' rates of change, is meant for
         chains of layers without batch norms; here a batch norm is the affine part of the
         convolution below it, so its running statistics and bias take the scale and shift
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sslbench.backbones.base import Backbone
from sslbench.core.errors import UserError
from sslbench.methods.base import DataInfo, EpochContext, Method
from sslbench.views.policy import View


@dataclass(frozen=True, kw_only=True)
class Params:
    """Numbers of the data-dependent initialisation.

    Attributes:
        views: one view.
        num_images: images, drawn from the train split, that the statistics are taken over.
        bias: mean of every pre-activation; its standard deviation is 1.
    """

    views: tuple[View, ...]
    num_images: int
    bias: float

    def __post_init__(self) -> None:
        """Refuse to take statistics over nothing."""
        if self.num_images < 1 or not self.views:
            raise ValueError("random_rescaled needs a view and one image or more")


class RandomRescaled(Method):
    """The backbone as it was drawn, with every pre-activation at the same mean and deviation."""

    trains = False

    def __init__(self, backbone: Backbone, params: Params, data: DataInfo) -> None:
        super().__init__(backbone, params.views)
        if not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules()):
            mend = "choose a convolutional backbone, such as {family: resnet, ...}"
            raise UserError("needs batch norms to rescale", where="random_rescaled", mend=mend)
        self.num_samples, self.num_images = data.num_samples, params.num_images
        self.bias = params.bias

    def on_epoch_start(self, context: EpochContext) -> None:
        """Rescale the backbone on the drawn images."""
        rescale(self.backbone, self._drawn_images(context), self.bias)

    def _drawn_images(self, context: EpochContext) -> Tensor:
        """Return one view (num_images, channel, height, width) of randomly drawn images."""
        device = context.generator.device
        order = torch.randperm(self.num_samples, generator=context.generator, device=device)
        is_drawn = order < self.num_images
        position = 0

        def pick(views: list[Tensor]) -> Tensor:
            nonlocal position
            start, position = position, position + len(views[0])
            return views[0][is_drawn[start:position]]

        return context.extract(pick)


@torch.no_grad()
def rescale(network: nn.Module, images: Tensor, bias: float) -> None:
    """Give every channel after a batch norm the mean `bias` and the deviation 1 on these images.

    One pass in eval mode; each layer is set before the next one sees what it passes on.

    Args:
        network: whose convolutions are each followed by a batch norm.
        images: (batch, channel, height, width).
        bias: the mean.
    """

    def scale(filters: nn.Module, _: tuple[Tensor], outputs: Tensor) -> Tensor:
        assert isinstance(filters, nn.Conv2d)
        deviation = outputs.std(dim=(0, 2, 3)).clamp_min(1e-12)[:, None, None]
        filters.weight.div_(deviation[..., None])
        return outputs / deviation

    def shift(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(inputs[0].mean(dim=(0, 2, 3)))
        norm.running_var.fill_(1.0)
        norm.bias.fill_(bias)

    modules = list(network.modules())
    hooks = [m.register_forward_hook(scale) for m in modules if isinstance(m, nn.Conv2d)]
    hooks += [m.register_forward_pre_hook(shift) for m in modules if isinstance(m, nn.BatchNorm2d)]
    was_training = network.training
    try:
        network.eval()(images)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()


METHOD = RandomRescaled
