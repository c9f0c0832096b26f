"""An upload becomes the pixels that whoever made it sees: exactly, and what was done is told."""

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
    head,
    palette,
    png,
    saved,
    slope,
)

COLOURS = (3, 28, 28)


def read(
    data: bytes, shape=(1, 28, 28), background=0, **options
) -> tuple[np.ndarray, UploadConversion]:
    pixels, choices = convert_upload(data, shape, background, max_pixels=10**6, **options)
    assert tuple(pixels.shape) == shape
    return pixels, choices


def luma(colour: np.ndarray) -> np.ndarray:
    """Gray of RGB by ITU-R 601-2, in integers: (19595 R + 38470 G + 7471 B + 2^15) / 2^16."""
    red, green, blue = np.moveaxis(colour.astype(np.int64), -1, 0)
    return (red * 19595 + green * 38470 + blue * 7471 + 2**15) >> 16


def three(levels: np.ndarray) -> np.ndarray:
    """Three different channels (H, W, 3) of one."""
    return np.stack([levels, 255 - levels, levels // 2], -1)


def test_a_gray_png_of_the_datasets_size_is_taken_as_it_is() -> None:
    pixels, choices = read(png(slope()))
    assert np.array_equal(pixels[0], slope())
    assert choices == UploadConversion("png", 28, 28, 8)


def test_16_bit_gray_is_scaled_and_not_clipped() -> None:
    levels = np.arange(784).reshape(28, 28) * 83
    levels[0, :3] = 0, 256, 65535
    pixels, choices = read(png(levels, 16))
    assert np.array_equal(pixels[0], np.floor(levels * 255 / 65535 + 0.5))
    assert list(pixels[0, 0, :3]) == [0, 1, 255]
    assert (choices.bits, choices.converted_from) == (16, None)


def test_16_bit_colour_is_scaled_and_not_clipped() -> None:
    levels = three(slope()).astype(np.uint16) * 257
    pixels, choices = read(png(levels, 16, RGB), COLOURS)
    assert np.array_equal(pixels, three(slope()).transpose(2, 0, 1))
    gray, told = read(png(levels, 16, RGB))
    assert np.array_equal(gray[0], luma(three(slope())))
    assert (choices.bits, told.bits, told.converted_from) == (16, 16, "RGB")


def test_16_bit_colour_keeps_the_upper_byte_of_each_sample() -> None:
    # The decoder's own scaling, at most a level from rounding: 65280 to 65535 are 255.
    levels = three(slope()).astype(np.uint16) * 256 + 255
    pixels, _ = read(png(levels, 16, RGB), COLOURS)
    assert np.array_equal(pixels, (levels >> 8).transpose(2, 0, 1))


CLEAR = [
    (png(np.full((28, 28, 3), 7), 8, RGB, chunk(b"tRNS", struct.pack(">3H", 7, 7, 7))), 0),
    (png(np.full((28, 28, 3), 9), 8, RGB, chunk(b"tRNS", struct.pack(">3H", 7, 7, 7))), 9),
    (png(np.full((28, 28, 3), 2700), 16, RGB, chunk(b"tRNS", struct.pack(">3H", *[2700] * 3))), 0),
    (png(np.full((28, 28, 3), 2571), 16, RGB, chunk(b"tRNS", struct.pack(">3H", *[999] * 3))), 10),
    (png(np.full((28, 28), 7), 8, GRAY, chunk(b"tRNS", struct.pack(">H", 7))), 0),
    (png(np.full((28, 28), 9), 8, GRAY, chunk(b"tRNS", struct.pack(">H", 7))), 9),
]


@pytest.mark.parametrize(
    ("data", "level"),
    CLEAR,
    ids=["colour", "another", "16 bits", "another of 16 bits", "gray", "another gray"],
)
def test_one_colour_may_stand_for_transparent(data: bytes, level: int) -> None:
    pixels, choices = read(data)
    assert (pixels == level).all()
    assert choices.composited_on == 0


def test_16_bit_with_alpha_is_composited() -> None:
    levels = np.stack([np.full((28, 28), 65535), slope().astype(int) * 257], -1)
    pixels, choices = read(png(levels, 16, GRAY_ALPHA))
    assert np.array_equal(pixels[0], slope())
    assert (choices.bits, choices.composited_on) == (16, 0)


def test_a_16_bit_level_that_stands_for_transparent_is_composited() -> None:
    levels = np.full((28, 28), 65535)
    levels[0] = 30000
    data = png(levels, 16, GRAY, chunk(b"tRNS", struct.pack(">H", 30000)))
    pixels, choices = read(data, background=0)
    assert np.array_equal(pixels[0, 0], np.zeros(28))
    assert np.array_equal(pixels[0, 1:], np.full((27, 28), 255))
    assert choices.composited_on == 0


@pytest.mark.parametrize("background", [0, 255])
def test_rgba_is_composited_on_the_datasets_background(background: int) -> None:
    levels = np.zeros((28, 28, 4), np.uint8)
    levels[..., :3] = 200
    levels[:, 10:, 3] = 255
    levels[:, 20:, 3] = 51  # a fifth
    pixels, choices = read(png(levels, 8, RGBA), background=background)
    assert (pixels[0, :, :10] == background).all()
    assert (pixels[0, :, 10:20] == 200).all()
    assert (pixels[0, :, 20:] == background + (200 - background) / 5).all()
    assert choices.composited_on == background


def test_gray_with_alpha_is_composited() -> None:
    levels = np.stack([np.full((28, 28), 255), slope()], -1)
    pixels, choices = read(png(levels, 8, GRAY_ALPHA))
    assert np.array_equal(pixels[0], slope())
    assert (choices.composited_on, choices.converted_from) == (0, None)


def test_a_palette_gives_its_colours_and_not_its_indices() -> None:
    colours = [(255, 255, 255), (10, 200, 30)]
    indices = (slope() % 2).astype(np.uint8)
    wanted = np.array(colours)[indices]
    data = png(indices, 8, PALETTE, palette(colours))
    pixels, choices = read(data, COLOURS)
    assert np.array_equal(pixels, wanted.transpose(2, 0, 1))
    gray, _ = read(data)
    assert np.array_equal(gray[0], luma(wanted))
    assert (choices.converted_from, choices.composited_on) == ("palette", None)


def test_a_palette_with_transparent_colours_is_composited() -> None:
    indices = (slope() % 2).astype(np.uint8)
    data = png(indices, 8, PALETTE, palette([(90, 90, 90), (255, 255, 255)]), chunk(b"tRNS", b"\0"))
    pixels, choices = read(data)
    assert np.array_equal(pixels[0], indices * 255)
    assert (choices.converted_from, choices.composited_on) == ("palette", 0)


def test_one_bit_is_black_and_white() -> None:
    rows = np.packbits(slope() % 2, axis=1)
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    data = SIGNATURE + head(28, 28, 1) + body + chunk(b"IEND")
    pixels, choices = read(data)
    assert np.array_equal(pixels[0], slope() % 2 * 255)
    assert (choices.bits, choices.converted_from) == (1, "bilevel")


def test_cmyk_gives_the_colours_of_its_inks() -> None:
    # Flat, so that the JPEG holds it but for a level or so.
    inks = {(0, 0, 0, 0): (255, 255, 255), (0, 0, 0, 255): (0, 0, 0), (255, 0, 0, 0): (0, 255, 255)}
    for ink, colour in inks.items():
        data = saved(Image.new("CMYK", (28, 28), ink), "JPEG", quality=100)
        pixels, choices = read(data, COLOURS)
        seen = pixels[:, 14, 14]
        assert np.abs(seen.astype(int) - colour).max() <= 2
        assert (choices.format, choices.converted_from) == ("jpeg", "CMYK")


def test_a_gray_jpeg_is_what_its_decoder_says() -> None:
    data = saved(Image.fromarray(slope()), "JPEG", quality=100)
    pixels, choices = read(data)
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
"""By EXIF's orientation: how the stored rows are to be looked at."""


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_rotation_is_undone(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(slope()), "PNG", exif=exif)
    pixels, choices = read(data)
    assert np.array_equal(pixels[0], UPRIGHT[orientation])
    assert choices.oriented == (None if orientation == 1 else orientation)
    rotated, told = read(saved(Image.fromarray(slope()), "JPEG", exif=exif, quality=100))
    assert np.abs(rotated[0].astype(int) - UPRIGHT[orientation]).max() <= 3
    assert told.oriented == choices.oriented


def test_exif_rotation_of_16_bits_is_undone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png(slope().astype(int) * 257, 16, GRAY, chunk(b"eXIf", exif.tobytes()[6:]))
    pixels, choices = read(data)
    assert np.array_equal(pixels[0], UPRIGHT[6])
    assert (choices.oriented, choices.bits) == (6, 16)


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"MM\0*\xff\xff\xff\xff", b"\0" * 40])
def test_notes_that_cannot_be_read_leave_the_picture(exif: bytes) -> None:
    pixels, choices = read(png(slope(), 8, GRAY, chunk(b"eXIf", exif)))
    assert np.array_equal(pixels[0], slope())
    assert choices.oriented is None


