"""Resizing and cropping of pictures: Pillow and numpy alone, also for processes without torch."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.core.input import InputSpec, Resize

PixelArray = npt.NDArray[np.uint8]

_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}


def resize_picture(picture: Image.Image, resize: Resize) -> Image.Image:
    """A picture of mode L or RGB, resized; the same picture if it has the size already."""
    height, width = resize.target_size(picture.height, picture.width)
    if picture.size == (width, height):
        return picture
    resampling = _RESAMPLING[resize.interpolation]
    if resize.antialias:
        return picture.resize((width, height), resampling)
    # Pillow's resize always averages; its affine transform samples the centers of the pixels.
    steps = (picture.width / width, 0.0, 0.0, 0.0, picture.height / height, 0.0)
    return picture.transform((width, height), Image.Transform.AFFINE, steps, resampling)


def convert_channels(picture: Image.Image, input_spec: InputSpec) -> Image.Image:
    """The picture in mode L or RGB, as the network sees it."""
    mode = "L" if input_spec.channel_count == 1 else "RGB"
    return picture if picture.mode == mode else picture.convert("RGB").convert(mode)


def to_channels_first(picture: Image.Image) -> PixelArray:
    """Pixels uint8 (D, H, W) of a picture of mode L or RGB."""
    samples = np.asarray(picture).reshape(picture.height, picture.width, -1)
    return np.ascontiguousarray(samples.transpose(2, 0, 1))


def crop_pixels(pixels: PixelArray, input_spec: InputSpec) -> PixelArray:
    """The part (D, h, w) of resized pixels (D, H, W) that the network sees."""
    top, left, bottom, right = input_spec.crop_box(*pixels.shape[1:])
    return pixels[:, top:bottom, left:right]
