"""Cells: maps drawn as square images, alone, over their image, or in diverging colors."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor

from service.core.cams.maps import Blank, ClassMap, Floats
from service.core.models import Placement
from service.core.render import DEFAULT_OPACITY
from service.core.render.colormaps import color_table

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint16]
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

HATCH = (150, 150, 150)

RISING, FALLING, LEVEL = (1, 1), (1, -1), (0, 1)
HATCHES: dict[Blank, Sequence[tuple[int, int]]] = {
    Blank.SATURATED: [RISING],
    Blank.ALL_NEGATIVE: [FALLING],
    Blank.DEAD: [RISING, FALLING],
    Blank.NOT_FINITE: [LEVEL],
}
"""Directions (a, b) of stripes by cause: a stripe is where a x + b y is small modulo the gap."""


class Style(StrEnum):
    """How a map is drawn."""

    OVERLAY = "overlay"  # colors over the image
    HEATMAP = "heatmap"  # colors alone
    GRAY = "gray"  # equation 3 as gray levels
    SIGNED = "signed"  # the sum before ReLU, diverging colors around 0


@dataclass(frozen=True)
class Scale:
    """The values that are drawn as the lowest and the highest level.

    `minimum` is that of the sum before ReLU, `peak` that of equation 2, over the maps that share
    the scale.
    """

    minimum: float
    peak: float

    @classmethod
    def from_map(cls, class_map: ClassMap) -> "Scale":
        """The scale of a single map, as in equation 3."""
        return cls(class_map.minimum, class_map.peak)

    @property
    def low(self) -> float:
        """Lowest value of equation 2."""
        return max(0.0, self.minimum)

    @property
    def limit(self) -> float:
        """Largest distance from 0, for the signed style."""
        return max(self.peak, -self.minimum)


@dataclass(frozen=True)
class Cell:
    """A map to draw with its scale, its image uint8 (D, h, w), and its placement on the image."""

    class_map: ClassMap
    scale: Scale
    image: Tensor
    placement: Placement

    @property
    def blank_cause(self) -> Blank:
        """The cause for which the map is blank, at the default threshold."""
        return self.class_map.blank_cause()


def normalize_to_scale(values: Floats, scale: Scale) -> Floats:
    """Equation 3: (L - min) / (max - min), 0..1; zeros where that is 0 / 0."""
    extent = np.float32(scale.peak - scale.low)
    if not extent > 0:
        return np.zeros_like(values)
    # Clipped first: values far outside a shared scale overflow float32.
    normalized: Floats = values - np.float32(scale.low)
    np.clip(normalized, 0, extent, out=normalized)
    normalized /= extent
    return normalized


def cell_levels(cell: Cell, style: Style, size: int) -> Bytes:
    """The map as indices 0..255 (size, size) into a color table.

    A blank map is 0 everywhere; 0 of the signed style is between 127 and 128. A map that is not
    finite has no levels, see `cell_rgb`.
    """
    if style is Style.SIGNED:
        limit = np.float32(cell.scale.limit)
        unit = np.full((size, size), 0.5, dtype=np.float32)
        if limit > 0:
            # Halved last: twice the limit may overflow float32.
            unit += _resample(cell, cell.class_map.signed, size).clip(-limit, limit) / limit / 2
    elif cell.blank_cause is not Blank.NONE:
        unit = np.zeros((size, size), dtype=np.float32)
    else:
        unit = normalize_to_scale(_resample(cell, cell.class_map.values, size), cell.scale)
    np.clip(unit, 0, 1, out=unit)
    unit *= 255
    return np.rint(unit, out=unit).astype(np.uint8)


def cell_rgb(
    cell: Cell, style: Style, colormap: str, size: int, *, opacity: float = DEFAULT_OPACITY
) -> Bytes:
    """The cell in RGB (size, size, 3); `opacity` is that of `overlay_rgb`.

    A blank map's overlay is its image, hatched by cause. So is a map that is not finite, in every
    style.
    """
    if cell.blank_cause is Blank.NOT_FINITE:
        return hatch(image_rgb(cell.image, size), cell.blank_cause)
    if style is Style.OVERLAY:
        if cell.blank_cause is not Blank.NONE:
            return hatch(image_rgb(cell.image, size), cell.blank_cause)
        image = _resize(cell.image, size)
        return overlay_rgb(cell_levels(cell, style, size), image, colormap, opacity)
    if style is Style.GRAY:
        return np.repeat(cell_levels(cell, style, size)[:, :, None], 3, axis=2)
    return color_table(colormap)[cell_levels(cell, style, size)]


def overlay_rgb(levels: Bytes, image: Bytes, colormap: str, opacity: float) -> Bytes:
    """The colors of levels (H, W) over an image (H, W, 3) or gray (H, W, 1), as RGB (H, W, 3).

    A pixel is `a color(u) + (1 - a) image` with `u = level / 255`, the value of equation 3, and
    `a = opacity sqrt(u)`, `opacity` in 0..1: where the map is at the bottom of its scale, the image
    stays as it is. The root keeps weak maps visible on bright pixels. `a` is rounded to 256ths, the
    pixel to integers, halves up, as in `pixels.ts`.
    """
    if image.shape[2] == 1:
        indices = levels.astype(np.intp)
        indices <<= 8
        indices |= image[:, :, 0]
        return _gray_overlay_table(colormap, opacity).take(indices, axis=0)
    heat, image_weights = _overlay_tables(colormap, opacity)
    pixels = image * image_weights.take(levels)[:, :, np.newaxis]
    pixels += heat.take(levels, axis=0)
    pixels >>= 8
    return pixels.astype(np.uint8)


@lru_cache(maxsize=64)
def _overlay_tables(colormap: str, opacity: float) -> tuple[Words, Words]:
    """By level, in 256ths: the weighted color with 1/2 added (256, 3), and the image's weight."""
    weights = np.floor(opacity * np.sqrt(np.arange(256) / 255) * 256 + 0.5).astype(np.uint16)
    heat = color_table(colormap) * weights[:, np.newaxis] + np.uint16(128)
    return heat, np.uint16(256) - weights


