"""The feed of encoded images: what is kept and who decodes changes no byte."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from sslbench.data.store import Split, split_path, write_split
from sslbench.pretraining import feed
from sslbench.pretraining.feed import Feed

SIZE = 28  # a canvas of 32
COUNT = 9


@pytest.fixture
def split(tmp_path):
    """Photographs of different sizes, as JPEG files."""
    rng = np.random.default_rng(0)
    contents = []
    for number in range(COUNT):
        pixels = rng.integers(0, 256, (40 + number, 60, 3), dtype=np.uint8)
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, "JPEG")
        contents.append(sink.getvalue())
    path = split_path(tmp_path, "train")
    write_split(path, contents, np.zeros(COUNT, np.int64), [str(row) for row in range(COUNT)])
    return Split(path)


def made(split):
    return Feed(split, SIZE, torch.device("cpu"))


@pytest.mark.parametrize("most_bytes", [2**30, 0])
@pytest.mark.parametrize("threads", [1, 2, 16])
def test_batches_are_what_the_decoder_gives(split, monkeypatch, most_bytes, threads):
    monkeypatch.setattr(feed, "MOST_KEPT_BYTES", most_bytes)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    images = made(split)
    for rows in ([3, 0, 3, 8], [1], [8, 0, 5, 1], list(range(COUNT))):
        expected = torch.from_numpy(split.decode(np.array(rows), 32)).permute(0, 3, 1, 2)
        assert torch.equal(images.images(torch.tensor(rows)), expected)


def test_an_image_is_decoded_once_where_all_fit(split, monkeypatch):
    decoded = []
    real = Split.decode

    def spy(self, rows, size):
        decoded.extend(rows)
        return real(self, rows, size)

    monkeypatch.setattr(Split, "decode", spy)
    images = made(split)
    for _ in range(3):
        images.images(torch.tensor([4, 2, 4]))
    assert sorted(decoded) == [2, 4]


def test_a_batch_may_be_changed_without_harm(split):
    images = made(split)
    index = torch.tensor([0, 1])
    first = images.images(index)
    before = first.clone()
    first.zero_()
    assert torch.equal(images.images(index), before)
