"""Networks over Lab: what each trunk can see, and what travels with the weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sslbench import backbones
from sslbench.backbones.lab_resnet import LabResNet
from sslbench.backbones.residual import conv1x1
from sslbench.core import artifacts
from sslbench.core.errors import UserError
from tests.unit.backbones.test_colour_space import lab_to_rgb

TINY = {"family": "lab_resnet", "depth": "tiny", "stem": "small_stride2", "width": 8}
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def build(sees: str, seed: int = 0) -> LabResNet:
    torch.manual_seed(seed)
    backbone = backbones.build(TINY | {"sees": sees, "image_size": 32}).eval()
    backbone.set_normalisation(MEAN, STD)
    return backbone


def paint(*cells: tuple[float, float, float]) -> Tensor:
    """Normalised images (1, 3, 32, 32) of 2 x 2 flat squares of given Lab."""
    rgb = torch.tensor([lab_to_rgb(*cell) for cell in cells]).T.reshape(1, 3, 2, 2).float()
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    normalised = (rgb - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    return normalised.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)


PLAIN = paint((50, 10, 10), (60, 0, 20), (40, -5, 5), (70, 8, -8))
RECOLOURED = paint((50, -20, 5), (60, 15, -25), (40, 10, 10), (70, -8, 8))
RELIT = paint((60, 10, 10), (50, 0, 20), (55, -5, 5), (40, 8, -8))


@pytest.mark.parametrize("name", LabResNet.layers)
def test_lightness_ignores_colour_and_nothing_else(name: str) -> None:
    backbone = build("lightness")
    plain, recoloured, relit = (backbone.extract(i)[name] for i in (PLAIN, RECOLOURED, RELIT))
    assert torch.allclose(plain, recoloured, atol=1e-4)
    assert not torch.allclose(plain, relit, atol=1e-2)


@pytest.mark.parametrize("name", LabResNet.layers)
def test_each_half_ignores_what_the_other_sees(name: str) -> None:
    backbone = build("halves")
    plain, recoloured, relit = (
        backbone.extract(i)[name].chunk(2, dim=1) for i in (PLAIN, RECOLOURED, RELIT)
    )
    assert torch.allclose(plain[0], recoloured[0], atol=1e-4)
    assert torch.allclose(plain[1], relit[1], atol=1e-4)
    assert not torch.allclose(plain[0], relit[0], atol=1e-2)
    assert not torch.allclose(plain[1], recoloured[1], atol=1e-2)


def test_no_edge_crosses_between_the_halves() -> None:
    backbone = build("halves")
    lab = (
        50 * torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ).requires_grad_()
    backbone.lab = lambda images: images
    for half, own in enumerate((slice(0, 1), slice(1, 3))):
        (gradient,) = torch.autograd.grad(backbone(lab).chunk(2, dim=1)[half].sum(), lab)
        assert gradient[:, own].any()
        gradient[:, own] = 0
        assert not gradient.any()


def test_lab_undoes_the_normalisation() -> None:
    found = build("lightness").lab(PLAIN)[0, :, ::16, ::16].flatten(1).T
    expected = torch.tensor([(50, 10, 10), (60, 0, 20), (40, -5, 5), (70, 8, -8)]).float()
    assert torch.allclose(found, expected, atol=1e-2)


@pytest.mark.parametrize("sees", ["lightness", "halves"])
def test_the_normalisation_travels_with_the_weights(sees: str, tmp_path) -> None:
    backbone = build(sees)
    artifacts.write_tensors(tmp_path / "weights", backbone.state_dict())
    fresh = backbones.build(TINY | {"sees": sees}).eval()
    fresh.load_state_dict(artifacts.read_tensors(tmp_path / "weights"))
    assert torch.equal(fresh(PLAIN), backbone(PLAIN))


def test_two_halves_have_about_half_the_parameters() -> None:
    count = {s: sum(p.numel() for p in build(s).parameters()) for s in ("lightness", "halves")}
    assert count["halves"] / count["lightness"] == pytest.approx(0.5, abs=0.03)
    assert build("halves").feature_dim == build("lightness").feature_dim == 64


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sees": "hue"}, "known: lightness, halves"),
        ({"sees": "halves", "width": 7}, "multiple of 2"),
        ({"sees": "lightness", "stem": "huge"}, "known: small"),
        ({}, "missing key 'sees'"),
    ],
)
def test_a_wrong_spec_is_refused(change, says) -> None:
    with pytest.raises(UserError, match=says):
        backbones.build(TINY | change)


LARGE = """
import sys
import torch
from sslbench import backbones

spec = {"family": "lab_resnet", "depth": "tiny", "stem": "small_stride2", "image_size": 96}
backbone = backbones.build(spec | {"width": int(sys.argv[1]), "sees": "halves"})
backbone.set_normalisation((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
backbone = backbone.to(memory_format=torch.channels_last)
for _ in range(2):
    images = torch.randn(8, 3, 96, 96).contiguous(memory_format=torch.channels_last)
    backbone(images).sum().backward()
"""


@pytest.mark.parametrize("width", ["8", "16"])
def test_large_images_pass_backward_through_narrow_halves(width: str) -> None:
    """In a process of its own: oneDNN's fault hangs or ends it (8 with AVX2, 16 with AVX-512)."""
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", LARGE, width], cwd=root, check=True, timeout=120)


def test_few_channels_are_convolved_as_torch_does() -> None:
    torch.manual_seed(0)
    ours = conv1x1(8, 16, stride=2)
    theirs = nn.Conv2d(8, 16, 1, stride=2, bias=False)
    theirs.load_state_dict(ours.state_dict())
    ours_in, theirs_in = (torch.randn(2, 8, 7, 10).requires_grad_() for _ in range(2))
    with torch.no_grad():
        theirs_in.copy_(ours_in)
    found, expected = ours(ours_in), theirs(theirs_in)
    assert torch.allclose(found, expected, atol=1e-6)
    weights = torch.randn_like(found)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    assert torch.allclose(ours_in.grad, theirs_in.grad, atol=1e-6)
    assert torch.allclose(ours.weight.grad, theirs.weight.grad, atol=1e-4)
