"""The placement of a layer's positions on the image: the centers of their receptive fields.

Unpadded convolutions lose the border, so that a map stretched over the whole image lies up to some
pixels off: for the paper's second layer (24 positions on 28 pixels) the first one's center is at
pixel 2, where stretching draws it at 0.1. Araujo, Norris and Sim, "Computing Receptive Fields of
Convolutional Neural Networks", Distill 2019.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import nn


@dataclass(frozen=True)
class Placement:
    """Position i of an axis is centered on pixel `first` + `step` i; pixel centers are integers."""

    first_center: float
    step: float

    def positions(self, count: int, pixels: int, size: int) -> npt.NDArray[np.float32]:
        """Coordinates of `size` samples over an axis of `pixels`, in units of `count` positions.

        Real numbers, cut off at -1 and count: a step beyond the outermost centers.
        """
        at_pixel = (np.arange(size, dtype=np.float32) + 0.5) * (pixels / size) - 0.5
        coordinates: npt.NDArray[np.float32] = (at_pixel - self.first_center) / self.step
        return coordinates.clip(-1, count)

    @classmethod
    def evenly_spaced(cls, count: int, pixels: int) -> "Placement":
        """Positions spread evenly over an axis, for stages of unknown geometry."""
        step = pixels / count
        return cls((step - 1) / 2, step)


def compute_placement(stages: Sequence[nn.Module]) -> Placement:
    """The placement of the output positions of those stages, equal on both axes.

    Raises TypeError for a stage of unknown geometry, ValueError for one that differs by axis.
    """
    first_center, step = 0.0, 1.0
    for stage in stages:
        reach, stride, padding = _geometry(stage)
        first_center += step * (reach / 2 - padding)
        step *= stride
    return Placement(first_center, step)


def output_shape(stage: nn.Module, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The output shape of a stage for (K, H, W), by arithmetic; raises the same errors.

    torch's meta device would import modules for seconds, once per process.
    """
    reach, stride, padding = _geometry(stage)
    channels, height, width = shape
    if isinstance(stage, nn.Conv2d):
        channels = stage.out_channels
    height, width = ((side + 2 * padding - reach - 1) // stride + 1 for side in (height, width))
    return channels, height, width


def _geometry(stage: nn.Module) -> tuple[int, int, int]:
    """How far a stage's kernel reaches beyond its first pixel, its stride and its padding."""
    if not isinstance(stage, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        raise TypeError(f"no geometry for {type(stage).__name__}")
    kernel, stride, padding = map(_square, (stage.kernel_size, stage.stride, stage.padding))
    dilation = _square(getattr(stage, "dilation", 1))
    return dilation * (kernel - 1), stride, padding


def _square(value: object) -> int:
    sides = set(value) if isinstance(value, tuple) else {value}
    if len(sides) != 1 or not isinstance(side := sides.pop(), int):
        raise ValueError(f"not the same on both axes: {value}")
    return side
