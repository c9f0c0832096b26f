"""Decoding of the images of folders: measured, resized for a network, or as a PNG.

Runs in a process of its own (`flows/folder_decoder.py`), which must not import torch.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from service.core.image_files import decode_image_file
from service.core.input import InputSpec
from service.core.png import encode_png
from service.core.resizing import convert_channels, resize_picture, to_channels_first
from service.core.uploads import UploadConversion, make_opaque, make_upright
from service.core.webp_files import decode_webp, is_webp
from service.errors import ImageTooLarge, InvalidValue, UnsupportedImage

Values = dict[str, Any]

MAX_ASPECT_RATIO = 20
"""Longer by shorter side: `resize` of mode `shorter` makes images of that length."""

BACKGROUND = 0  # behind transparent pixels


def decode_picture(data: bytes, max_pixels: int) -> Image.Image:
    """A PNG, JPEG or WebP as an upright picture of mode L or RGB.

    Raises UnsupportedImage, ImageTooLarge, InvalidValue for a damaged file, and MemoryError.
    """
    image = decode_webp(data, max_pixels) if is_webp(data) else decode_image_file(data, max_pixels)
    width, height = image.picture.size
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise ImageTooLarge(
            f"The image is more than {MAX_ASPECT_RATIO} times as long as it is wide."
        )
    conversion = UploadConversion(image.format, width, height, image.bits)
    picture, conversion = make_upright(image, conversion)
    picture, _ = make_opaque(picture, conversion, BACKGROUND)
    if picture.mode in ("L", "RGB"):
        return picture
    # By way of RGB: Pillow's direct conversion of palettes or CMYK to gray ignores colors.
    is_bilevel = picture.mode == "1"
    return picture.convert("L" if is_bilevel else "RGB")


def measure_image(request: Values, data: bytes) -> tuple[Values, bytes]:
    """Size and statistics of an image's levels; as of `ImageEntry`."""
    picture = decode_picture(data, request["max_pixels"])
    levels = np.asarray(picture).reshape(-1, len(picture.getbands()))
    counts = [np.bincount(levels[:, band], minlength=256) for band in range(levels.shape[1])]
    values = np.arange(256) / 255
    means = [float(count @ values / len(levels)) for count in counts]
    squares = [float(count @ values**2 / len(levels)) for count in counts]
    is_gray = picture.mode == "L" or bool((levels == levels[:, :1]).all())
    repeats = 3 // len(counts)
    return {
        "height": picture.height,
        "width": picture.width,
        "is_gray": is_gray,
        "means": means * repeats,
        "squares": squares * repeats,
    }, b""


def resize_image(request: Values, data: bytes) -> tuple[Values, bytes]:
    """Pixels uint8 (D, h, w) at the resized size of `request["input"]`, and their shape."""
    input_spec = InputSpec.model_validate(request["input"])
    picture = convert_channels(decode_picture(data, request["max_pixels"]), input_spec)
    pixels = to_channels_first(resize_picture(picture, input_spec.resize))
    return {"shape": pixels.shape}, pixels.tobytes()


def convert_to_png(request: Values, data: bytes) -> tuple[Values, bytes]:
    """The upright image as a PNG, gray or RGB, with the longer side at most `max_side`."""
    picture = decode_picture(data, request["max_pixels"])
    side = request["max_side"]
    if side is not None and max(picture.size) > side:
        picture.thumbnail((side, side))
    return {}, encode_png(np.asarray(picture))


_OPERATIONS: dict[str, Callable[[Values, bytes], tuple[Values, bytes]]] = {
    "measure": measure_image,
    "resize": resize_image,
    "png": convert_to_png,
}


def handle_request(request: Values, data: bytes) -> tuple[Values, bytes]:
    """The operation of that name, for calls from another process."""
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked before decoding
    if not data:
        return {"refusal": "is empty"}, b""
    try:
        return _OPERATIONS[request["operation"]](request, data)
    except InvalidValue as error:
        return {"refusal": error.message}, b""
    except (UnsupportedImage, ImageTooLarge) as error:
        return {"refusal": str(error)}, b""
