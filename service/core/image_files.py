"""Decoding of uploaded image files: PNG and JPEG bytes to samples of 8 bits.

The bytes are not trusted: structure, format and size are checked before anything is decoded, and
metadata does not reach the decoder. Incomplete images are rejected.
"""

import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import simplejpeg
from PIL import Image

from service.core.jpeg_segments import JPEG_SIGNATURE, Jpeg, read_jpeg
from service.core.png_chunks import GRAY, GRAY_ALPHA, PALETTE, PNG_SIGNATURE, RGB, Png, read_png
from service.errors import InvalidValue, UnsupportedImage

_LEVELS_OF_16_BITS = ((np.arange(2**16) * 255 + 32767) // 65535).astype(np.uint8)
"""0..65535 scaled, not clipped, to 0..255."""
_STRIP_PIXELS = 2**20
_ORIENTATION_TAG = 0x0112
_INTEGER_FORMATS = {1: "B", 3: "H", 4: "I"}
"""By TIFF's field type: BYTE, SHORT, LONG."""


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image and the properties of its file."""

    picture: Image.Image  # mode 1, L, LA, P, RGB, RGBA or CMYK
    format: str  # png, jpeg or webp
    bits: int  # of a sample in the file; 16 are scaled to 8
    orientation: int | None  # EXIF's, 1..8


def decode_image_file(data: bytes, max_pixels: int) -> DecodedImage:
    """Decode a PNG or a JPEG, recognized by its first bytes.

    Raises UnsupportedImage, ImageTooLarge, InvalidValue for a damaged or incomplete file, and
    MemoryError.
    """
    for signature, decode in _DECODERS.items():
        if data.startswith(signature):
            return decode(data, max_pixels)
    raise UnsupportedImage("The file is neither a PNG nor a JPEG, by its first bytes.")


def _decode_png(data: bytes, max_pixels: int) -> DecodedImage:
    png = read_png(data, max_pixels)
    picture = _load(png.data, "PNG")
    bits, color_type = png.header.bits, png.header.color_type
    if color_type == PALETTE:
        _check_indices(picture, png.palette_size)
    elif png.transparent is not None:
        picture = _with_alpha(picture, png, png.transparent)
    elif (color_type, bits) == (GRAY, 16):
        picture = _from_16_bits(picture)
    elif (color_type, bits) == (GRAY_ALPHA, 16):  # which the decoder makes RGBA
        picture = Image.merge("LA", (picture.getchannel("R"), picture.getchannel("A")))
    return DecodedImage(picture, "png", bits, exif_orientation(png.exif))


def _decode_jpeg(data: bytes, max_pixels: int) -> DecodedImage:
    jpeg = read_jpeg(data, max_pixels)
    _check_jpeg_complete(jpeg)
    picture = _load(jpeg.encode(), "JPEG")
    return DecodedImage(picture, "jpeg", 8, exif_orientation(jpeg.exif))


_DECODERS: dict[bytes, Callable[[bytes, int], DecodedImage]] = {
    PNG_SIGNATURE: _decode_png,
    JPEG_SIGNATURE: _decode_jpeg,
}


def _load(data: bytes, file_format: str, rawmode: str | None = None) -> Image.Image:
    """The image decoded by Pillow; `rawmode` overrides how samples are unpacked."""
    try:
        picture = Image.open(io.BytesIO(data), formats=[file_format])
        if rawmode is not None:
            picture.tile = [tile._replace(args=rawmode) for tile in picture.tile]
        picture.load()
    except MemoryError:
        raise
    except Exception as error:
        # Pillow's plugins raise various exceptions (OSError, SyntaxError, struct.error, ...) for
        # malformed bytes.
        raise InvalidValue("file", f"the {file_format} is damaged") from error
    return picture


def _check_indices(picture: Image.Image, palette_size: int) -> None:
    highest = int(np.asarray(picture).max())
    if highest >= palette_size:
        raise InvalidValue(
            "file",
            f"the PNG is damaged: a pixel has color {highest} of a palette of {palette_size}",
        )


def _with_alpha(picture: Image.Image, png: Png, transparent: tuple[int, ...]) -> Image.Image:
    """The picture with alpha 0 where its samples are `transparent`, 255 elsewhere.

    Compared before 16 bits become 8; fewer than 8 are scaled by the decoder, so the sample is, too.
    """
    bits = png.header.bits
    if png.header.color_type == RGB:
        low_bytes = _load(png.data, "PNG", "RGB;16L") if bits == 16 else None
        alpha = _alpha(picture, [sample >> (bits - 8) for sample in transparent])
        if low_bytes is not None:
            low_alpha = _alpha(low_bytes, [sample & 0xFF for sample in transparent])
            alpha = Image.fromarray(np.maximum(np.asarray(alpha), np.asarray(low_alpha)))
        return Image.merge("RGBA", (*picture.split(), alpha))
    if bits == 16:
        return Image.merge("LA", (_from_16_bits(picture), _alpha(picture, transparent)))
    gray = picture.convert("L")
    scale = 255 // ((1 << bits) - 1)
    return Image.merge("LA", (gray, _alpha(gray, [transparent[0] * scale])))


def _alpha(picture: Image.Image, transparent: tuple[int, ...] | list[int]) -> Image.Image:
    """Mode L: 0 where all samples are equal to `transparent`, else 255; strip by strip."""
    width, height = picture.size
    alpha = np.empty((height, width), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        samples = np.asarray(picture.crop((0, top, width, bottom)))
        samples = samples.reshape(bottom - top, width, -1)
        differences = [samples[..., band] != level for band, level in enumerate(transparent)]
        alpha[top:bottom] = np.logical_or.reduce(differences) * np.uint8(255)
    return Image.fromarray(alpha)


def _from_16_bits(picture: Image.Image) -> Image.Image:
    return Image.fromarray(_LEVELS_OF_16_BITS[np.asarray(picture)])


_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_UNKNOWN_SAMPLING = "Could not determine subsampling"
_PADDING = bytes(byte for byte in sha256(b"padding").digest() * 2 if byte != 0xFF)


def _check_jpeg_complete(jpeg: Jpeg) -> None:
    """Raises InvalidValue for missing or invalid data, which Pillow does not report."""
    warning = _decoder_warning(jpeg.encode(), jpeg)
    if warning and (extraneous := _EXTRANEOUS.search(warning)):
        # Some cameras pad the last scan, and the decoder reports only its last warning.
        data = jpeg.encode()[:-2]
        end = len(data) - int(extraneous[1])
        warning = _decoder_warning(data[:end] + b"\xff\xd9", jpeg)
    if warning and _UNKNOWN_SAMPLING in warning:
        warning = "Premature end" if _reads_padding(jpeg) else None
    if warning is not None:
        raise InvalidValue("file", "the JPEG is damaged: its pixel data are incomplete or invalid")


def _decoder_warning(data: bytes, jpeg: Jpeg) -> str | None:
    """The last warning or error of libjpeg, None without one. Decodes to an eighth of the size."""
    colorspace = "CMYK" if len(jpeg.frame.component_ids) == 4 else "GRAY"
    try:
        simplejpeg.decode_jpeg(data, colorspace, min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        return str(error)
    return None


def _reads_padding(jpeg: Jpeg) -> bool:
    """Whether the pixels depend on bytes after the data of a scan: then data are missing.

    For images with a chroma subsampling that simplejpeg does not know.
    """
    padded = np.asarray(_load(jpeg.encode(_PADDING), "JPEG"))
    return not np.array_equal(np.asarray(_load(jpeg.encode(), "JPEG")), padded)


def exif_orientation(exif: bytes | None) -> int | None:
    """The orientation in the first directory of Exif's TIFF; None where it cannot be read."""
    tiff = (exif or b"").removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    try:
        _, directory = struct.unpack_from(f"{order}HI", tiff, 2)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, field_type, count = struct.unpack_from(f"{order}HHI", tiff, entry)
            if tag == _ORIENTATION_TAG and count == 1 and field_type in _INTEGER_FORMATS:
                (value,) = struct.unpack_from(order + _INTEGER_FORMATS[field_type], tiff, entry + 8)
                return int(value)
    except struct.error:
        pass
    return None
