"""Pictures of a photo's maps: overlays, and all of them beside the photo."""

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw

from service.core.input import InputSpec
from service.core.photo import PhotoExplanation
from service.core.png import encode_png
from service.core.render.cells import Cell, Scale, Style
from service.core.render.colormaps import SEQUENTIAL_DEFAULT
from service.core.render.single import render_map
from service.core.render.table import Panel, render_side_by_side

CROP_OUTLINE = (255, 255, 255)
CROP_SHADE = 0.55
"""Brightness of what the network does not see of a photo."""


def render_overlays(
    explanation: PhotoExplanation, size: int, colormap: str = SEQUENTIAL_DEFAULT
) -> dict[int, bytes]:
    """PNG of side `size` of each explained class's map over the pixels that the network sees."""
    overlays = {}
    for index, class_map in explanation.maps.items():
        scale = Scale.from_map(class_map)
        cell = Cell(class_map, scale, explanation.pixels, explanation.placement)
        overlays[index] = render_map(cell, Style.OVERLAY, colormap, size)
    return overlays


def render_comparison(
    photo: bytes, input_spec: InputSpec, overlays: Mapping[str, bytes], title: str, size: int
) -> bytes:
    """PNG of the photo, its crop page, beside overlays of height `size` by caption."""
    panels = [Panel(mark_crop(photo, input_spec, size), "what the network sees of the photo")]
    panels += [Panel(overlay, caption) for caption, overlay in overlays.items()]
    return render_side_by_side(panels, title)


def mark_crop(photo: bytes, input_spec: InputSpec, height: int) -> bytes:
    """The photo, a PNG, at that height: outlined what the network sees, dark what it does not."""
    picture = Image.open(io.BytesIO(photo)).convert("RGB")
    resized_size = input_spec.resize.target_size(picture.height, picture.width)
    top, left, bottom, right = input_spec.crop_box(*resized_size)
    width = max(1, round(picture.width * height / picture.height))
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    scale_x, scale_y = width / resized_size[1], height / resized_size[0]
    box = (
        round(left * scale_x),
        round(top * scale_y),
        round(right * scale_x),
        round(bottom * scale_y),
    )
    if box == (0, 0, width, height):
        return encode_png(np.asarray(picture))
    page = picture.point([round(level * CROP_SHADE) for level in range(256)] * 3)
    page.paste(picture.crop(box), box[:2])
    draw = ImageDraw.Draw(page)
    draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=CROP_OUTLINE)
    return encode_png(np.asarray(page))
