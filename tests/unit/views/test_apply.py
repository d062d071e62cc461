"""The executor: documented order, torchvision's result, no chance but the generator's."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from sslbench.core.errors import UserError
from sslbench.views import apply, colour
from sslbench.views.apply import make_views, plain, transform
from sslbench.views.parameters import Parameters, draw, take
from sslbench.views.policy import PLAIN, Blur, Crop, Jitter, View

MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
UNIT = torch.zeros(3), torch.ones(3)
SIMCLR = View(
    copies=2, size=None, crop=Crop(scale=(0.08, 1.0), ratio=(0.75, 4 / 3)), pad=0, rotation=0.0,
    flip=0.5, jitter=Jitter(probability=0.8, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2),
    grey=0.2, blur=Blur(probability=0.5, sigma=(0.1, 2.0)), solarise=0.3,
)  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(batch: int = 40, height: int = 32, width: int = 32) -> torch.Tensor:
    shape = (batch, 3, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(7))


def by_torchvision(image: torch.Tensor, drawn: Parameters, row: int, size: int) -> torch.Tensor:
    """Return one image through torchvision's operators, in the documented order."""
    pixels = reference.to_dtype(image, torch.float32, scale=True)
    window = [int(value) for value in drawn.window[row]]
    pixels = reference.resized_crop(pixels, *window, [size, size], antialias=True)
    pixels = reference.horizontal_flip(pixels) if drawn.flip[row] else pixels
    if drawn.jitter.applied[row]:
        pixels = _jitter(pixels, drawn, row)
    if drawn.grey[row]:
        pixels = reference.rgb_to_grayscale(pixels, num_output_channels=3)
    if drawn.sigma[row] > 0:
        pixels = reference.gaussian_blur(pixels, [13, 13], [drawn.sigma[row].item()] * 2)
    return reference.solarize(pixels, 0.5) if drawn.solarise[row] else pixels


def _jitter(pixels: torch.Tensor, drawn: Parameters, row: int) -> torch.Tensor:
    adjust = [reference.adjust_brightness, reference.adjust_contrast, reference.adjust_saturation]
    for operation in drawn.jitter.order[row].tolist():
        if operation == 3:
            pixels = reference.adjust_hue(pixels, drawn.jitter.hue[row].item())
        else:
            pixels = adjust[operation](pixels, drawn.jitter.factors[row, operation].item())
    return pixels


@pytest.mark.parametrize("selects", [True, False])
def test_the_whole_view_is_torchvisions(monkeypatch, selects):
    monkeypatch.setattr(colour, "selects", lambda pixels: selects)
    batch = images()
    drawn = draw(SIMCLR, len(batch), 32, 32, generator())
    done = transform(batch, SIMCLR, drawn, 32, *UNIT)
    for row, image in enumerate(batch):
        expected = by_torchvision(image, drawn, row, 32)
        if drawn.solarise[row]:  # 1e-7 on either side of one half is no more than itself
            expected = torch.minimum(expected, 1 - expected)
        assert (done[row] - expected).abs().max() < 1 / 255, row


def test_it_normalises_last():
    batch = images(3)
    drawn = draw(SIMCLR, 3, 32, 32, generator())
    bare = transform(batch, SIMCLR, drawn, 32, *UNIT)
    done = transform(batch, SIMCLR, drawn, 32, MEAN, STD)
    assert torch.allclose(done, reference.normalize(bare, MEAN.tolist(), STD.tolist()), atol=1e-6)


def test_plain_only_scales_and_normalises():
    batch = images(3)
    expected = reference.normalize(batch / 255, MEAN.tolist(), STD.tolist())
    assert torch.allclose(plain(batch, MEAN, STD), expected, atol=1e-6)
    made = make_views((PLAIN,), batch, 32, MEAN, STD, generator())
    assert torch.equal(made[0], plain(batch, MEAN, STD))


@pytest.mark.parametrize("view", [SIMCLR, replace(SIMCLR, crop=None, pad=3, rotation=25.0)])
def test_one_image_alone_becomes_what_it_becomes_in_its_batch(view):
    batch = images()
    drawn = draw(view, len(batch), 32, 32, generator())
    done = transform(batch, view, drawn, 32, MEAN, STD)
    for row in (0, 13, 39):
        index = torch.tensor([row])
        alone = transform(batch[index], view, take(drawn, index), 32, MEAN, STD)
        assert (alone[0] - done[row]).abs().max() < 1e-5


def test_chunks_change_nothing(monkeypatch):
    batch = images()
    whole = make_views((SIMCLR,), batch, 32, MEAN, STD, generator())
    monkeypatch.setattr(apply, "_CHUNK_VALUES", 7 * 3 * 32 * 32)
    chunked = make_views((SIMCLR,), batch, 32, MEAN, STD, generator())
    for one, other in zip(whole, chunked, strict=True):
        assert (one - other).abs().max() < 1e-5


def test_the_same_seed_gives_the_same_bits_and_copies_differ():
    batch = images()
    first, again, other = (
        make_views((SIMCLR,), batch, 32, MEAN, STD, generator(seed)) for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], first[1])


