"""Uploaded images: PNG and JPEG bytes of anybody's, to the pixels that a network takes.

Nothing is trusted: kind and size are read from the bytes before anything is decoded, of a PNG only
the chunks that hold the picture reach the decoder, and nothing is expanded beyond a bound. What was
done to the pixels is told.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from service.core.png_chunks import PNG_SIGNATURE, read_png
from service.errors import ImageTooLarge, InvalidValue, UnsupportedImage

JPEG_SIGNATURE = b"\xff\xd8\xff"
MAX_SCANS = 64
"""A progressive JPEG is decoded scan by scan, each over all its pixels; cameras write ten or so."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF's orientation: what makes the picture upright."""
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class Choices:
    """What was done to an upload's pixels, in this order; None and False: nothing."""

    format: str  # png or jpeg
    width: int  # as it was stored in the file
    height: int
    bits: int  # of each channel; 16 are scaled to 8
    oriented: int | None = None  # EXIF's orientation, 2..8, that was undone
    composited_on: int | None = None  # the level behind what was transparent, before inversion
    converted_from: str | None = None  # CMYK, palette, RGB, gray: what the dataset's are not
    inverted: bool = False
    resized_to: tuple[int, int] | None = None  # width, height
    resized_by: str | None = None
    padded_with: int | None = None  # the level around a picture of another shape


def read_upload(
    data: bytes,
    image_shape: tuple[int, int, int],
    background: int,
    *,
    max_pixels: int,
    invert: bool = False,
) -> tuple[Tensor, Choices]:
    """The picture as uint8 (D, H, W) of a dataset, and what was done for that.

    `background` is the level 0..255 that the dataset's images are drawn on. Raises
    UnsupportedImage, ImageTooLarge, and InvalidValue for what is damaged.
    """
    if not data:
        raise InvalidValue("file", "is empty; it is to be a PNG or a JPEG")
    picture, choices = _decoded(data, max_pixels)
    background = 255 - background if invert else background
    channels, height, width = image_shape
    picture, choices = _upright(picture, choices)
    picture, choices = _opaque(picture, choices, background)
    picture, choices = _in_channels(picture, choices, channels)
    picture, choices = _in_size(picture, choices, (width, height), background)
    if invert:
        picture = picture.point(lambda level: 255 - level)
        choices = replace(choices, inverted=True)
        if choices.padded_with is not None:
            choices = replace(choices, padded_with=255 - background)
    pixels = torch.from_numpy(np.array(picture)).reshape(height, width, channels)
    return pixels.permute(2, 0, 1).contiguous(), choices


Step = tuple[Image.Image, Choices]


def _decoded(data: bytes, max_pixels: int) -> Step:
    for signature, decode in _DECODERS.items():
        if data.startswith(signature):
            return decode(data, max_pixels)
    raise UnsupportedImage("The file is neither a PNG nor a JPEG, by its first bytes.")


def _decoded_png(data: bytes, max_pixels: int) -> Step:
    png = read_png(data, max_pixels)
    picture = _loaded(png.picture, "PNG", max_pixels)
    if picture.mode.startswith("I"):
        picture = _from_16_bits(picture)
    elif png.bits == 16 and isinstance(clear := picture.info.get("transparency"), tuple):
        # The decoder keeps the upper byte of samples of colour, and should of this one too.
        picture.info["transparency"] = tuple(sample >> 8 for sample in clear)
    return picture, Choices("png", png.width, png.height, png.bits)


def _decoded_jpeg(data: bytes, max_pixels: int) -> Step:
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise ImageTooLarge(f"The JPEG has more than {MAX_SCANS} scans.")
    picture = _loaded(data, "JPEG", max_pixels)
    return picture, Choices("jpeg", *picture.size, 8)


_DECODERS: dict[bytes, Callable[[bytes, int], Step]] = {
    PNG_SIGNATURE: _decoded_png,
    JPEG_SIGNATURE: _decoded_jpeg,
}


def _loaded(data: bytes, kind: str, max_pixels: int) -> Image.Image:
    """Decoded by Pillow, after a look at the size that the file's head claims."""
    try:
        picture = Image.open(io.BytesIO(data), formats=[kind])
        check_pixels(*picture.size, max_pixels)
        picture.load()
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageTooLarge("The image has more pixels than may be decoded.") from error
    except ImageTooLarge:
        raise
    except Exception as error:
        # Pillow's plugins raise what they please (OSError, SyntaxError, struct.error, ...) of
        # bytes that are not what they should be; it all means the same.
        raise InvalidValue("file", f"the {kind} is damaged, or ends early") from error
    return picture


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raises ImageTooLarge."""
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels; at most {max_pixels} are taken."
        )


def _from_16_bits(picture: Image.Image) -> Image.Image:
    """Grey levels 0..65535 scaled, not clipped, to 0..255; one level may stand for transparent."""
    levels = np.asarray(picture).astype(np.uint32)
    clear = picture.info.get("transparency")
    scaled = Image.fromarray(((levels * 255 + 32767) // 65535).astype(np.uint8))
    if not isinstance(clear, int):
        return _with_exif_of(scaled, picture)
    alpha = Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8))
    return _with_exif_of(Image.merge("LA", (scaled, alpha)), picture)


def _with_exif_of(picture: Image.Image, other: Image.Image) -> Image.Image:
    if "exif" in other.info:
        picture.info["exif"] = other.info["exif"]
    return picture


def _upright(picture: Image.Image, choices: Choices) -> Step:
    try:
        orientation = picture.getexif().get(_ORIENTATION_TAG)
    except Exception:
        # As above. A picture whose notes cannot be read is a picture still.
        return picture, choices
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    if turn is None:
        return picture, choices
    return picture.transpose(turn), replace(choices, oriented=orientation)


def _opaque(picture: Image.Image, choices: Choices, background: int) -> Step:
    if not picture.has_transparency_data:
        return picture, choices
    grey = picture.mode in ("1", "L", "LA", "La")
    if picture.mode == "P":
        choices = replace(choices, converted_from="palette")
    front = picture.convert("LA" if grey else "RGBA")
    *_, alpha = front.getbands()
    page = Image.new("L" if grey else "RGB", front.size, (background,) * (1 if grey else 3))
    page.paste(front.convert(page.mode), mask=front.getchannel(alpha))
    return page, replace(choices, composited_on=background)


_NAMES = {"P": "palette", "1": "bilevel", "L": "gray"}


def _in_channels(picture: Image.Image, choices: Choices, channels: int) -> Step:
    wanted = "L" if channels == 1 else "RGB"
    if picture.mode == wanted:
        return picture, choices
    came = choices.converted_from or _NAMES.get(picture.mode, picture.mode)
    # By way of RGB: Pillow has no palette or CMYK to grey that takes all its colours into account.
    picture = picture.convert("RGB").convert(wanted)
    return picture, replace(choices, converted_from=came)


def _in_size(
    picture: Image.Image, choices: Choices, size: tuple[int, int], background: int
) -> Step:
    """Resized so that it fits, its shape kept, and centred."""
    if picture.size == size:
        return picture, choices
    scale = min(size[0] / picture.width, size[1] / picture.height)
    fitting = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if picture.size != fitting:
        picture = picture.resize(fitting, Image.Resampling.BILINEAR)
        choices = replace(choices, resized_to=fitting, resized_by="bilinear, antialiased")
    if fitting == size:
        return picture, choices
    page = Image.new(picture.mode, size, (background,) * len(picture.getbands()))
    page.paste(picture, ((size[0] - fitting[0]) // 2, (size[1] - fitting[1]) // 2))
    return page, replace(choices, padded_with=background)