def test_a_trailing_payload_is_dropped() -> None:
    payload = b"PK\x03\x04 <script>alert(1)</script>"
    for data in (png(slope()), saved(Image.fromarray(slope()), "JPEG")):
        pixels, choices = read(data + payload)
        clean, told = read(data)
        assert np.array_equal(pixels, clean)
        assert choices == told


def test_what_is_kept_is_a_png_of_our_own_with_the_same_pixels() -> None:
    data = png(slope(), 8, GRAY, chunk(b"tEXt", b"Author\0somebody"))
    pixels, _ = convert_upload(data, (1, 28, 28), 0, max_pixels=10**6)
    kept = to_png(torch.from_numpy(pixels))
    assert np.array_equal(from_png(kept), pixels)
    assert b"somebody" not in kept
    assert b"tEXt" not in kept


def test_inverting_is_only_done_where_it_is_asked_for() -> None:
    assert not read(png(slope()))[1].inverted
    pixels, choices = read(png(slope()), invert=True)
    assert np.array_equal(pixels[0], 255 - slope())
    assert choices.inverted


def test_black_on_white_with_transparency_is_inverted_to_the_datasets_background() -> None:
    levels = np.zeros((28, 28, 2), np.uint8)  # black ink
    levels[10:20, 10:20, 1] = 255  # in one place, on nothing
    pixels, choices = read(png(levels, 8, GRAY_ALPHA), invert=True)
    assert (pixels[0, :10] == 0).all()
    assert (pixels[0, 10:20, 10:20] == 255).all()
    assert choices.composited_on == 255


def test_a_larger_picture_is_resized_and_another_shape_padded() -> None:
    pixels, choices = read(png(np.full((56, 28), 200)))
    assert choices.resized_to == (14, 28)
    assert choices.resized_by == "bilinear, antialiased"
    assert choices.padded_with == 0
    assert (pixels[0, :, 7:21] == 200).all()
    assert (pixels[0, :, :7] == 0).all()
    assert (pixels[0, :, 21:] == 0).all()


def test_an_interlaced_png_is_read() -> None:
    # Adam7 of one pixel is one pass of it.
    interlaced = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1))
    data = SIGNATURE + interlaced + chunk(b"IDAT", zlib.compress(b"\0\x63")) + chunk(b"IEND")
    pixels, _ = read(data)
    assert (pixels == 0x63).all()