def test_global_chance_is_neither_read_nor_moved():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    make_views((SIMCLR,), images(4), 32, MEAN, STD, generator())
    assert torch.equal(before, torch.get_rng_state())


def test_copies_come_one_whole_batch_after_another():
    batch = images(6)
    made = make_views((SIMCLR,), batch, 32, MEAN, STD, generator())
    drawn = draw(SIMCLR, 12, 32, 32, generator())
    for copy, found in enumerate(made):
        mine = take(drawn, torch.arange(6) + 6 * copy)
        torch.testing.assert_close(found, transform(batch, SIMCLR, mine, 32, MEAN, STD))
    assert not torch.allclose(*made)


def test_views_come_in_order_and_at_their_own_sizes():
    small = replace(SIMCLR, copies=3, size=16)
    made = make_views((SIMCLR, small, PLAIN), images(5, 40, 48), 32, MEAN, STD, generator())
    assert [tuple(view.shape[1:]) for view in made] == [(3, 32, 32)] * 2 + [(3, 16, 16)] * 3 + [
        (3, 32, 32)
    ]
    assert all(view.is_contiguous() and view.dtype == torch.float32 for view in made)


def test_padding_then_cropping_shifts_with_zeros():
    view = replace(PLAIN, pad=2)
    batch = images(6)
    drawn = draw(view, 6, 32, 32, generator())
    done = transform(batch, view, drawn, 32, *UNIT)
    for row, window in enumerate(drawn.window.int().tolist()):
        padded = reference.pad(batch[row] / 255, [2, 2, 2, 2])
        assert (done[row] - reference.crop(padded, *window)).abs().max() < 1e-6


def test_flips_come_after_rotations():
    view = replace(PLAIN, rotation=30.0, flip=1.0)
    drawn = Parameters(angle=torch.full((2,), math.radians(30)), flip=torch.tensor([True, False]))
    batch = images(1).expand(2, -1, -1, -1)
    done = transform(batch, view, drawn, 32, *UNIT)
    assert torch.equal(done[0], done[1].flip(2))


def test_a_flip_alone_only_mirrors():
    batch = images(2)
    drawn = Parameters(flip=torch.tensor([True, False]))
    done = transform(batch, replace(PLAIN, flip=0.5), drawn, 32, *UNIT)
    bare = plain(batch, *UNIT)
    assert torch.equal(done[0], bare[0].flip(2))
    assert torch.equal(done[1], bare[1])


def test_images_are_not_changed_and_layout_does_not_matter():
    batch = images(6)
    before = batch.clone()
    made = make_views((SIMCLR,), batch, 32, MEAN, STD, generator())
    assert torch.equal(batch, before)
    channels_last = batch.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    again = make_views((SIMCLR,), channels_last, 32, MEAN, STD, generator())
    assert torch.equal(made[0], again[0])


def test_autocast_does_not_reach_the_pixels():
    batch = images(6)
    made = make_views((SIMCLR,), batch, 32, MEAN, STD, generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = make_views((SIMCLR,), batch, 32, MEAN, STD, generator())
    assert torch.equal(made[0], again[0])


def test_an_empty_batch_gives_empty_views():
    made = make_views((SIMCLR,), images(0), 32, MEAN, STD, generator())
    assert made[0].shape == (0, 3, 32, 32)


def test_colour_on_other_than_rgb_is_refused():
    with pytest.raises(UserError, match="need RGB"):
        make_views((SIMCLR,), images(2)[:, :1], 32, MEAN[:1], STD[:1], generator())


def test_off_the_cpu_no_operation_waits_for_a_value():
    """Meta tensors hold none, so whatever asks for one fails."""
    view = replace(SIMCLR, rotation=10.0)
    drawn = _to(draw(view, 6, 32, 32, generator()), torch.device("meta"))
    assert apply._apply(images(6).to("meta"), view, drawn, 32).shape == (6, 3, 32, 32)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu_and_never_waits():
    batch = images()
    drawn = draw(SIMCLR, len(batch), 32, 32, generator())
    expected = transform(batch, SIMCLR, drawn, 32, MEAN, STD)
    device = torch.device("cuda")
    source = torch.Generator(device).manual_seed(0)
    arguments = batch.to(device), 32, MEAN.to(device), STD.to(device)
    make_views((SIMCLR,), *arguments, source)
    torch.cuda.set_sync_debug_mode("error")
    try:
        make_views((SIMCLR, replace(SIMCLR, crop=None, rotation=9.0)), *arguments, source)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    done = transform(batch.to(device), SIMCLR, _to(drawn, device), *arguments[1:])
    assert (done.cpu() - expected).abs().max() < 4 / 255 / STD.min()


def _to(drawn: Parameters, device: torch.device) -> Parameters:
    jitter = type(drawn.jitter)(**{name: v.to(device) for name, v in vars(drawn.jitter).items()})
    moved = {name: v.to(device) for name, v in vars(drawn).items() if torch.is_tensor(v)}
    return replace(drawn, **moved, jitter=jitter)
