"""Views of whole images: torchvision's boxes and pixels, the batched executor for all the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as reference

from sslbench.views import geometry
from sslbench.views.apply import make_views, plain, transform
from sslbench.views.parameters import draw, take
from sslbench.views.policy import PLAIN, Blur, Crop
from sslbench.views.whole import WholeViews

MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
UNIT = torch.zeros(3), torch.ones(3)
CROP = Crop(scale=(0.08, 1.0), ratio=(0.75, 4 / 3))
CROPPED = replace(PLAIN, copies=2, crop=CROP)
SIZES = [(40, 61), (97, 33), (120, 160), (16, 16), (50, 300)]
COUNT = 3000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photographs(sizes=SIZES) -> list[torch.Tensor]:
    """Return bytes (height, width, 3): smooth with some noise, as photographs are."""
    found = []
    for number, (height, width) in enumerate(sizes):
        coarse = torch.rand(1, 3, 5, 5, generator=generator(number))
        smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0]
        noise = 0.2 * torch.rand(3, height, width, generator=generator(100 + number))
        found.append(((0.8 * smooth + noise) * 255).byte().permute(1, 2, 0).contiguous())
    return found


def made(views, images, size, norm=UNIT, seed=0, order=None):
    sizes = torch.tensor([image.shape[:2] for image in images]).float()
    whole = WholeViews(views, sizes, size, generator(seed))
    for position in order or range(len(images)):
        whole.cut(position, images[position])
    return whole.finish(*norm)


@pytest.mark.parametrize("size", [8, 32, 96])
def test_crops_are_torchvisions_resized_crop(size):
    images = photographs()
    views = made((CROPPED,), images, size)
    for copy, view in enumerate(views):
        for row, image in enumerate(images):
            height, width = (torch.full((10, 1), float(side)) for side in image.shape[:2])
            drawn = draw(CROPPED, 10, height, width, generator()).window
            box = drawn[copy * len(images) + row].int().tolist()
            pixels = image.permute(2, 0, 1)
            expected = reference.resized_crop(pixels, *box, [size, size], antialias=True)
            found = (view[row] * 255).round().int()
            assert (found - expected.int()).abs().max() <= 1


@pytest.mark.parametrize(("height", "width"), [(60, 200), (200, 60), (48, 64)])
def test_boxes_are_distributed_as_torchvisions_on_the_whole_image(height, width):
    sides = (torch.full((COUNT, 1), float(side)) for side in (height, width))
    ours = draw(replace(PLAIN, crop=CROP), COUNT, *sides, generator()).window.double().numpy()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        image = torch.empty(3, height, width)
        drawn = [
            RandomResizedCrop.get_params(image, list(CROP.scale), list(CROP.ratio))
            for _ in range(COUNT)
        ]
    theirs = np.array(drawn, dtype=np.float64)
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3, column
    areas = ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]
    assert stats.ks_2samp(*areas).pvalue > 1e-3


def test_each_image_has_the_box_of_its_own_size():
    sizes = torch.tensor(SIZES).float()
    mixed = draw(CROPPED, len(SIZES), sizes[:, :1], sizes[:, 1:], generator()).window
    for row, (height, width) in enumerate(SIZES):
        alike = draw(CROPPED, len(SIZES), height, width, generator()).window
        assert torch.equal(mixed[row], alike[row])


def test_both_ends_of_a_wide_image_are_seen():
    image = torch.zeros(30, 120, 3, dtype=torch.uint8)
    image[:, :2], image[:, -2:] = 255, 255
    view = replace(PLAIN, copies=200, crop=CROP)
    crops = torch.stack(made((view,), [image], 16))[:, 0, 0]
    assert (crops[:, :, 0].amax(dim=1) > 0.1).any()
    assert (crops[:, :, -1].amax(dim=1) > 0.1).any()


def test_images_of_one_size_become_what_the_batched_executor_makes_of_them():
    images = photographs([(48, 48)] * 6)
    rest = {"flip": 0.5, "grey": 0.3, "blur": Blur(probability=0.5, sigma=(0.1, 2.0))}
    views = (replace(CROPPED, **rest), replace(CROPPED, size=16, flip=0.5))
    batch = torch.stack(images).permute(0, 3, 1, 2)
    expected = make_views(views, batch, 32, *UNIT, generator())
    for found, wanted in zip(made(views, images, 32), expected, strict=True):
        assert (found - wanted).abs().max() < 1.1 / 255  # two passes, each rounded


def test_the_order_in_which_images_arrive_changes_no_bit():
    images = photographs()
    forward = made((CROPPED, PLAIN), images, 24)
    backward = made((CROPPED, PLAIN), images, 24, order=[4, 2, 0, 1, 3])
    assert all(torch.equal(*pair) for pair in zip(forward, backward, strict=True))
    other = made((CROPPED, PLAIN), images, 24, seed=1)
    assert not torch.equal(forward[0], other[0])
    assert not torch.equal(*forward[:2])


def test_without_a_crop_it_is_the_central_square():
    images = photographs([(40, 61), (61, 40)])
    (view,) = made((PLAIN,), images, 20, (MEAN, STD))
    boxes = [(0, 10, 40, 40), (10, 0, 40, 40)]
    for row, box in enumerate(boxes):
        square = geometry.cut(images[row], box, 20)
        assert torch.equal(view[row], plain(square[None], MEAN, STD)[0])


def test_padding_shifts_the_square_as_it_shifts_small_images():
    images, view = photographs([(40, 61)] * 3), replace(PLAIN, pad=2, rotation=10.0, flip=0.5)
    squares = torch.stack([geometry.cut(image, (0, 10, 40, 40), 20) for image in images])
    drawn = draw(view, 3, 20, 20, generator())
    expected = transform(squares, view, drawn, 20, MEAN, STD)
    (found,) = made((view,), images, 20, (MEAN, STD))
    assert torch.equal(found, expected)
    assert take(drawn, torch.tensor([1])).window.shape == (1, 4)
