"""Any bytes as an image: refused in a line, or upright RGB of the size that the header says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sslbench.data.store import decoding
from tests.faults.test_bad_images import encoded, noise
from tests.properties.hostile import damaged

pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = noise(1, 24)
SOUND = [
    *(encoded(SMALL, form) for form in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM")),
    encoded(SMALL, "JPEG", progressive=True),
    encoded(SMALL, "WEBP", lossless=True),
    encoded(SMALL, "TIFF", compression="tiff_lzw"),
    encoded(SMALL.quantize(8), "PNG"),
    encoded(SMALL.convert("LA"), "PNG"),
    encoded(Image.fromarray(np.full((9, 7), 25700, np.uint16)), "PNG"),
]
HEADS = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"GIF89a", b"RIFF\x99\x00\x00\x00WEBPVP8", b"II*\0",
         b"BM", b"P6 9 9 255\n", b"%!PS-Adobe", b"\x00\x00\x01\x00", b""]  # fmt: skip
MOST = (
    4_000_000  # pixels that a property decodes; what a larger header costs stands in tests/faults
)


def check(content):
    try:
        width, height = decoding.size_of(content)
        if width * height > MOST:
            return
        image = decoding.to_rgb(content)
        assert (image.mode, image.size) == ("RGB", (width, height))
        made = decoding.square(image, 8)
        assert made.shape == (8, 8, 3)
        assert made.dtype == np.uint8
    except decoding.BadImageError:
        return


@given(st.sampled_from(SOUND).flatmap(damaged))
def test_a_damaged_image(content):
    check(content)


@given(st.builds(bytes.__add__, st.sampled_from(HEADS), st.binary(max_size=200)))
def test_bytes_of_chance(content):
    check(content)


@given(st.tuples(st.sampled_from(SOUND), st.sampled_from(SOUND), st.floats(0, 1), st.floats(0, 1)))
def test_two_images_spliced(parts):
    first, second, end, start = parts
    check(first[: int(end * len(first))] + second[int(start * len(second)) :])
