"""Photographs on their way to a network that learns: crops of the whole image, decoded once."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from sslbench.data.store import Split, write_split
from sslbench.evaluation.features.model import load_backbone, plain_view
from sslbench.evaluation.protocols.parts.images import JoinedImages, augmented_batches
from sslbench.evaluation.protocols.parts.transfer import Subject
from sslbench.views.policy import PLAIN, Crop, View

ENDS = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250]], np.uint8)  # left, middle, right


def photograph(seed, height=40, width=120):
    """A file of three squares side by side, red, green and blue, with a little noise."""
    pixels = np.repeat(ENDS, width // 3, axis=0)[None].repeat(height, axis=0)
    noise = np.random.default_rng(seed).integers(0, 6, pixels.shape, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels + noise).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def splits(tmp_path):
    made = []
    for name, count in (("train", 6), ("val", 3)):
        files = [photograph(seed) for seed in range(count)]
        ids = [f"{name}-{row}" for row in range(count)]
        write_split(tmp_path / f"{name}.arrow", files, np.arange(count) % 2, ids)
        made.append(Split(tmp_path / f"{name}.arrow"))
    return made


@pytest.fixture
def subject(checkpoint_dir):
    return Subject(checkpoint_dir, load_backbone(checkpoint_dir)[1], 0, "cpu")


def batches(subject, data, view, steps):
    made = augmented_batches(subject, data, view, 3, steps, "test")
    return torch.cat([images for images, _ in made])


def colours(subject, views):
    """Which channel is the strongest at each view's centre, in pixels of the file."""
    info = subject.info
    centre = views[:, :, info.size // 2, info.size // 2]
    return set((centre * torch.tensor(info.std) + torch.tensor(info.mean)).argmax(dim=1).tolist())


def test_small_crops_reach_both_ends_of_an_oblong_photograph(subject, splits):
    view = View(**{**PLAIN.__dict__, "crop": Crop(scale=(0.02, 0.05), ratio=(1.0, 1.0))})
    assert colours(subject, batches(subject, JoinedImages(splits), view, 12)) == {0, 1, 2}


def test_without_a_crop_training_sees_what_evaluation_sees(subject, splits):
    data = JoinedImages(splits)
    rows = np.arange(len(data))
    (made,) = data.views(rows, (PLAIN,), subject, torch.Generator())
    expected = plain_view(data.decode(rows, subject.info.size), subject.info, "cpu")
    assert made.shape == expected.shape
    # At the edges the evaluation's filter reaches beyond the square; inside, two levels at most.
    gap = (made - expected)[..., 2:-2].abs().max()
    assert gap <= 2 / 255 / min(subject.info.std)
    assert colours(subject, made) == {1}


def test_every_file_is_decoded_once_however_long_training_goes_on(subject, splits, monkeypatch):
    seen = []
    image = Split.image
    monkeypatch.setattr(
        Split, "image", lambda self, row: seen.append((self.path.stem, row)) or image(self, row)
    )
    for rows in (None, np.array([0, 1, 7])):
        batches(subject, JoinedImages(splits, rows), PLAIN, 6)
    assert sorted(seen) == [("train", row) for row in range(6)] + [("val", row) for row in range(3)]


def test_the_same_seed_gives_the_same_crops_whatever_the_threads(subject, splits):
    view = View(**{**PLAIN.__dict__, "crop": Crop(scale=(0.1, 1.0), ratio=(0.75, 1.3333))})
    made = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        made.append(batches(subject, JoinedImages(splits), view, 4))
    torch.set_num_threads(1)
    assert torch.equal(*made)


def test_an_image_is_that_of_its_split_and_row(subject, splits):
    """Rows of both splits, out of order, each told by its noise."""
    rows = np.array([8, 0, 5, 6])
    every = [split.image(row) for split in splits for row in range(len(split))]
    (made,) = JoinedImages(splits, rows).views(np.arange(4), (PLAIN,), subject, torch.Generator())
    (whole,) = JoinedImages(splits).views(np.arange(9), (PLAIN,), subject, torch.Generator())
    assert len({image.tobytes() for image in every}) == 6  # val's are train's first three
    assert torch.equal(made, whole[rows])
    assert torch.equal(made[0], whole[2])
    assert not torch.equal(made[0], made[1])
