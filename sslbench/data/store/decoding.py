"""One way to turn the bytes of an image file into upright 8-bit RGB.

Grey, palette, CMYK and 1-bit images become RGB; 16-bit images are scaled by 255 / 65535;
transparency is composited on white, as on a page (the colours under full transparency are
arbitrary); EXIF orientation is applied; of several frames the first counts.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image, ImageOps

# Formats whose decoders may run; PIL's others (EPS calls a program) are refused.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = (".bmp", ".gif", ".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
# PIL's own warning threshold: a quarter of a GiB of 24-bit pixels.
MAX_PIXELS = 89_478_485
# EXIF orientations other than 1 (upright), and those of them that exchange width and height.
_CHANGED = range(2, 9)
_TURNED = range(5, 9)
# A progressive file's scans each pass over the whole image, so that a few bytes a scan can take
# hours; encoders write about ten.
_MAX_SCANS = 200
# What PIL's decoders raise on damaged input.
DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError,
    TypeError, OverflowError, MemoryError, AttributeError, Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # fmt: skip


class BadImageError(ValueError):
    """The bytes are no image that we read; the message says why."""


def to_rgb(content: bytes) -> Image.Image:
    """Return the upright RGB image in a file's bytes.

    Raises:
        BadImageError: empty, damaged, too large, or of a kind not read.
    """
    with _opened(content) as image:
        image.load()
        return _as_rgb(ImageOps.exif_transpose(image))


def size_of(content: bytes) -> tuple[int, int]:
    """Return (width, height) in pixels of the upright image, from the file's header.

    Raises:
        BadImageError: as `to_rgb`, as far as the header tells.
    """
    with _opened(content) as image:
        width, height = image.size
        # PIL gives a TIFF's size as it will be once upright.
        is_turned = image.format != "TIFF" and _orientation(image) in _TURNED
        return (height, width) if is_turned else (width, height)


def is_changed_unseen(content: bytes) -> bool:
    """Whether `to_rgb` mirrors or turns the file's pixels and keeps their width and height.

    Raises:
        BadImageError: as `to_rgb`, as far as the header tells.
    """
    with _opened(content) as image:
        orientation = _orientation(image)
        is_square = image.width == image.height
        return orientation in _CHANGED and (is_square or orientation not in _TURNED)


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """Yield the image of a file, of which nothing but the header has been read."""
    if not content:
        raise BadImageError("empty file")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _refuse_bomb(image)
            if image.format == "JPEG" and content.count(b"\xff\xda") > _MAX_SCANS:
                raise BadImageError(f"more than {_MAX_SCANS} scans")
            yield image
    except BadImageError:
        raise
    except DAMAGE as error:
        raise BadImageError(f"not a readable image ({error})") from None


def square(image: Image.Image, size: int) -> np.ndarray:
    """Return (size, size, 3) uint8: short side resized to `size` (bicubic), centre crop.

    Raises:
        BadImageError: so long and narrow that the resized image would fill the memory.
    """
    width, height = image.size
    scale = size / min(width, height)
    wide, high = max(size, round(width * scale)), max(size, round(height * scale))
    if wide * high > MAX_PIXELS:
        raise BadImageError(f"{width} x {height} pixels, too long and narrow for a square")
    if (wide, high) != image.size:
        image = image.resize((wide, high), Image.Resampling.BICUBIC)
    left, top = (wide - size) // 2, (high - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.uint8)


def resize_array(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return raw pixels (H, W, 3) uint8 as (size, size, 3) uint8, as `square` does."""
    return square(Image.fromarray(np.ascontiguousarray(pixels)), size)


def _orientation(image: Image.Image) -> int:
    found: int = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found


def _refuse_bomb(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadImageError(f"{width} x {height} pixels, more than {MAX_PIXELS}")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise BadImageError("floating-point pixels, whose range is not known")
    if image.mode.startswith("I"):
        return _from_16_bit(image).convert("RGB")
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(page, coloured).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int32).clip(0, 65535)  # int64 would be 3 GB at the most
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
