"""MSN's two kinds of anchors: random patches left out, or all patches but those of one square."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sslbench.methods.parts.masked_encoder import MaskedEncoder
from sslbench.views.token_masks import focal_token_mask, random_token_mask


@dataclass(frozen=True, kw_only=True)
class AnchorParams:
    """What is hidden from which anchor.

    Attributes:
        num_random: anchors, counted from the first, with a random mask; the rest get a focal one.
        mask_ratio: share of patches that a random mask hides, in (0, 1).
        focal_side: side of a focal mask's visible square as a share of the image's, in (0, 1].
    """

    num_random: int
    mask_ratio: float
    focal_side: float

    def __post_init__(self) -> None:
        """Refuse masks that hide all or nothing."""
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f"mask_ratio must lie in (0, 1), found {self.mask_ratio}")
        if not 0 < self.focal_side <= 1:
            raise ValueError(f"focal_side must lie in (0, 1], found {self.focal_side}")


class MaskedAnchors:
    """Draws the masks of a step's anchors and encodes what they leave.

    Attributes:
        focal_side: patches along a side of a focal mask's square.
    """

    def __init__(self, encoder: MaskedEncoder, params: AnchorParams) -> None:
        self.encoder = encoder
        self.params = params
        self.focal_side = max(1, round(params.focal_side * encoder.grid_size))

    def class_tokens(self, views: list[Tensor], generator: torch.Generator) -> list[Tensor]:
        """Return class tokens (anchors * batch, dim), a tensor for each kind that there is.

        Args:
            views: the anchors, each (batch, channel, size, size).
            generator: draws the masks, another for each image.
        """
        random, focal = views[: self.params.num_random], views[self.params.num_random :]
        prefix = self.encoder.num_prefix_tokens
        found = []
        if random:
            patches, rows = self.encoder.num_patches, len(random) * len(random[0])
            kept, _ = random_token_mask(rows, patches, prefix, self.params.mask_ratio, generator)
            found.append(self.encoder.encode_kept(torch.cat(random), kept)[:, 0])
        if focal:
            grid, rows = self.encoder.grid_size, len(focal) * len(focal[0])
            kept = focal_token_mask(rows, grid, prefix, self.focal_side, generator)
            found.append(self.encoder.encode_kept(torch.cat(focal), kept)[:, 0])
        return found
