"""Damaged, hostile and odd image files: named, or counted and listed; never a traceback."""

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
from sslbench.data.prepare import prepare
from sslbench.data.store import Dataset, decoding

BLOCK = {
    "kind": "folder", "labelled": True, "size": 16, "seed": 0, "limit_per_class": None,
    "val_fraction": 0.2, "test_fraction": 0.2, "on_bad_image": "error",
}  # fmt: skip


def encoded(image, form="PNG", **options):
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def noise(seed, side=16):
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def folder(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(6):
            noise(100 * label + i).save(tmp_path / "images" / name / f"{i}.png")
    return tmp_path


def run(folder, **change):
    return prepare("x", BLOCK | {"root": str(folder / "images")} | change, folder / "out")


def bomb():
    """A PNG of 60,000 x 60,000 pixels in a few bytes."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


JPEG = encoded(noise(1, 64), "JPEG")
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
BAD = {
    "zero": (b"", "empty file"),
    "text": (b"this is not an image", "not a readable image"),
    "truncated": (JPEG[: len(JPEG) // 2], "truncated"),
    "header_only": (encoded(noise(1))[:40], "not a readable image"),
    "bomb": (bomb(), "pixels"),
    "postscript": (EPS, "not a readable image"),
    "float": (encoded(Image.new("F", (8, 8)), "TIFF"), "floating-point"),
}


@pytest.mark.parametrize("size", [16, None])
@pytest.mark.parametrize("kind", BAD)
def test_bad_file_is_named(folder, kind, size):
    content, says = BAD[kind]
    (folder / "images/cat/bad.png").write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        run(folder, size=size)
    assert "cat/bad.png" in str(caught.value)
    assert "on_bad_image" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (folder / "out/dataset.json").exists()


@pytest.mark.parametrize("size", [16, None])
def test_bad_files_are_skipped_and_listed(folder, size):
    for kind, (content, _) in BAD.items():
        (folder / f"images/cat/{kind}.png").write_bytes(content)
    info = run(folder, size=size, on_bad_image="skip")
    assert sum(info["counts"].values()) == 12
    files = [Path(row["id"]).name for row in info["skipped"] if row["id"].endswith(".png")]
    assert sorted(files) == sorted(f"{kind}.png" for kind in BAD)
    Dataset.open(folder / "out").verify()


def test_half_a_run_leaves_no_dataset_json(folder):
    run(folder)
    (folder / "images/cat/bad.png").write_bytes(b"")
    with pytest.raises(UserError):
        run(folder)
    with pytest.raises(UserError, match="file not found"):
        Dataset.open(folder / "out")
    assert not [path for path in (folder / "out").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("where", ["images/cat/link.png", "images/cat/deep"])
def test_link_out_of_the_root_is_refused(folder, where):
    (folder / "secret").mkdir()
    noise(9).save(folder / "secret" / "a.png")
    target = folder / "secret" / ("a.png" if where.endswith("png") else "")
    (folder / where).symlink_to(target)
    with pytest.raises(UserError, match="link"):
        run(folder)
    info = run(folder, on_bad_image="skip")
    assert sum(info["counts"].values()) == 12
    assert "link" in info["skipped"][0]["reason"]


def test_link_within_the_root_is_read(folder):
    noise(77).save(folder / "images/cat/real.png")
    (folder / "images/cat/link.png").symlink_to(folder / "images/cat/real.png")
    assert sum(run(folder)["counts"].values()) >= 13


@pytest.mark.parametrize("kind", ["fifo", "broken", "name"])
def test_odd_entries(folder, kind):
    if kind == "fifo":
        os.mkfifo(folder / "images/cat/pipe.png")
    elif kind == "broken":
        (folder / "images/cat/lost.png").symlink_to(folder / "images/nowhere.png")
    else:
        path = os.fsencode(folder / "images/cat") + b"/\xff.png"
        Path(os.fsdecode(path)).write_bytes(encoded(noise(5)))
    with pytest.raises(UserError, match=r"regular file|broken link|UTF-8"):
        run(folder)
    assert len(run(folder, on_bad_image="skip")["skipped"]) == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda root: None, "no images in the folder"),
        (lambda root: (root / "a.heic").write_bytes(b"x"), "1 .heic"),
        (lambda root: noise(0).save(root / "a.png"), "outside of any class folder"),
        (lambda root: ((root / "only").mkdir(), noise(0).save(root / "only/a.png")), "one class"),
    ],
)
def test_folders_without_classes(tmp_path, make, says):
    (tmp_path / "images").mkdir()
    make(tmp_path / "images")
    with pytest.raises(UserError, match=says):
        run(tmp_path)


def test_class_of_one_image(folder):
    (folder / "images/rare").mkdir()
    noise(50).save(folder / "images/rare/a.png")
    with pytest.raises(UserError, match=r"'rare' has 1 image\(s\)"):
        run(folder)


def test_test_class_not_in_train(folder):
    (folder / "images").rename(folder / "train")
    (folder / "images").mkdir()
    (folder / "train").rename(folder / "images/train")
    (folder / "images/test/bird").mkdir(parents=True)
    noise(50).save(folder / "images/test/bird/a.png")
    with pytest.raises(UserError, match="test has class 'bird' and train has not"):
        run(folder, test_fraction=0.0)


def test_out_that_is_a_file(folder):
    (folder / "out").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        run(folder)


MODES = {
    "grey": (encoded(Image.new("L", (8, 8), 100)), (100, 100, 100)),
    "bilevel": (encoded(Image.new("1", (8, 8), 1)), (255, 255, 255)),
    "palette": (encoded(Image.new("RGB", (8, 8), "red").quantize(4)), (255, 0, 0)),
    "half_alpha": (encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 128))), (255, 127, 127)),
    "clear": (encoded(Image.new("RGBA", (8, 8), (7, 9, 0, 0))), (255, 255, 255)),
    "grey_alpha": (encoded(Image.new("LA", (8, 8), (0, 0))), (255, 255, 255)),
    "cmyk": (
        encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100),
        (254, 0, 0),
    ),
    "16_bit": (encoded(Image.fromarray(np.full((8, 8), 25700, np.uint16))), (100, 100, 100)),
    "gif": (encoded(Image.new("RGB", (8, 8), "red"), "GIF"), (255, 0, 0)),
    "webp": (encoded(Image.new("RGB", (8, 8), "red"), "WEBP", lossless=True), (255, 0, 0)),
    "tiff": (encoded(Image.new("RGB", (8, 8), "red"), "TIFF"), (255, 0, 0)),
}


@pytest.mark.parametrize("mode", MODES)
def test_modes_become_rgb(mode):
    content, expected = MODES[mode]
    made = decoding.square(decoding.to_rgb(content), 8)
    assert made.shape == (8, 8, 3)
    assert np.abs(made.astype(int) - np.array(expected)).max() <= 2


def test_exif_orientation_is_applied():
    image = Image.new("RGB", (8, 16), "white")
    image.paste("black", (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: the top goes to the right
    made = np.asarray(decoding.to_rgb(encoded(image, exif=exif)))
    assert made.shape == (8, 16, 3)
    assert made[:, -4:].max() == 0
    assert made[:, :-4].min() == 255


def test_every_truncation_is_an_image_or_refused():
    for content in (encoded(noise(2, 8)), encoded(noise(2, 8), "GIF"), encoded(noise(2, 8), "BMP")):
        for end in range(0, len(content), 7):
            try:
                decoding.to_rgb(content[:end])
            except decoding.BadImageError:
                continue


@pytest.mark.filterwarnings("ignore")
def test_flipped_bytes_are_an_image_or_refused():
    rng = np.random.default_rng(0)
    for form in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"):
        content = encoded(noise(3, 24), form)
        for _ in range(15):
            damaged = bytearray(content)
            for at in rng.integers(0, len(content), 4):
                damaged[at] = rng.integers(256)
            try:
                decoding.to_rgb(bytes(damaged))
            except decoding.BadImageError:
                continue
