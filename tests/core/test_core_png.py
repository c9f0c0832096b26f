"""Pillow reads the output of our PNG encoder, with isa-l and with zlib."""

import io
import zlib
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from service.core import png
from service.core.png import encode_png

COMPRESSORS = {"isa-l": png.compress, "zlib": zlib.compress}
compressors = st.sampled_from(list(COMPRESSORS))
sides = {"min_side": 1, "max_side": 24}
grays = arrays("uint8", array_shapes(min_dims=2, max_dims=2, **sides))
colors = st.tuples(st.integers(1, 24), st.integers(1, 24), st.just(3)).flatmap(
    lambda shape: arrays("uint8", shape)
)


def encode_and_read(compressor: str, pixels: np.ndarray, **options) -> Image.Image:
    """The encoded image as read by Pillow, which verifies the checksums of the chunks."""
    with mock.patch.object(png, "compress", COMPRESSORS[compressor]):
        data = encode_png(pixels, **options)
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        image.load()
        return image.copy()


@settings(deadline=None)
@given(grays, compressors)
def test_gray(pixels, compressor):
    image = encode_and_read(compressor, pixels)
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), pixels)


@settings(deadline=None)
@given(colors, compressors)
def test_rgb(pixels, compressor):
    image = encode_and_read(compressor, pixels)
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), pixels)


@settings(deadline=None)
@given(grays, arrays("uint8", (256, 3)), compressors)
def test_indices_into_a_palette(indices, palette, compressor):
    image = encode_and_read(compressor, indices, palette=palette)
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), indices)
    assert np.array_equal(np.asarray(image.convert("RGB")), palette[indices])


def test_a_short_palette():
    palette = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    image = encode_and_read("zlib", np.array([[0, 1], [1, 0]], np.uint8), palette=palette)
    assert image.convert("RGB").getpixel((1, 0)) == (0, 0, 255)


@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize("shape", [(600, 500), (300, 400, 3)], ids=str)
def test_large_pictures(compressor, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert np.array_equal(np.asarray(encode_and_read(compressor, pixels)), pixels)


def test_non_contiguous_arrays():
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(7, 5, 3)
    for view in (pixels.transpose(1, 0, 2), pixels[::-1], pixels[:, ::2], pixels[:, :, ::-1]):
        assert np.array_equal(np.asarray(encode_and_read("isa-l", view)), view)


def test_text_is_latin_1_with_question_marks_for_other_characters():
    image = encode_and_read(
        "zlib", np.zeros((1, 1), np.uint8), text={"Title": "Sakai é 1", "Note": "β"}
    )
    assert image.info == {"Title": "Sakai é 1", "Note": "?"}


def test_equal_pixels_are_encoded_to_equal_bytes():
    pixels = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    assert encode_png(pixels) == encode_png(pixels.copy(order="F"))
