"""Images and annotations that lie: about their size, their place, their kind. Never a crash."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.core.errors import UserError
from sslbench.data import reading
from sslbench.data.prepare import prepare
from sslbench.data.splits import Item
from sslbench.data.store import decoding
from tests.faults.test_bad_images import BLOCK, encoded, noise
from tests.memory import peak_bytes

MIB = 2**20


def png(width, height):
    """A PNG of zeros of any size, in as few bytes as zlib makes of them."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes((width + 1) * height), 9)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("shape", [(200_000, 1), (1, 200_000), (1_000_000, 2)])
@pytest.mark.parametrize("size", [96, 128])
def test_a_line_of_pixels_is_not_blown_up_to_a_square(shape, size):
    """200,000 x 1 pixels in 200 bytes would be resized to 25,600,000 x 128: 13 GB."""
    image = decoding.to_rgb(png(*shape))
    with pytest.raises(decoding.BadImageError, match="too long and narrow"):
        decoding.square(image, size)


def test_a_panorama_is_an_image():
    assert decoding.square(decoding.to_rgb(png(20_000, 400)), 96).shape == (96, 96, 3)


def progressive(scans):
    """A progressive JPEG whose last scan stands there many times."""
    content = encoded(noise(1, 64), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * scans + content[-2:]


def test_a_jpeg_of_endless_scans_is_refused():
    assert decoding.to_rgb(progressive(3)).size == (64, 64)
    with pytest.raises(decoding.BadImageError, match="scans"):
        decoding.to_rgb(progressive(5000))


def test_sixteen_bits_take_no_eight_bytes():
    """32-bit integers hold every product, so that the largest image takes 0.7 GB and not 2."""
    content = encoded(Image.fromarray(np.full((1000, 1000), 25700, np.uint16)))
    assert peak_bytes(lambda: decoding.to_rgb(content)) < 14 * MIB


@pytest.fixture
def listed(tmp_path):
    """Return what reads one file of a list, as kinds voc, coco, davis and torchvision do."""

    def read(name, **options):
        items = [Item(name, -1, str(tmp_path / name))]
        return list(reading.file_batches(items, 16, "error", [], **options))

    return read


@pytest.mark.parametrize("kind", ["pipe", "folder", "zeros", "out"])
def test_a_listed_file_that_never_ends_or_lies_elsewhere(tmp_path, listed, kind):
    path = tmp_path / "a.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        noise(1).save(tmp_path.parent / "secret.png")
        path.symlink_to("/dev/zero" if kind == "zeros" else tmp_path.parent / "secret.png")
    with pytest.raises(UserError, match=r"regular file|out of the root"):
        listed("a.png")


@pytest.mark.parametrize("name", ["a\x00.png", "a\nb.png", "\x1b[2J.png", "x" * 5000])
def test_a_listed_name_that_no_file_has(listed, name):
    with pytest.raises(UserError) as caught:
        listed(name)
    assert str(caught.value).isprintable()


def test_a_folder_whose_name_is_not_utf8(tmp_path):
    for label, name in enumerate((b"cat", b"\xff")):
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/images/" + name))
        folder.mkdir(parents=True)
        for i in range(6):
            noise(100 * label + i).save(folder / f"{i}.png")
    with pytest.raises(UserError, match="not UTF-8") as caught:
        prepare("x", BLOCK | {"root": str(tmp_path / "images")}, tmp_path / "out")
    assert str(caught.value).isprintable()


def test_a_class_name_with_markup_and_line_breaks_is_only_a_name(tmp_path):
    names = ["<script>alert(1)</script>".replace("/", "|"), "a\nb", "=1+1", "$(touch pwned)"]
    for label, name in enumerate(names):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(6):
            noise(100 * label + i).save(tmp_path / "images" / name / f"{i}.png")
    info = prepare("x", BLOCK | {"root": str(tmp_path / "images")}, tmp_path / "out")
    assert info["classes"] == sorted(names)
    assert not list(tmp_path.rglob("pwned"))


def test_text_in_a_png_is_bounded():
    """A zTXt chunk that unpacks to 64 MiB: PIL refuses, and so do we, without the memory."""
    content = encoded(noise(1))
    body = b"zTXt" + b"k\x00\x00" + zlib.compress(bytes(64 * MIB), 9)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    hostile = content[:33] + chunk + content[33:]

    def read():
        try:
            decoding.to_rgb(hostile)
        except decoding.BadImageError:
            return

    assert peak_bytes(read) < 16 * MIB


def test_an_animation_is_its_first_frame():
    frames = [Image.new("L", (64, 64), shade) for shade in range(200)]
    sink = io.BytesIO()
    frames[0].save(sink, "GIF", save_all=True, append_images=frames[1:])
    assert decoding.to_rgb(sink.getvalue()).size == (64, 64)
