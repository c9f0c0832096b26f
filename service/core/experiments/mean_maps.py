"""Means of the maps of several runs."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from service.core.cams.maps import Floats
from service.core.models import Placement
from service.core.render.atlas import dequantize
from service.core.render.cells import resample_over_image

Bytes = npt.NDArray[np.uint8]


def place_map(
    levels: Bytes,
    extremes: tuple[float, float],
    placement: Placement,
    image_shape: tuple[int, int],
    size: int,
) -> Floats:
    """A map of equation 2 in 0..1 of its own peak, at its place on the image, (size, size).

    `levels` uint8 (h, w) as in `atlas.py`, `extremes` are the minimum before ReLU and the peak.
    So each map counts the same in a mean, whatever its scale, and maps of layers with other
    positions can be added.
    """
    minimum, peak = extremes
    signed = dequantize(levels, minimum, peak)
    values = np.maximum(signed, 0) / np.float32(peak)
    return resample_over_image(values.astype(np.float32), placement, image_shape, size)


def mean_map(maps: Sequence[Floats], blank_count: int) -> Floats:
    """The mean of at least one map (S, S), of which `blank_count` more are zero everywhere."""
    return np.asarray(np.sum(maps, axis=0) / (len(maps) + blank_count), np.float32)
