"""Decoding of WebP files: their size is checked before anything is decoded.

Format: developers.google.com/speed/webp/docs/riff_container.
"""

import io
import struct
from collections.abc import Iterator

from PIL import Image

from service.core.image_files import DecodedImage, exif_orientation
from service.core.image_size import check_image_size
from service.errors import InvalidValue, UnsupportedImage

_CONTAINER = struct.Struct("<4sI4s")
_CHUNK = struct.Struct("<4sI")
_ANIMATION_FLAG = 0x02
_LOSSLESS_SIGNATURE = 0x2F
_START_CODE = b"\x9d\x01\x2a"
MAX_CHUNKS = 100


def is_webp(data: bytes) -> bool:
    """Whether the bytes begin like a WebP."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def decode_webp(data: bytes, max_pixels: int) -> DecodedImage:
    """Decode a still WebP.

    Raises UnsupportedImage for an animation, ImageTooLarge, InvalidValue for a damaged or
    incomplete file, and MemoryError.
    """
    chunks = dict(_read_chunks(data))
    extended = chunks.get(b"VP8X", b"")
    if extended and extended[0] & _ANIMATION_FLAG:
        raise UnsupportedImage("The WebP is an animation; only still images are accepted.")
    try:
        sizes = [read_size(chunks[name]) for name, read_size in _SIZES.items() if name in chunks]
    except (struct.error, IndexError) as error:
        raise InvalidValue("file", "the WebP is damaged: a header is incomplete") from error
    if not sizes:
        raise InvalidValue("file", "the WebP is damaged: it has no image")
    for width, height in sizes:
        check_image_size(width, height, max_pixels)
    return DecodedImage(_load(data), "webp", 8, exif_orientation(chunks.get(b"EXIF")))


def _read_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the chunks. Raises InvalidValue for an incomplete file."""
    size = _CONTAINER.unpack_from(data)[1] + _CHUNK.size if len(data) >= _CONTAINER.size else 0
    if not _CONTAINER.size < size <= len(data):
        raise InvalidValue("file", "the WebP is damaged: it is incomplete")
    position = _CONTAINER.size
    for _ in range(MAX_CHUNKS):
        if position + _CHUNK.size > size:
            return
        name, length = _CHUNK.unpack_from(data, position)
        start = position + _CHUNK.size
        if start + length > size:
            raise InvalidValue("file", "the WebP is damaged: a chunk is incomplete")
        yield name, data[start : start + length]
        position = start + length + length % 2
    raise InvalidValue("file", f"the WebP has more than {MAX_CHUNKS} chunks")


def _extended_size(chunk: bytes) -> tuple[int, int]:
    width = int.from_bytes(chunk[4:7], "little") + 1
    return width, int.from_bytes(chunk[7:10], "little") + 1


def _lossy_size(chunk: bytes) -> tuple[int, int]:
    if chunk[3:6] != _START_CODE:
        raise InvalidValue("file", "the WebP is damaged: its image has no start code")
    width, height = struct.unpack_from("<HH", chunk, 6)
    return width & 0x3FFF, height & 0x3FFF


def _lossless_size(chunk: bytes) -> tuple[int, int]:
    if chunk[0] != _LOSSLESS_SIGNATURE:
        raise InvalidValue("file", "the WebP is damaged: its image has no signature")
    (bits,) = struct.unpack_from("<I", chunk, 1)
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


_SIZES = {b"VP8X": _extended_size, b"VP8 ": _lossy_size, b"VP8L": _lossless_size}
"""By chunk: how width and height are read. All are checked: a decoder may trust any of them."""


def _load(data: bytes) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(data), formats=["WEBP"])
        picture.load()
    except MemoryError:
        raise
    except Exception as error:
        # Pillow's plugins raise various exceptions for malformed bytes.
        raise InvalidValue("file", "the WebP is damaged") from error
    return picture
