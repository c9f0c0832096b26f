"""Where a layer's positions lie on the image: the centres of their receptive fields.

Unpadded convolutions lose the border, so that a map stretched over the whole image lies up to some
pixels off: for the paper's second layer (24 positions on 28 pixels) the first one's centre is at
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

    first: float
    step: float

    def positions(self, count: int, pixels: int, size: int) -> npt.NDArray[np.float32]:
        """For `size` samples over an axis of `pixels`, their places among `count` positions.

        Real numbers, cut off at -1 and count: a step beyond the outermost centres.
        """
        at_pixel = (np.arange(size, dtype=np.float32) + 0.5) * (pixels / size) - 0.5
        places: npt.NDArray[np.float32] = (at_pixel - self.first) / self.step
        return places.clip(-1, count)

    @classmethod
    def evenly_spaced(cls, count: int, pixels: int) -> "Placement":
        """Positions spread evenly over an axis: for stages whose geometry is not known."""
        step = pixels / count
        return cls((step - 1) / 2, step)


def compute_placement(stages: Sequence[nn.Module]) -> Placement:
    """Where the output positions of those stages lie, the same on both axes.

    Raises TypeError for a stage whose geometry is not known, ValueError for one that differs by
    axis.
    """
    first, step = 0.0, 1.0
    for stage in stages:
        reach, stride, padding = _geometry(stage)
        first += step * (reach / 2 - padding)
        step *= stride
    return Placement(first, step)


def output_shape(stage: nn.Module, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """What a stage makes of (K, H, W), by arithmetic: asking torch's meta device costs seconds,
    once a process, of imports. The same errors.
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
