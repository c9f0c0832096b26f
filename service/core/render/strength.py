"""Strength bars: a map's peak on a logarithmic scale, which colors of a scale of its own hide."""

import math

from PIL import ImageDraw

from service.core.cams import DEFAULT_EPSILON
from service.core.cams.maps import Blank, ClassMap

WEAKEST_PEAK, STRONGEST_PEAK = DEFAULT_EPSILON, 10.0
"""The peaks of an empty and of a full bar, the same for all maps, as on the page."""

FILL, TRACK = (74, 134, 200), (226, 226, 230)


def strength(class_map: ClassMap) -> float:
    """Position of the peak between WEAKEST_PEAK and STRONGEST_PEAK on a log scale, 0..1.

    0 for a blank map.
    """
    if class_map.blank_cause() is not Blank.NONE:
        return 0.0
    ratio = math.log(class_map.peak / WEAKEST_PEAK) / math.log(STRONGEST_PEAK / WEAKEST_PEAK)
    return min(1.0, ratio)


def bar_height(cell_pixels: int) -> int:
    """Height of the bar below a cell, in pixels."""
    return min(8, max(3, cell_pixels // 12))


def draw_bar(
    draw: ImageDraw.ImageDraw, class_map: ClassMap, x: int, y: int, width: int, height: int
) -> None:
    """Draw the map's bar into the rectangle; at least a pixel long, unless the map is blank."""
    share = strength(class_map)
    draw.rectangle((x, y, x + width - 1, y + height - 1), TRACK)
    if share > 0:
        length = max(1, round(share * width))
        draw.rectangle((x, y, x + length - 1, y + height - 1), FILL)
