"""Vision transformers of timm, with patch maps, patch mean and class token as named layers.

Source: Dosovitskiy et al., arXiv 2010.11929; tiny and small are DeiT's (Touvron et al.,
arXiv 2012.12877, table 1); micro is ours, for two CPU cores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from sslbench.backbones.base import Backbone, refuse_unknown
from sslbench.core.errors import UserError

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

# Width, number of blocks, number of attention heads.
SIZES = {"micro": (96, 4, 3), "tiny": (192, 12, 3), "small": (384, 12, 6)}
POSITIONS = ("learned", "sincos")
_MAX_BLOCK_LAYERS = 4


class ViT(Backbone):
    """A vision transformer without its classifier.

    Layers: up to four evenly spaced blocks, the last among them, as maps of patch tokens before
    the final norm; `patch_mean`, the mean of patch tokens after the final norm; `cls`, the class
    token after the final norm, which is the pooled feature. Images of another size than the
    transformer was built for are taken too: the positions are then interpolated.

    Attributes:
        vit: timm's model (class token, pooling "token", so that `vit.norm` is the final norm).
    """

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        self.vit = vit
        self.feature_dim = int(vit.embed_dim)
        self._blocks = _spaced(len(vit.blocks), _MAX_BLOCK_LAYERS)
        self.layers = (*(f"block{index + 1}" for index in self._blocks), "patch_mean", "cls")

    def forward(self, images: Tensor) -> Tensor:
        """Return the class token after the final norm (batch, feature_dim)."""
        tokens: Tensor = self.vit.forward_features(images)
        return tokens[:, 0]

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """Return the named blocks' patch tokens as maps, all of one size."""
        maps = self.vit.forward_intermediates(images, indices=self._blocks, intermediates_only=True)
        return dict(zip(self.layers, cast("list[Tensor]", maps), strict=False))

    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """Return every named layer: maps of patch tokens, and two vectors (batch, feature_dim)."""
        outputs = self.vit.forward_intermediates(images, indices=self._blocks)
        tokens, maps = cast("tuple[Tensor, list[Tensor]]", outputs)
        found = dict(zip(self.layers, maps, strict=False))
        found["patch_mean"] = tokens[:, self.vit.num_prefix_tokens :].mean(dim=1)
        found["cls"] = tokens[:, 0]
        return found


def _spaced(count: int, at_most: int) -> list[int]:
    """Return up to `at_most` evenly spaced indices below `count`, the last one included."""
    number = min(count, at_most)
    return [(step + 1) * count // number - 1 for step in range(number)]


def _fix_positions(vit: VisionTransformer) -> None:
    """Set the positions to fixed sines and cosines, zero for the class token (MAE, 2111.06377)."""
    from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed

    grid = list(vit.patch_embed.grid_size)
    patches = build_sincos2d_pos_embed(grid, dim=vit.embed_dim, interleave_sin_cos=False)
    prefix = patches.new_zeros(vit.num_prefix_tokens, vit.embed_dim)
    positions = torch.cat([prefix, patches])[None]
    vit.pos_embed = nn.Parameter(positions, requires_grad=False)


def build(*, size: str, patch_size: int, image_size: int, positions: str = "learned") -> ViT:
    """Return a vision transformer.

    Args:
        size: "micro", "tiny" or "small".
        patch_size: side of a patch in pixels.
        image_size: side of the images in pixels.
        positions: "learned", or "sincos" for fixed sines and cosines.

    Raises:
        UserError: an unknown size or kind of positions, or patches that do not tile the image.
    """
    refuse_unknown("size", size, SIZES, "vit")
    refuse_unknown("positions", positions, POSITIONS, "vit")
    if patch_size < 1 or image_size % patch_size:
        what = f"patches of {patch_size} px do not tile images of {image_size} px"
        raise UserError(what, where="backbone (vit)", mend="choose a patch_size that divides it")
    vit = _timm_vit(size, patch_size, image_size)
    if positions == "sincos":
        _fix_positions(vit)
    return ViT(vit)


def _timm_vit(size: str, patch_size: int, image_size: int) -> VisionTransformer:
    from timm.models.vision_transformer import VisionTransformer

    dim, depth, heads = SIZES[size]
    return VisionTransformer(
        img_size=image_size, patch_size=patch_size, embed_dim=dim, depth=depth, num_heads=heads,
        num_classes=0, class_token=True, global_pool="token", dynamic_img_size=True,
    )  # fmt: skip
