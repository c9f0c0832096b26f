"""Where the images of a batch lie in each value.

Attention in torch's layout (tokens, images, channels) merges both dimensions before its projection,
so that the rows of an image are not always next to each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from camreel.program.format import Program, Step
from camreel.program.references import BatchMultiple, Shape, value_indices


@dataclass(frozen=True)
class BatchLayout:
    """Axis `axis` has the size outer x images x inner, in this order."""

    axis: int
    outer: int
    inner: int

    def images(self, tensor: Tensor) -> int:
        """Number of images in a tensor of this layout."""
        return tensor.shape[self.axis] // (self.outer * self.inner)

    def select(self, tensor: Tensor, images: Tensor) -> Tensor:
        """The rows of those images: indices int64 (M,)."""
        rows = images.to(tensor.device)
        if self.outer == self.inner == 1:
            return tensor.index_select(self.axis, rows)
        sizes = (self.outer, -1, self.inner)
        shape = (*tensor.shape[: self.axis], *sizes, *tensor.shape[self.axis + 1 :])
        by_image = tensor.reshape(shape).index_select(self.axis + 1, rows)
        return by_image.flatten(self.axis, self.axis + 2)


def batch_layouts(program: Program) -> tuple[BatchLayout | None, ...]:
    """The layout of each value; None if it does not depend on the number of images."""
    layouts: list[BatchLayout | None] = [
        _first_layout(program.shapes[0]),
    ]
    for index, step in enumerate(program.steps, start=1):
        layouts.append(_layout(program, step, index, layouts))
    return tuple(layouts)


def _first_layout(shape: Shape) -> BatchLayout | None:
    axis = _batch_axis(shape)
    return None if axis is None else BatchLayout(axis, 1, _factor(shape, axis))


def _batch_axis(shape: Shape) -> int | None:
    axes = (axis for axis, size in enumerate(shape) if isinstance(size, BatchMultiple))
    return next(axes, None)


def _factor(shape: Shape, axis: int) -> int:
    size = shape[axis]
    return size.factor if isinstance(size, BatchMultiple) else 1


def _layout(
    program: Program, step: Step, index: int, layouts: Sequence[BatchLayout | None]
) -> BatchLayout | None:
    shape = program.shapes[index]
    axis = _batch_axis(shape)
    if axis is None:
        return None
    factor = _factor(shape, axis)
    for argument in step.arguments.values():
        for operand in value_indices(argument):
            layout = layouts[operand]
            if layout is None:
                continue
            if step.operator == "reshape":
                return _reshaped(layout, program.shapes[operand], axis, shape)
            if layout.outer * layout.inner == factor:
                return BatchLayout(axis, layout.outer, layout.inner)
    return BatchLayout(axis, 1, factor)


def _reshaped(layout: BatchLayout, source_shape: Shape, axis: int, shape: Shape) -> BatchLayout:
    factor = _factor(shape, axis)
    blocks = _count(source_shape[: layout.axis]) * layout.outer
    outer, remainder = divmod(blocks, _count(shape[:axis]))
    if remainder or outer == 0 or factor % outer:
        return BatchLayout(axis, 1, factor)
    return BatchLayout(axis, outer, factor // outer)


def _count(shape: Shape) -> int:
    return math.prod(size for size in shape if isinstance(size, int))
