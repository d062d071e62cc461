"""Decoder and discriminator: shapes, refusals; and the token mask that MAE draws."""

from __future__ import annotations

import pytest
import torch

from sslbench import backbones
from sslbench.core.errors import UserError
from sslbench.heads.conv_decoder import ConvDecoder
from sslbench.heads.discriminator import BlockDiscriminator
from sslbench.views.token_masks import random_token_mask
from tests.contract import harness


@pytest.mark.parametrize(("map_side", "side"), [(2, 16), (4, 8), (1, 32), (7, 112)])
def test_decoder_reaches_the_block(map_side: int, side: int) -> None:
    decoder = ConvDecoder(6, map_side, 5, 16, side)
    assert decoder(torch.zeros(2, 6, map_side, map_side)).shape == (2, 3, side, side)


@pytest.mark.parametrize(("map_side", "side"), [(3, 16), (4, 4), (8, 4)])
def test_decoder_refuses_a_block_it_cannot_reach(map_side: int, side: int) -> None:
    with pytest.raises(UserError, match="cannot double"):
        ConvDecoder(6, map_side, 5, 16, side)


@pytest.mark.parametrize("side", [8, 16, 64])
def test_discriminator_gives_one_logit_a_block(side: int) -> None:
    assert BlockDiscriminator(side, 4)(torch.zeros(3, 3, side, side)).shape == (3,)


def test_context_encoder_refuses_a_transformer() -> None:
    vit = backbones.build({"family": "vit", "size": "micro", "patch_size": 8, "image_size": 32})
    made = harness.methods.load("context_encoder").METHOD
    with pytest.raises(UserError, match="feature maps"):
        made(vit, harness.build_params("context_encoder"), harness.data_info(16, 0))


def test_mae_refuses_a_convolutional_network() -> None:
    spec = {"family": "resnet", "depth": "tiny", "stem": "small", "width": 8, "image_size": 32}
    made = harness.methods.load("mae").METHOD
    with pytest.raises(UserError, match="transformer"):
        made(backbones.build(spec), harness.build_params("mae"), harness.data_info(16, 0))


def test_supervised_refuses_unlabelled_data_and_deepcluster_too_few_images() -> None:
    spec = {"family": "resnet", "depth": "tiny", "stem": "small", "width": 8, "image_size": 32}
    made = harness.methods.load("supervised").METHOD
    with pytest.raises(UserError, match="needs labels"):
        made(backbones.build(spec), harness.build_params("supervised"), harness.data_info(16, 0))
    made = harness.methods.load("deepclusterv2").METHOD
    values = harness.build_params("deepclusterv2")
    with pytest.raises(UserError, match="more prototypes than images"):
        made(backbones.build(spec), values, harness.data_info(3, 0))


@pytest.mark.parametrize(
    ("patches", "ratio", "masked"), [(64, 0.75, 48), (16, 0.9, 14), (4, 0.01, 1)]
)
def test_mask_partitions_the_tokens_and_keeps_the_prefix(
    patches: int, ratio: float, masked: int
) -> None:
    kept, hidden = random_token_mask(5, patches, 1, ratio, torch.Generator().manual_seed(0))
    assert hidden.shape == (5, masked)
    assert kept[:, 0].eq(0).all()
    assert torch.cat([kept, hidden], dim=1).sort().values.eq(torch.arange(patches + 1)).all()
    assert not hidden.eq(0).any()


def test_mask_is_uniform_over_patches() -> None:
    _, hidden = random_token_mask(4000, 8, 0, 0.5, torch.Generator().manual_seed(0))
    shares = hidden.flatten().bincount(minlength=8) / 4000
    assert shares.sub(0.5).abs().max() < 0.04
