"""Maps in 256 levels, and many of them in one gray image, which clients draw in any style.

A map's levels are linear between `low`, the minimum of its sum before ReLU, and `high`, the maximum
of equation 2. Where low < 0 < high, 0 is level 128: levels 128..255 are 0..high, 0..128 are low..0.
Otherwise levels 0..255 are low..high; a constant map is level 0.
"""

import numpy as np
import numpy.typing as npt

from service.core.cams.maps import ClassMap, Floats
from service.core.models import Placement
from service.core.png import encode_png

Bytes = npt.NDArray[np.uint8]

MAX_SIDE = 64
ZERO, TOP = 128, 255


def atlas_levels(class_map: ClassMap) -> Bytes:
    """A map's levels uint8 (h, w), both at most MAX_SIDE: larger maps are averaged over blocks.

    Zeros where the map is not finite, which no level can represent.
    """
    if not class_map.is_finite:
        return np.zeros(atlas_cell_size(*class_map.signed.shape), np.uint8)
    return quantize(block_average(class_map.signed), class_map.minimum, class_map.peak)


def quantize(values: Floats, low: float, high: float) -> Bytes:
    """Values in low..high as levels, rounded, as described above."""
    exact = values.astype(np.float64)
    if low < 0 < high:
        above = np.maximum(exact, 0) / high * (TOP - ZERO)
        below = np.minimum(exact, 0) / -low * ZERO
        exact = ZERO + above + below
    elif low < high:
        exact = (exact - low) / (high - low) * TOP
    else:
        exact = np.zeros_like(exact)
    levels: Bytes = np.rint(exact.clip(0, TOP)).astype(np.uint8)
    return levels


def dequantize(levels: Bytes, low: float, high: float) -> Floats:
    """What levels stand for: `quantise`'s values, each off by half a level at most."""
    exact = levels.astype(np.float64)
    if low < 0 < high:
        exact = np.maximum(exact - ZERO, 0) / (TOP - ZERO) * high + (
            np.maximum(ZERO - exact, 0) / ZERO * low
        )
    else:
        exact = low + exact / TOP * max(0.0, high - low)
    return exact.astype(np.float32)


def block_average(values: Floats) -> Floats:
    """Values (H, W) averaged over square blocks, so that no side is longer than MAX_SIDE.

    The last block of a side may be smaller.
    """
    side = block_side(*values.shape)
    means = values.astype(np.float64)
    for axis in (0, 1):
        starts = np.arange(0, values.shape[axis], side)
        counts = np.diff(starts, append=values.shape[axis])
        means = np.add.reduceat(means, starts, axis) / np.expand_dims(counts, 1 - axis)
    return means.astype(np.float32)


def block_side(height: int, width: int) -> int:
    """Side of the blocks that a map is averaged over; 1 for small maps."""
    return -(-max(height, width) // MAX_SIDE)


def atlas_cell_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of a map's levels."""
    side = block_side(height, width)
    return -(-height // side), -(-width // side)


def atlas_cell_placement(placement: Placement, height: int, width: int) -> Placement:
    """The placement of the levels of a map with that placement and size."""
    side = block_side(height, width)
    return Placement(
        placement.first_center + placement.step * (side - 1) / 2, placement.step * side
    )


def atlas_png(levels: Bytes) -> bytes:
    """Levels (rows, columns, h, w) as one 8-bit gray PNG: cell (r, c) at x = c w, y = r h."""
    rows, columns, height, width = levels.shape
    return encode_png(levels.transpose(0, 2, 1, 3).reshape(rows * height, columns * width))