@lru_cache(maxsize=16)  # 200 kB each
def _gray_overlay_table(colormap: str, opacity: float) -> Bytes:
    """The pixels of `overlay_rgb` (256 * 256, 3) by 256 * level + gray value."""
    levels, grays = np.divmod(np.arange(256 * 256, dtype=np.intp), 256)
    image = np.repeat(grays.astype(np.uint8)[:, np.newaxis, np.newaxis], 3, axis=2)
    return overlay_rgb(levels.astype(np.uint8)[:, np.newaxis], image, colormap, opacity)[:, 0]


def image_rgb(image: Tensor, size: int) -> Bytes:
    """An image uint8 (D, h, w) as RGB (size, size, 3): upscaled pixels stay sharp."""
    pixels = _resize(image, size)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


@lru_cache(maxsize=32)  # up to 3 MB each
def _resize(image: Tensor, size: int) -> Bytes:
    """An image uint8 (D, h, w) as (size, size, D).

    Cached and read-only: a row of a sheet draws many maps over one image.
    """
    _, height, width = image.shape
    if size >= max(height, width):
        rows, columns = _nearest(height, size), _nearest(width, size)
        array = image.permute(1, 2, 0).numpy().take(rows, 0).take(columns, 1)
    else:
        resized = F.interpolate(
            image.unsqueeze(0).float(), size=(size, size), mode="bilinear", antialias=True
        )[0]
        array = np.rint(resized.permute(1, 2, 0).numpy()).clip(0, 255).astype(np.uint8)
    array.setflags(write=False)
    return array


@lru_cache(maxsize=64)
def _nearest(count: int, size: int) -> Indices:
    """For each of `size` samples, the index of the nearest of `count` pixels."""
    indices: Indices = ((2 * np.arange(size) + 1) * count // (2 * size)).astype(np.intp)
    return indices


def hatch(image: Bytes, cause: Blank) -> Bytes:
    """The image, dimmed, under stripes in the cause's direction: see HATCHES."""
    pixels = image // 2 + 24
    pixels[_stripes(image.shape[0], cause)] = HATCH
    return pixels


@lru_cache(maxsize=64)
def _stripes(size: int, cause: Blank) -> Mask:
    """Where the cause's stripes are, bool (size, size)."""
    gap = max(4, size // 8)
    y, x = np.mgrid[:size, :size]
    stripes = np.zeros((size, size), dtype=np.bool_)
    for slope_x, slope_y in HATCHES[cause]:
        stripes |= (slope_x * x + slope_y * y) % gap < max(1, gap // 6)
    return stripes


def _resample(cell: Cell, values: Floats, size: int) -> Floats:
    """The cell's values (H, W) over its image, as `resample_over_image`."""
    _, height, width = cell.image.shape
    return resample_over_image(values, cell.placement, (height, width), size)


def resample_over_image(
    values: Floats, placement: Placement, image_shape: tuple[int, int], size: int
) -> Floats:
    """Values (H, W) at their places on an image of (height, width) pixels, as (size, size).

    Bilinear between their positions. They fade to 0 beyond the outermost positions.
    """
    height, width = values.shape
    padded = np.zeros((height + 2, width + 2), values.dtype)  # np.pad takes ten times as long
    padded[1:-1, 1:-1] = values
    values = padded
    for axis in (0, 1):
        count = values.shape[axis]
        low, high, share = _neighbors(placement, count, image_shape[axis], size)
        share = np.expand_dims(share, 1 - axis)
        values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return values


@lru_cache(maxsize=512)
def _neighbors(
    placement: Placement, count: int, pixels: int, size: int
) -> tuple[Indices, Indices, Floats]:
    """Indices of the two padded values around each of `size` samples, and the second's weight."""
    at = placement.positions(count - 2, pixels, size) + 1
    low = at.astype(np.intp)
    return low, np.minimum(low + 1, count - 1), at - low
