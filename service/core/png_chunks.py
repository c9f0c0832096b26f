"""The chunks of a PNG (W3C, third edition), read and bounded before any decoder sees them."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from service.errors import ImageTooLarge, InvalidValue, UnsupportedImage

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_NOTES_BYTES = 2**20
"""What all compressed notes (text, colour profile) of a picture may expand to, together."""

_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"IEND"}
_ANIMATED = {b"acTL", b"fcTL", b"fdAT"}
_BITS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_PALETTE = 3  # the colour type whose pixels are indices
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type: the bit depths that it may have, and its samples a pixel."""
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""Adam7: first column and row, steps of column and row."""
_BLOCK = 2**16


@dataclass(frozen=True)
class Png:
    """A PNG that holds its picture and nothing else, and what its head says."""

    picture: bytes
    width: int
    height: int
    bits: int  # of a sample


def read_png(data: bytes, max_pixels: int) -> Png:
    """Verify all chunks and keep those that make the picture; what follows its end is dropped.

    The notes are left out, after a look at what they would expand to. Raises InvalidValue where
    something is missing, cut off or wrong, UnsupportedImage of an animation, ImageTooLarge.
    """
    kept: list[bytes] = []
    compressed = bytearray()
    width = height = bits = colour = interlaced = 0
    notes = MAX_NOTES_BYTES
    for kind, body, whole in _chunks(data):
        if not kept:
            if kind != b"IHDR" or len(body) != 13:
                raise _damaged("it does not begin with its head")
            width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            _check_head(width, height, bits, colour, max_pixels)
        elif kind == b"IHDR":
            # A decoder would take the last one, whose size nobody looked at.
            raise _damaged("it has two heads")
        elif kind in _ANIMATED:
            raise UnsupportedImage("The PNG is an animation; one picture is taken.")
        notes -= _expanded(kind, body, notes)
        if kind in _KEPT:
            kept.append(whole)
        if kind == b"IDAT":
            compressed += body
    if colour == _PALETTE and not any(whole[4:8] == b"PLTE" for whole in kept):
        raise _damaged("its palette is missing")
    rows = _rows_bytes(width, height, bits * _SAMPLES[colour], interlaced)
    _check_pixel_data(bytes(compressed), rows)
    return Png(PNG_SIGNATURE + b"".join(kept), width, height, bits)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Kind, body and all bytes of each chunk up to the last; its checksum is right."""
    at, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        if len(data) < at + 12:
            raise _damaged("it ends early")
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if len(data) < end:
            raise _damaged("it ends early")
        kind, body = data[at + 4 : at + 8], data[at + 8 : end - 4]
        if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise _damaged("a checksum is wrong")
        yield kind, body, data[at:end]
        at = end


def _check_head(width: int, height: int, bits: int, colour: int, max_pixels: int) -> None:
    if not (0 < width < 2**31 and 0 < height < 2**31) or bits not in _BITS.get(colour, ()):
        raise _damaged("its head is not one of a PNG")
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels; at most {max_pixels} are taken."
        )


def _expanded(kind: bytes, body: bytes, room: int) -> int:
    """How many bytes a note takes when it is expanded. Raises ImageTooLarge over `room`."""
    compressed = _compressed_part(kind, body)
    if compressed is None:
        return 0
    try:
        size = len(zlib.decompressobj().decompress(compressed, room + 1))
    except zlib.error:
        return 0  # it is left out anyway
    if size > room:
        raise ImageTooLarge(
            f"The PNG's compressed notes expand to more than {MAX_NOTES_BYTES} bytes."
        )
    return size


def _compressed_part(kind: bytes, body: bytes) -> bytes | None:
    if kind in (b"zTXt", b"iCCP"):
        return body.partition(b"\0")[2][1:]
    if kind == b"iTXt":
        flags = body.partition(b"\0")[2]
        if flags[:1] == b"\x01":
            return flags[2:].split(b"\0", 2)[-1]
    return None


def _rows_bytes(width: int, height: int, pixel_bits: int, interlaced: int) -> int:
    """What the pixel data are when expanded: each row of each pass has a byte for its filter."""
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * pixel_bits + 7) // 8)
    return total


def _check_pixel_data(compressed: bytes, expected: int) -> None:
    """That they are all there: a decoder would leave missing rows black. Holds one block."""
    stream = zlib.decompressobj()
    seen = 0
    try:
        for at in range(0, len(compressed), _BLOCK):
            block = compressed[at : at + _BLOCK]
            while block and seen < expected and not stream.eof:
                seen += len(stream.decompress(block, _BLOCK))
                block = stream.unconsumed_tail
    except zlib.error as error:
        raise _damaged("its pixel data are not compressed right") from error
    # A little may wait in the stream, where what came in last was not all it gave.
    seen += len(stream.decompress(b"", _BLOCK)) if seen < expected and not stream.eof else 0
    if seen < expected:
        raise _damaged("pixels are missing")


def _damaged(why: str) -> InvalidValue:
    return InvalidValue("file", f"the PNG is damaged: {why}")
