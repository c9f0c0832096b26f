"""Image files built byte by byte: valid, invalid and malicious ones."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""PNG color types."""


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """A chunk with its length and checksum."""
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def header_chunk(width: int, height: int, bits: int = 8, color: int = GRAY) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))


def png(samples: npt.ArrayLike, bits: int = 8, color: int = GRAY, *chunks: bytes) -> bytes:
    """A PNG of (H, W) or (H, W, samples), written without an image library.

    `chunks` are inserted between its header and its pixels.
    """
    levels = np.asarray(samples, dtype=">u2" if bits == 16 else "u1")
    rows = b"".join(b"\0" + row.tobytes() for row in levels)
    height, width = levels.shape[:2]
    parts = [header_chunk(width, height, bits, color), *chunks, chunk(b"IDAT", zlib.compress(rows))]
    return SIGNATURE + b"".join(parts) + chunk(b"IEND")


def png_of_size(width: int, height: int) -> bytes:
    """A gray PNG whose pixels are all 0; 40,000,000 pixels compress to 38 KiB."""
    # Compressing single rows would take seconds for a million rows, all at once twice the memory.
    compressor = zlib.compressobj(9)
    row_bytes = 1 + width
    block_rows = max(1, 2**20 // row_bytes)
    blocks, remaining_rows = divmod(height, block_rows)
    block = bytes(block_rows * row_bytes)
    pixels = b"".join(compressor.compress(block) for _ in range(blocks))
    pixels += compressor.compress(bytes(remaining_rows * row_bytes)) + compressor.flush()
    return SIGNATURE + header_chunk(width, height) + chunk(b"IDAT", pixels) + chunk(b"IEND")


def encode(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as encoded by Pillow."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def slope(side: int = 28) -> npt.NDArray[np.uint8]:
    """Levels (side, side) that change under every rotation and reflection."""
    down, right = np.mgrid[:side, :side]
    return (down * 7 + right * 2).astype(np.uint8)


def text_bomb(kind: bytes, size: int = 64 * 2**20) -> bytes:
    """A small PNG whose text chunk expands to `size` bytes, a thousand times its own size."""
    fields = {b"zTXt": b"note\0\0", b"iTXt": b"note\0\x01\0\0\0", b"iCCP": b"note\0\0"}
    return png(slope(), 8, GRAY, chunk(kind, fields[kind] + zlib.compress(bytes(size), 9)))


def pixel_bomb() -> bytes:
    """A PNG of one pixel whose pixel data expand to 64 MiB."""
    body = chunk(b"IDAT", zlib.compress(bytes(64 * 2**20), 9))
    return SIGNATURE + header_chunk(1, 1) + body + chunk(b"IEND")


def animated_png() -> bytes:
    frames = [Image.fromarray(slope()), Image.fromarray(slope()[::-1].copy())]
    return encode(frames[0], "PNG", save_all=True, append_images=frames[1:])


def encode_slope(kind: str) -> bytes:
    return encode(Image.fromarray(slope()).convert("RGB"), kind)


def with_wrong_checksum(data: bytes, kind: bytes = b"IDAT") -> bytes:
    kind_offset = data.index(kind)
    (length,) = struct.unpack(">I", data[kind_offset - 4 : kind_offset])
    offset = kind_offset + 4 + length
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


def palette(colors: Sequence[tuple[int, int, int]]) -> bytes:
    return chunk(b"PLTE", bytes(level for color in colors for level in color))


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="28" height="28"><script/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n(hello) print\n"
