"""PNGs of every color type, depth and interlacing: exact pixels, or a refusal."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest

from service.core.image_size import MAX_SIDE
from service.core.uploads import UploadConversion, convert_upload
from service.errors import ImageTooLarge, InvalidValue
from tests.uploads.pictures import (
    GRAY,
    GRAY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    SIGNATURE,
    chunk,
    palette,
)

SIZE = (5, 11)
"""Rows and columns: neither is a multiple of the samples per byte or of the steps of Adam7."""
BACKGROUND = 40
SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
KINDS = [
    *((GRAY, bits) for bits in (1, 2, 4, 8, 16)),
    *((PALETTE, bits) for bits in (1, 2, 4, 8)),
    *((color_type, bits) for color_type in (RGB, GRAY_ALPHA, RGBA) for bits in (8, 16)),
]
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
ADAM7 += [(0, 1, 1, 2)]


def packed_rows(samples: np.ndarray, bits: int) -> Iterator[bytes]:
    for row in samples.reshape(len(samples), -1):
        text = "".join(f"{int(sample):0{bits}b}" for sample in row)
        text += "0" * (-len(text) % 8)
        yield b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")


def pixel_data(samples: np.ndarray, bits: int, interlaced: bool) -> bytes:
    """Filtered rows before compression, from samples (H, W, samples per pixel)."""
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    parts = [samples[top::down, left::right] for left, top, right, down in passes]
    return b"".join(row for part in parts if part.size for row in packed_rows(part, bits))


def png_file(
    samples: np.ndarray,
    bits: int,
    color_type: int,
    *chunks: bytes,
    interlaced: bool = False,
    compressed: bytes | None = None,
) -> bytes:
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, interlaced)
    if compressed is None:
        compressed = zlib.compress(pixel_data(samples, bits, interlaced))
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", compressed), chunk(b"IEND")]
    return SIGNATURE + b"".join(parts)


def samples_of(color_type: int, bits: int) -> np.ndarray:
    shape = (*SIZE, SAMPLES[color_type])
    return np.random.default_rng(bits).integers(0, 2**bits, shape)


def eight_bits(samples: np.ndarray, bits: int) -> np.ndarray:
    return samples * 255 / (2**bits - 1)


def colors_of(samples: np.ndarray, bits: int, color_type: int) -> np.ndarray:
    """RGB (H, W, 3) that a viewer shows on BACKGROUND, unrounded."""
    levels = eight_bits(samples, bits)
    if color_type in (GRAY, RGB):
        return np.broadcast_to(levels, (*SIZE, 3))
    color, alpha = levels[..., :-1], levels[..., -1:] / 255
    return np.broadcast_to(color * alpha + BACKGROUND * (1 - alpha), (*SIZE, 3))


def convert(data: bytes, channels: int = 3) -> tuple[np.ndarray, UploadConversion]:
    pixels, choices = convert_upload(data, (channels, *SIZE), BACKGROUND, max_pixels=10**6)
    return pixels.transpose(1, 2, 0).astype(int), choices


@pytest.mark.parametrize("interlaced", [False, True], ids=["rows", "interlaced"])
@pytest.mark.parametrize(("color_type", "bits"), [kind for kind in KINDS if kind[0] != PALETTE])
def test_every_color_type_and_depth_has_its_pixels(
    color_type: int, bits: int, interlaced: bool
) -> None:
    samples = samples_of(color_type, bits)
    pixels, choices = convert(png_file(samples, bits, color_type, interlaced=interlaced))
    # 16-bit color is truncated: at most one level below rounding. Compositing rounds again.
    tolerance = 0.51 if color_type in (GRAY, RGB) and (color_type, bits) != (RGB, 16) else 2
    assert np.abs(pixels - colors_of(samples, bits, color_type)).max() <= tolerance
    assert choices.bits == bits
    assert choices.composited_on == (BACKGROUND if color_type in (GRAY_ALPHA, RGBA) else None)


@pytest.mark.parametrize("interlaced", [False, True], ids=["rows", "interlaced"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_of_every_depth_has_its_colors_and_alpha(bits: int, interlaced: bool) -> None:
    rng = np.random.default_rng(bits)
    colors, alpha = rng.integers(0, 256, (2**bits, 3)), rng.choice([0, 51, 255], 2**bits)
    indices = samples_of(PALETTE, bits)
    plte = palette([tuple(color) for color in colors])
    opaque = png_file(indices, bits, PALETTE, plte, interlaced=interlaced)
    assert np.array_equal(convert(opaque)[0], colors[indices[..., 0]])
    trns = chunk(b"tRNS", bytes(alpha.tolist()))
    pixels, _ = convert(png_file(indices, bits, PALETTE, plte, trns, interlaced=interlaced))
    share = (alpha / 255)[indices]
    expected = colors[indices[..., 0]] * share + BACKGROUND * (1 - share)
    assert np.abs(pixels - expected).max() <= 1


@pytest.mark.parametrize("interlaced", [False, True], ids=["rows", "interlaced"])
@pytest.mark.parametrize(("color_type", "bits"), [kind for kind in KINDS if kind[0] in (GRAY, RGB)])
def test_transparent_color_is_compared_at_the_depth_of_the_file(
    color_type: int, bits: int, interlaced: bool
) -> None:
    samples = samples_of(color_type, bits)
    transparent = samples[2, 3]
    changed_samples = samples.copy()
    changed_samples[0, 0] = transparent ^ 1  # differs in the last bit
    # Bits beyond the depth are ignored (PNG, 11.3.1.1).
    noise = 0 if bits == 16 else 1 << bits
    trns = struct.pack(f">{len(transparent)}H", *(int(item) | noise for item in transparent))
    pixels, choices = convert(
        png_file(changed_samples, bits, color_type, chunk(b"tRNS", trns), interlaced=interlaced)
    )
    hidden = (changed_samples == transparent).all(-1)
    assert hidden[2, 3]
    assert not hidden[0, 0]
    assert (pixels[hidden] == BACKGROUND).all()
    assert np.abs(pixels - colors_of(changed_samples, bits, color_type))[~hidden].max() <= 1
    assert choices.composited_on == BACKGROUND


def test_gray_with_alpha_of_16_bits_stays_gray() -> None:
    _, choices = convert(png_file(samples_of(GRAY_ALPHA, 16), 16, GRAY_ALPHA), channels=1)
    assert choices.converted_from is None


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_pixel_beyond_the_palette_is_refused(bits: int) -> None:
    indices = np.zeros((*SIZE, 1), int)
    indices[1, 2] = 2**bits - 1
    data = png_file(indices, bits, PALETTE, palette([(9, 9, 9)] * (2**bits - 1)))
    with pytest.raises(InvalidValue, match=f"color {2**bits - 1} of a palette of {2**bits - 1}"):
        convert(data)


@pytest.mark.parametrize("body", [b"", b"\0" * 4, bytes(3 * 257)])
def test_invalid_palette_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidValue, match="palette"):
        convert(png_file(samples_of(PALETTE, 1), 1, PALETTE, chunk(b"PLTE", body)))


def incomplete_data(compressed: bytes) -> dict[str, bytes]:
    return {
        "without the checksum": compressed[:-4],
        "with another checksum": compressed[:-1] + bytes((compressed[-1] ^ 1,)),
        "with half of the data": compressed[: len(compressed) // 2],
        "without data": b"",
        "without the last row": zlib.compress(pixel_data(samples_of(GRAY, 8)[:-1], 8, False)),
    }


@pytest.mark.parametrize("name", incomplete_data(bytes(9)))
def test_incomplete_pixel_data_are_refused(name: str) -> None:
    samples = samples_of(GRAY, 8)
    compressed = incomplete_data(zlib.compress(pixel_data(samples, 8, False)))[name]
    with pytest.raises(InvalidValue, match="the PNG is damaged"):
        convert(png_file(samples, 8, GRAY, compressed=compressed))


def test_pixel_data_in_many_chunks_are_decoded() -> None:
    samples = samples_of(RGB, 8)
    complete_file = png_file(samples, 8, RGB)
    compressed = zlib.compress(pixel_data(samples, 8, False))
    parts = b"".join(chunk(b"IDAT", compressed[n : n + 1]) for n in range(len(compressed)))
    data = complete_file.replace(chunk(b"IDAT", compressed), parts)
    assert np.array_equal(convert(data)[0], samples)


@pytest.mark.parametrize("size", [(1, MAX_SIDE), (MAX_SIDE, 1)])
def test_longest_side_is_accepted_and_a_longer_one_refused(size: tuple[int, int]) -> None:
    data = png_file(np.zeros((*size, 1), int), 1, GRAY)
    pixels, _ = convert_upload(data, (1, 28, 28), 0, max_pixels=10**6)
    assert not pixels.any()
    longer = np.zeros((size[0] + (size[0] > 1), size[1] + (size[1] > 1), 1), int)
    with pytest.raises(ImageTooLarge, match=f"at most {MAX_SIDE} per side"):
        convert_upload(png_file(longer, 1, GRAY), (1, 28, 28), 0, max_pixels=10**6)
