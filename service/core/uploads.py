"""Conversion of uploaded PNGs and JPEGs to the pixels of a dataset's images.

Runs in a process of its own (`flows/upload_service.py`), which must not import torch. Everything
done to the pixels is listed in `Choices`.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.core.image_files import DecodedImage, decode_image_file
from service.core.input import InputSpec
from service.core.png import encode_png
from service.core.resizing import resize_picture
from service.errors import CamreelError, ImageTooLarge, InvalidValue, UnsupportedImage

Pixels = npt.NDArray[np.uint8]

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that undoes each EXIF orientation."""


@dataclass(frozen=True)
class UploadConversion:
    """The operations on an upload's pixels, in this order; None and False: not applied."""

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
    cropped_to: tuple[int, int] | None = None  # width, height


def convert_upload(
    data: bytes,
    image_shape: tuple[int, int, int],
    background: int,
    *,
    max_pixels: int,
    invert: bool = False,
    input_spec: InputSpec | None = None,
) -> tuple[Pixels, UploadConversion]:
    """The image as pixels uint8 (D, H, W) of a dataset, and the operations applied.

    `background` is the background level 0..255 of the dataset's images. With an input, the image is
    resized and cropped as those of its run; otherwise it is padded to their shape. Raises
    UnsupportedImage, ImageTooLarge, InvalidValue for a damaged file, and MemoryError.
    """
    if not data:
        raise InvalidValue("file", "is empty; it must be a PNG or a JPEG")
    image = decode_image_file(data, max_pixels)
    choices = UploadConversion(image.format, *image.picture.size, image.bits)
    background = 255 - background if invert else background
    channels, height, width = image_shape
    picture, choices = make_upright(image, choices)
    picture, choices = make_opaque(picture, choices, background)
    picture, choices = _in_channels(picture, choices, channels)
    if input_spec is None:
        picture, choices = _in_size(picture, choices, (width, height), background)
    else:
        picture, choices = _as_input(picture, choices, input_spec)
    if invert:
        picture = picture.point(lambda level: 255 - level)
        choices = replace(choices, inverted=True)
        if choices.padded_with is not None:
            choices = replace(choices, padded_with=255 - background)
    pixels = np.array(picture).reshape(height, width, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), choices


_REFUSALS: dict[str, type[CamreelError]] = {
    kind.__name__: kind for kind in (UnsupportedImage, ImageTooLarge, InvalidValue)
}


def handle_request(request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """`convert_upload` with JSON values and bytes, for calls from another process."""
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked before decoding
    arguments = request | {"image_shape": tuple(request["image_shape"])}
    if (input_values := request.get("input_spec")) is not None:
        arguments["input_spec"] = InputSpec.model_validate(input_values)
    try:
        pixels, choices = convert_upload(data, **arguments)
    except InvalidValue as error:
        return {"refusal": "InvalidValue", "arguments": [error.field, error.message]}, b""
    except (UnsupportedImage, ImageTooLarge) as error:
        return {"refusal": type(error).__name__, "arguments": [str(error)]}, b""
    return {"choices": asdict(choices)}, pixels.tobytes()


def parse_response(
    answer: dict[str, Any], data: bytes, image_shape: tuple[int, int, int]
) -> tuple[bytes, UploadConversion]:
    """The pixels as a PNG, and the operations. Raises what `convert_upload` raised."""
    if "refusal" in answer:
        raise _REFUSALS[answer["refusal"]](*answer["arguments"])
    pixels = np.frombuffer(data, np.uint8).reshape(image_shape).transpose(1, 2, 0)
    png = encode_png(pixels[:, :, 0] if image_shape[0] == 1 else pixels)
    return png, UploadConversion(**answer["choices"])


_Step = tuple[Image.Image, UploadConversion]


def make_upright(image: DecodedImage, choices: UploadConversion) -> _Step:
    """The picture as EXIF's orientation shows it."""
    transposition = _TRANSPOSITIONS.get(image.orientation or 1)
    if transposition is None:
        return image.picture, choices
    return image.picture.transpose(transposition), replace(choices, oriented=image.orientation)


def make_opaque(picture: Image.Image, choices: UploadConversion, background: int) -> _Step:
    """The picture on a background of that level where it is transparent."""
    if not picture.has_transparency_data:
        return picture, choices
    gray = picture.mode == "LA"
    if picture.mode == "P":
        choices = replace(choices, converted_from="palette")
        picture = picture.convert("RGBA")
    page = Image.new("L" if gray else "RGB", picture.size, (background,) * (1 if gray else 3))
    page.paste(picture.convert(page.mode), mask=picture.getchannel("A"))
    return page, replace(choices, composited_on=background)


_MODE_NAMES = {"P": "palette", "1": "bilevel", "L": "gray"}


def _in_channels(picture: Image.Image, choices: UploadConversion, channels: int) -> _Step:
    mode = "L" if channels == 1 else "RGB"
    if picture.mode == mode:
        return picture, choices
    name = choices.converted_from or _MODE_NAMES.get(picture.mode, picture.mode)
    # By way of RGB: Pillow's direct conversion of palettes or CMYK to gray ignores colors.
    picture = picture.convert("RGB").convert(mode)
    return picture, replace(choices, converted_from=name)


def _as_input(picture: Image.Image, choices: UploadConversion, input_spec: InputSpec) -> _Step:
    """Resized and cropped as the images that a network sees."""
    resized = resize_picture(picture, input_spec.resize)
    if resized is not picture:
        kind = ", antialiased" if input_spec.resize.antialias else ""
        resized_by = input_spec.resize.interpolation + kind
        choices = replace(choices, resized_to=resized.size, resized_by=resized_by)
    top, left, bottom, right = input_spec.crop_box(resized.height, resized.width)
    if (right - left, bottom - top) == resized.size:
        return resized, choices
    cropped = resized.crop((left, top, right, bottom))
    return cropped, replace(choices, cropped_to=cropped.size)


def _in_size(
    picture: Image.Image, choices: UploadConversion, size: tuple[int, int], background: int
) -> _Step:
    """Resized to fit with its aspect ratio, and centered."""
    if picture.size == size:
        return picture, choices
    scale = min(size[0] / picture.width, size[1] / picture.height)
    inner_size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if picture.size != inner_size:
        picture = picture.resize(inner_size, Image.Resampling.BILINEAR)
        choices = replace(choices, resized_to=inner_size, resized_by="bilinear, antialiased")
    if inner_size == size:
        return picture, choices
    page = Image.new(picture.mode, size, (background,) * len(picture.getbands()))
    page.paste(picture, ((size[0] - inner_size[0]) // 2, (size[1] - inner_size[1]) // 2))
    return page, replace(choices, padded_with=background)
