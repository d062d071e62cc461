"""What a decoder needs to know of the backbone below it."""

from __future__ import annotations

import torch

from sslbench.backbones.base import Backbone
from sslbench.core.errors import UserError


@torch.no_grad()
def map_shape(backbone: Backbone, image_size: int, where: str) -> tuple[int, int]:
    """Return width and side of the backbone's last map, found in eval mode so no state changes.

    Args:
        backbone: of any family.
        image_size: side of the images in pixels.
        where: who needs it, for the message.

    Raises:
        UserError: the backbone has no maps.
    """
    was_training = backbone.training
    try:
        maps = backbone.eval().feature_map(torch.zeros(1, 3, image_size, image_size))
    except NotImplementedError:
        mend = "choose a convolutional backbone, such as {family: resnet, ...}"
        raise UserError("needs feature maps", where=where, mend=mend) from None
    finally:
        backbone.train(was_training)
    return maps.shape[1], maps.shape[2]
