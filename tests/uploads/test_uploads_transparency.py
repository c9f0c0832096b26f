"""tRNS of gray and RGB PNGs: the specified samples, of any depth, become the background."""

import struct
import zlib

import numpy as np
import pytest

from service.core.uploads import convert_upload
from tests.uploads.pictures import GRAY, RGB, SIGNATURE, chunk, header_chunk

BACKGROUND = 77


def packed_png(samples: np.ndarray, bits: int, color_type: int, transparent: list[int]) -> bytes:
    """A PNG of samples (H, W) or (H, W, 3) of any depth, written bit by bit."""
    height, width = samples.shape[:2]
    rows = []
    for row in samples.reshape(height, -1):
        text = "".join(f"{int(sample):0{bits}b}" for sample in row)
        text += "0" * (-len(text) % 8)
        rows.append(b"\0" + int(text, 2).to_bytes(len(text) // 8, "big"))
    trns = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(rows)))
    return (
        SIGNATURE + header_chunk(width, height, bits, color_type) + trns + pixels + chunk(b"IEND")
    )


def scale_to_8_bits(samples: np.ndarray, bits: int) -> np.ndarray:
    highest = 2**bits - 1
    return (samples.astype(np.int64) * 255 + highest // 2) // highest


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_each_level_of_gray_can_be_transparent(bits: int) -> None:
    highest = 2**bits - 1
    levels = np.unique(np.linspace(0, highest, 16).astype(int))
    samples = np.resize(levels, (4, 16))
    for level in levels:
        data = packed_png(samples, bits, GRAY, [level])
        pixels, choices = convert_upload(data, (1, 4, 16), BACKGROUND, max_pixels=1000)
        expected = np.where(samples == level, BACKGROUND, scale_to_8_bits(samples, bits))
        assert np.array_equal(pixels[0], expected), (bits, level)
        assert choices.composited_on == BACKGROUND


def test_16_bits_are_compared_before_they_are_scaled() -> None:
    samples = np.array([[0x1200, 0x1201, 0x12FF, 0x1300]])
    data = packed_png(samples, 16, GRAY, [0x1201])
    pixels, _ = convert_upload(data, (1, 1, 4), BACKGROUND, max_pixels=1000)
    assert pixels[0, 0].tolist() == [0x12, BACKGROUND, 0x13, 0x13]


@pytest.mark.parametrize("bits", [8, 16])
def test_one_color_of_rgb_can_be_transparent(bits: int) -> None:
    scale = 257 if bits == 16 else 1
    colors = np.array([[[10, 20, 30], [10, 20, 31], [11, 20, 30], [10, 20, 30]]]) * scale
    data = packed_png(colors, bits, RGB, (np.array([10, 20, 30]) * scale).tolist())
    pixels, _ = convert_upload(data, (3, 1, 4), BACKGROUND, max_pixels=1000)
    assert pixels[:, 0].T.tolist() == [
        [BACKGROUND] * 3,
        [10, 20, 31],
        [11, 20, 30],
        [BACKGROUND] * 3,
    ]


def test_low_byte_of_16_bit_rgb_is_compared() -> None:
    colors = np.array([[[0x0A05, 20, 30], [0x0A06, 20, 30]]])
    data = packed_png(colors, 16, RGB, [0x0A06, 20, 30])
    pixels, _ = convert_upload(data, (3, 1, 2), BACKGROUND, max_pixels=1000)
    assert pixels[:, 0, 1].tolist() == [BACKGROUND] * 3
    assert pixels[0, 0, 0] == 0x0A
