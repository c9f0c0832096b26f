"""The chunks of a PNG (W3C, third edition), parsed and bounded before decoding."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from service.core.image_size import check_image_size
from service.errors import ImageTooLarge, InvalidValue, UnsupportedImage

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 2**16
MAX_NOTES_BYTES = 2**20
"""Limit of the total size of all compressed text and color profiles after decompression."""

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""Color types."""
_BIT_DEPTHS = {
    GRAY: {1, 2, 4, 8, 16},
    RGB: {8, 16},
    PALETTE: {1, 2, 4, 8},
    GRAY_ALPHA: {8, 16},
    RGBA: {8, 16},
}
_SAMPLES_PER_PIXEL = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""Of each pass: first column and row, steps of column and row."""
_BLOCK = 2**16


@dataclass(frozen=True)
class PngHeader:
    """The fields of IHDR."""

    width: int
    height: int
    bits: int  # of a sample
    color_type: int
    interlaced: bool


@dataclass(frozen=True)
class Png:
    """A PNG without metadata, and the values of its other chunks."""

    data: bytes  # a file of IHDR, PLTE, IDAT and IEND; of a palette, tRNS, too
    header: PngHeader
    palette_size: int  # 0 where it has none
    transparent: tuple[int, ...] | None  # the samples of tRNS, unscaled; None for a palette
    exif: bytes | None  # TIFF


@dataclass
class _Contents:
    """The chunks read so far; of each type the first one before the pixel data."""

    header: bytes = b""
    palette: bytes | None = None
    transparency: bytes | None = None
    exif: bytes | None = None
    pixel_data: list[bytes] = field(default_factory=list)


def read_png(data: bytes, max_pixels: int) -> Png:
    """The verified chunks of the image, without metadata and trailing bytes.

    Raises InvalidValue for a damaged or truncated file, UnsupportedImage for an animation, and
    ImageTooLarge, also for metadata that expands beyond the limit.
    """
    contents = _Contents()
    header: PngHeader | None = None
    notes_bytes = 0
    for chunk_type, body in _chunks(data):
        if header is None:
            header = _read_header(chunk_type, body)
            check_image_size(header.width, header.height, max_pixels)
            contents.header = body
            continue
        if chunk_type == b"IHDR":
            # A decoder uses the last one, whose size is unchecked.
            raise _damaged("it has two headers")
        if chunk_type in _ANIMATION:
            raise UnsupportedImage("The PNG is an animation; still images are accepted.")
        notes_bytes += _expanded_bytes(chunk_type, body, MAX_NOTES_BYTES - notes_bytes)
        _add(contents, chunk_type, body)
    if header is None:
        raise _damaged("it has no header")
    return _assemble(header, contents)


def _add(contents: _Contents, chunk_type: bytes, body: bytes) -> None:
    if chunk_type == b"IDAT":
        contents.pixel_data.append(body)
    elif chunk_type == b"eXIf":
        contents.exif = contents.exif or body
    elif contents.pixel_data:
        return  # other chunks have no effect after the pixels (5.6)
    elif chunk_type == b"PLTE":
        if contents.palette is not None:
            raise _damaged("it has two palettes")
        contents.palette = body
    elif chunk_type == b"tRNS" and contents.transparency is None:
        contents.transparency = body


def _assemble(header: PngHeader, contents: _Contents) -> Png:
    pixel_data = b"".join(contents.pixel_data)
    _check_pixel_data(pixel_data, _expected_bytes(header))
    chunks = [(b"IHDR", contents.header)]
    palette_size, transparent = 0, None
    if header.color_type == PALETTE:
        palette_size = _palette_size(contents.palette)
        chunks.append((b"PLTE", contents.palette or b""))
        if contents.transparency:
            chunks.append((b"tRNS", contents.transparency[:palette_size]))
    elif contents.transparency is not None:
        transparent = _transparent_samples(header, contents.transparency)
    chunks += [(b"IDAT", pixel_data), (b"IEND", b"")]
    data = PNG_SIGNATURE + b"".join(_encode_chunk(chunk_type, body) for chunk_type, body in chunks)
    return Png(data, header, palette_size, transparent, contents.exif)


def _encode_chunk(chunk_type: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(chunk_type))
    return b"".join((struct.pack(">I", len(body)), chunk_type, body, struct.pack(">I", checksum)))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and body of each chunk up to the last, with verified checksums."""
    position = len(PNG_SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if len(data) < position + 12:
            raise _damaged("it ends early")
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 12 + length
        if len(data) < end:
            raise _damaged("it ends early")
        chunk_type, body = data[position + 4 : position + 8], data[position + 8 : end - 4]
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(body, zlib.crc32(chunk_type)) != checksum:
            raise _damaged("a checksum is wrong")
        yield chunk_type, body
        if chunk_type == b"IEND":
            return
        position = end
    raise ImageTooLarge(f"The PNG has more than {MAX_CHUNKS} chunks.")


def _read_header(chunk_type: bytes, body: bytes) -> PngHeader:
    if chunk_type != b"IHDR" or len(body) != 13:
        raise _damaged("it does not begin with its header")
    width, height, bits, color_type, compression, filtering, interlace = struct.unpack(
        ">IIBBBBB", body
    )
    if (
        not (0 < width < 2**31 and 0 < height < 2**31)
        or bits not in _BIT_DEPTHS.get(color_type, ())
        or (compression, filtering) != (0, 0)
        or interlace not in (0, 1)
    ):
        raise _damaged("its header is not one of a PNG")
    return PngHeader(width, height, bits, color_type, bool(interlace))


def _palette_size(palette: bytes | None) -> int:
    if palette is None:
        raise _damaged("its palette is missing")
    size, remainder = divmod(len(palette), 3)
    if remainder or not 0 < size <= 256:
        raise _damaged("its palette does not have 1 to 256 colors")
    return size


def _transparent_samples(header: PngHeader, body: bytes) -> tuple[int, ...] | None:
    """The transparent gray level or color, in samples of the image's own depth."""
    if header.color_type not in (GRAY, RGB):
        return None  # it has an alpha channel
    samples = _SAMPLES_PER_PIXEL[header.color_type]
    if len(body) != 2 * samples:
        raise _damaged("its transparent color is invalid")
    # Of the two bytes of each, the bits beyond the depth do not count (11.3.1.1).
    mask = (1 << header.bits) - 1
    return tuple(sample & mask for sample in struct.unpack(f">{samples}H", body))


def _expanded_bytes(chunk_type: bytes, body: bytes, limit: int) -> int:
    """The size of a compressed chunk after decompression. Raises ImageTooLarge over `limit`."""
    compressed = _compressed_part(chunk_type, body)
    if compressed is None:
        return 0
    try:
        size = len(zlib.decompressobj().decompress(compressed, limit + 1))
    except zlib.error:
        return 0  # the chunk is dropped in any case
    if size > limit:
        raise ImageTooLarge(
            f"The PNG's compressed notes expand to more than {MAX_NOTES_BYTES} bytes."
        )
    return size


def _compressed_part(chunk_type: bytes, body: bytes) -> bytes | None:
    if chunk_type in (b"zTXt", b"iCCP"):
        return body.partition(b"\0")[2][1:]
    if chunk_type == b"iTXt":
        flags = body.partition(b"\0")[2]
        if flags[:1] == b"\x01":
            return flags[2:].split(b"\0", 2)[-1]
    return None


def _expected_bytes(header: PngHeader) -> int:
    """The size of the pixel data after decompression: each row of each pass has a filter byte."""
    pixel_bits = header.bits * _SAMPLES_PER_PIXEL[header.color_type]
    total = 0
    for first_column, first_row, column_step, row_step in (
        _ADAM7 if header.interlaced else ((0, 0, 1, 1),)
    ):
        columns, rows = (
            -(-(header.width - first_column) // column_step),
            -(-(header.height - first_row) // row_step),
        )
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * pixel_bits + 7) // 8)
    return total


def _check_pixel_data(compressed: bytes, expected_bytes: int) -> None:
    """Checks that the pixel data are complete, one block at a time: decoders fill with black."""
    stream = zlib.decompressobj()
    size = 0
    try:
        for position in range(0, len(compressed), _BLOCK):
            block = compressed[position : position + _BLOCK]
            # Up to the stream's checksum, or a byte beyond the last pixel.
            while block and size <= expected_bytes and not stream.eof:
                size += len(stream.decompress(block, min(_BLOCK, expected_bytes + 1 - size)))
                block = stream.unconsumed_tail
        while size <= expected_bytes and not stream.eof:
            # The rest of the stream, after the last input block.
            output = stream.decompress(b"", min(_BLOCK, expected_bytes + 1 - size))
            if not output:
                raise _damaged("its pixel data end early")
            size += len(output)
    except zlib.error as error:
        raise _damaged("its pixel data cannot be decompressed") from error
    if size < expected_bytes:
        raise _damaged("pixels are missing")


def _damaged(reason: str) -> InvalidValue:
    return InvalidValue("file", f"the PNG is damaged: {reason}")
