"""Conversion of uploads: exact pixels, as displayed by a viewer, and a report of the conversion."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from service.core.images import from_png, to_png
from service.core.uploads import UploadConversion, convert_upload
from tests.uploads.pictures import (
    GRAY,
    GRAY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    SIGNATURE,
    chunk,
    encode,
    header_chunk,
    palette,
    png,
    slope,
)

COLOR_SHAPE = (3, 28, 28)


def convert(
    data: bytes, shape=(1, 28, 28), background=0, **options
) -> tuple[np.ndarray, UploadConversion]:
    pixels, choices = convert_upload(data, shape, background, max_pixels=10**6, **options)
    assert tuple(pixels.shape) == shape
    return pixels, choices


def luma(color: np.ndarray) -> np.ndarray:
    """Gray of RGB by ITU-R 601-2, in integers: (19595 R + 38470 G + 7471 B + 2^15) / 2^16."""
    red, green, blue = np.moveaxis(color.astype(np.int64), -1, 0)
    return (red * 19595 + green * 38470 + blue * 7471 + 2**15) >> 16


def color_levels(levels: np.ndarray) -> np.ndarray:
    """Three different channels (H, W, 3) from one."""
    return np.stack([levels, 255 - levels, levels // 2], -1)


def test_gray_png_of_the_dataset_size_is_not_changed() -> None:
    pixels, choices = convert(png(slope()))
    assert np.array_equal(pixels[0], slope())
    assert choices == UploadConversion("png", 28, 28, 8)


def test_16_bit_gray_is_scaled_and_not_clipped() -> None:
    levels = np.arange(784).reshape(28, 28) * 83
    levels[0, :3] = 0, 256, 65535
    pixels, choices = convert(png(levels, 16))
    assert np.array_equal(pixels[0], np.floor(levels * 255 / 65535 + 0.5))
    assert list(pixels[0, 0, :3]) == [0, 1, 255]
    assert (choices.bits, choices.converted_from) == (16, None)


def test_16_bit_color_is_scaled_and_not_clipped() -> None:
    levels = color_levels(slope()).astype(np.uint16) * 257
    pixels, choices = convert(png(levels, 16, RGB), COLOR_SHAPE)
    assert np.array_equal(pixels, color_levels(slope()).transpose(2, 0, 1))
    gray, gray_choices = convert(png(levels, 16, RGB))
    assert np.array_equal(gray[0], luma(color_levels(slope())))
    assert (choices.bits, gray_choices.bits, gray_choices.converted_from) == (16, 16, "RGB")


def test_16_bit_color_keeps_the_upper_byte_of_each_sample() -> None:
    # The decoder truncates, which differs from rounding by at most one level: 65280..65535 are 255.
    levels = color_levels(slope()).astype(np.uint16) * 256 + 255
    pixels, _ = convert(png(levels, 16, RGB), COLOR_SHAPE)
    assert np.array_equal(pixels, (levels >> 8).transpose(2, 0, 1))


TRANSPARENT_COLORS = [
    (png(np.full((28, 28, 3), 7), 8, RGB, chunk(b"tRNS", struct.pack(">3H", 7, 7, 7))), 0),
    (png(np.full((28, 28, 3), 9), 8, RGB, chunk(b"tRNS", struct.pack(">3H", 7, 7, 7))), 9),
    (png(np.full((28, 28, 3), 2700), 16, RGB, chunk(b"tRNS", struct.pack(">3H", *[2700] * 3))), 0),
    (png(np.full((28, 28, 3), 2571), 16, RGB, chunk(b"tRNS", struct.pack(">3H", *[999] * 3))), 10),
    (png(np.full((28, 28), 7), 8, GRAY, chunk(b"tRNS", struct.pack(">H", 7))), 0),
    (png(np.full((28, 28), 9), 8, GRAY, chunk(b"tRNS", struct.pack(">H", 7))), 9),
]


@pytest.mark.parametrize(
    ("data", "level"),
    TRANSPARENT_COLORS,
    ids=["color", "other color", "16 bits", "other 16 bits", "gray", "other gray"],
)
def test_one_color_can_be_transparent(data: bytes, level: int) -> None:
    pixels, choices = convert(data)
    assert (pixels == level).all()
    assert choices.composited_on == 0


def test_16_bit_with_alpha_is_composited() -> None:
    levels = np.stack([np.full((28, 28), 65535), slope().astype(int) * 257], -1)
    pixels, choices = convert(png(levels, 16, GRAY_ALPHA))
    assert np.array_equal(pixels[0], slope())
    assert (choices.bits, choices.composited_on) == (16, 0)


def test_transparent_16_bit_level_is_composited() -> None:
    levels = np.full((28, 28), 65535)
    levels[0] = 30000
    data = png(levels, 16, GRAY, chunk(b"tRNS", struct.pack(">H", 30000)))
    pixels, choices = convert(data, background=0)
    assert np.array_equal(pixels[0, 0], np.zeros(28))
    assert np.array_equal(pixels[0, 1:], np.full((27, 28), 255))
    assert choices.composited_on == 0


@pytest.mark.parametrize("background", [0, 255])
def test_rgba_is_composited_on_the_dataset_background(background: int) -> None:
    levels = np.zeros((28, 28, 4), np.uint8)
    levels[..., :3] = 200
    levels[:, 10:, 3] = 255
    levels[:, 20:, 3] = 51  # a fifth
    pixels, choices = convert(png(levels, 8, RGBA), background=background)
    assert (pixels[0, :, :10] == background).all()
    assert (pixels[0, :, 10:20] == 200).all()
    assert (pixels[0, :, 20:] == background + (200 - background) / 5).all()
    assert choices.composited_on == background


def test_gray_with_alpha_is_composited() -> None:
    levels = np.stack([np.full((28, 28), 255), slope()], -1)
    pixels, choices = convert(png(levels, 8, GRAY_ALPHA))
    assert np.array_equal(pixels[0], slope())
    assert (choices.composited_on, choices.converted_from) == (0, None)


def test_palette_indices_are_converted_to_colors() -> None:
    colors = [(255, 255, 255), (10, 200, 30)]
    indices = (slope() % 2).astype(np.uint8)
    expected = np.array(colors)[indices]
    data = png(indices, 8, PALETTE, palette(colors))
    pixels, choices = convert(data, COLOR_SHAPE)
    assert np.array_equal(pixels, expected.transpose(2, 0, 1))
    gray, _ = convert(data)
    assert np.array_equal(gray[0], luma(expected))
    assert (choices.converted_from, choices.composited_on) == ("palette", None)


def test_palette_with_transparent_colors_is_composited() -> None:
    indices = (slope() % 2).astype(np.uint8)
    data = png(indices, 8, PALETTE, palette([(90, 90, 90), (255, 255, 255)]), chunk(b"tRNS", b"\0"))
    pixels, choices = convert(data)
    assert np.array_equal(pixels[0], indices * 255)
    assert (choices.converted_from, choices.composited_on) == ("palette", 0)


def test_one_bit_is_black_or_white() -> None:
    rows = np.packbits(slope() % 2, axis=1)
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    data = SIGNATURE + header_chunk(28, 28, 1) + body + chunk(b"IEND")
    pixels, choices = convert(data)
    assert np.array_equal(pixels[0], slope() % 2 * 255)
    assert (choices.bits, choices.converted_from) == (1, "bilevel")


def test_cmyk_is_converted_to_rgb() -> None:
    # A uniform color, which the JPEG preserves up to about one level.
    inks = {(0, 0, 0, 0): (255, 255, 255), (0, 0, 0, 255): (0, 0, 0), (255, 0, 0, 0): (0, 255, 255)}
    for ink, color in inks.items():
        data = encode(Image.new("CMYK", (28, 28), ink), "JPEG", quality=100)
        pixels, choices = convert(data, COLOR_SHAPE)
        center = pixels[:, 14, 14]
        assert np.abs(center.astype(int) - color).max() <= 2
        assert (choices.format, choices.converted_from) == ("jpeg", "CMYK")


def test_gray_jpeg_is_decoded() -> None:
    data = encode(Image.fromarray(slope()), "JPEG", quality=100)
    pixels, choices = convert(data)
    assert np.abs(pixels[0].astype(int) - slope()).max() <= 3
    assert choices == UploadConversion("jpeg", 28, 28, 8)


UPRIGHT = {
    1: slope(),
    2: slope()[:, ::-1],
    3: slope()[::-1, ::-1],
    4: slope()[::-1],
    5: slope().T,
    6: np.rot90(slope(), -1),
    7: slope()[::-1, ::-1].T,
    8: np.rot90(slope()),
}
"""The displayed image by EXIF orientation of the stored rows."""


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(slope()), "PNG", exif=exif)
    pixels, choices = convert(data)
    assert np.array_equal(pixels[0], UPRIGHT[orientation])
    assert choices.oriented == (None if orientation == 1 else orientation)
    rotated, jpeg_choices = convert(
        encode(Image.fromarray(slope()), "JPEG", exif=exif, quality=100)
    )
    assert np.abs(rotated[0].astype(int) - UPRIGHT[orientation]).max() <= 3
    assert jpeg_choices.oriented == choices.oriented


def test_exif_orientation_is_applied_to_16_bits() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png(slope().astype(int) * 257, 16, GRAY, chunk(b"eXIf", exif.tobytes()[6:]))
    pixels, choices = convert(data)
    assert np.array_equal(pixels[0], UPRIGHT[6])
    assert (choices.oriented, choices.bits) == (6, 16)


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"MM\0*\xff\xff\xff\xff", b"\0" * 40])
def test_invalid_exif_is_ignored(exif: bytes) -> None:
    pixels, choices = convert(png(slope(), 8, GRAY, chunk(b"eXIf", exif)))
    assert np.array_equal(pixels[0], slope())
    assert choices.oriented is None


def test_trailing_payload_is_dropped() -> None:
    payload = b"PK\x03\x04 <script>alert(1)</script>"
    for data in (png(slope()), encode(Image.fromarray(slope()), "JPEG")):
        pixels, choices = convert(data + payload)
        clean, clean_choices = convert(data)
        assert np.array_equal(pixels, clean)
        assert choices == clean_choices


def test_stored_png_has_the_same_pixels_without_metadata() -> None:
    data = png(slope(), 8, GRAY, chunk(b"tEXt", b"Author\0somebody"))
    pixels, _ = convert_upload(data, (1, 28, 28), 0, max_pixels=10**6)
    stored_png = to_png(torch.from_numpy(pixels))
    assert np.array_equal(from_png(stored_png), pixels)
    assert b"somebody" not in stored_png
    assert b"tEXt" not in stored_png


def test_colors_are_inverted_only_on_request() -> None:
    assert not convert(png(slope()))[1].inverted
    pixels, choices = convert(png(slope()), invert=True)
    assert np.array_equal(pixels[0], 255 - slope())
    assert choices.inverted


def test_inverted_transparency_has_the_dataset_background() -> None:
    levels = np.zeros((28, 28, 2), np.uint8)  # black ink
    levels[10:20, 10:20, 1] = 255  # opaque in one area, transparent elsewhere
    pixels, choices = convert(png(levels, 8, GRAY_ALPHA), invert=True)
    assert (pixels[0, :10] == 0).all()
    assert (pixels[0, 10:20, 10:20] == 255).all()
    assert choices.composited_on == 255


def test_larger_image_is_resized_and_padded() -> None:
    pixels, choices = convert(png(np.full((56, 28), 200)))
    assert choices.resized_to == (14, 28)
    assert choices.resized_by == "bilinear, antialiased"
    assert choices.padded_with == 0
    assert (pixels[0, :, 7:21] == 200).all()
    assert (pixels[0, :, :7] == 0).all()
    assert (pixels[0, :, 21:] == 0).all()


def test_interlaced_png_is_decoded() -> None:
    # Adam7 of one pixel is one pass with that pixel.
    interlaced = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1))
    data = SIGNATURE + interlaced + chunk(b"IDAT", zlib.compress(b"\0\x63")) + chunk(b"IEND")
    pixels, _ = convert(data)
    assert (pixels == 0x63).all()
