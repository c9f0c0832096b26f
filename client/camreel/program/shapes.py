"""Shapes of a program's values, by a dry run on torch's meta device: nothing is allocated.

torch imports its meta kernels on their first use, which takes a second or two in a process. So a
dry run belongs to export and to the reception of a program; afterwards its shapes are trusted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from camreel.program.errors import InvalidProgram
from camreel.program.evaluation import PreparedStep
from camreel.program.format import IMAGES, Program, Step
from camreel.program.opset import DTYPES
from camreel.program.references import (
    BatchMultiple,
    Dimension,
    Shape,
    TensorReference,
    ValueReference,
    size_at,
    value_indices,
)

BATCHES = (2, 3)
"""Numbers of images of the dry runs: a dimension that grows from one to the other has the batch."""


@dataclass(frozen=True)
class Limits:
    """What a program may take for one image."""

    value_elements: int = 2**27
    """Of one value: 512 MiB of float32."""
    live_elements: int = 2**28
    """Of all values that are alive at once."""
    operations: float = 1e12
    """Multiplications and additions of a forward pass: 1,000 times those of an AlexNet."""


LIMITS = Limits()


def infer_shapes(program: Program, limits: Limits = LIMITS) -> tuple[Shape, ...]:
    """The shape of each step's result. Declared shapes are ignored.

    Raises InvalidProgram if a step cannot be evaluated, exceeds a limit, or has results whose shape
    does not grow with the batch in one dimension.
    """
    if program.batch == 1:
        return tuple(_dry_run(program, 1, limits))
    fewer, more = (_dry_run(program, images, limits) for images in BATCHES)
    return tuple(
        _merged(index, *shapes) for index, shapes in enumerate(zip(fewer, more, strict=True))
    )


def check_shapes(program: Program, limits: Limits = LIMITS) -> None:
    """Verify declared shapes. Raises InvalidProgram where a dry run gives others."""
    for index, (step, shape) in enumerate(
        zip(program.steps, infer_shapes(program, limits), strict=True)
    ):
        if step.shape != shape:
            raise InvalidProgram(f"steps.{index}.shape", f"is {shape} in a dry run")
    logits = program.shapes[program.logits]
    batch: Dimension = BatchMultiple(1) if program.batch == "dynamic" else 1
    if logits != (batch, program.classes):
        raise InvalidProgram("output.logits", f"must have the shape (N, {program.classes})")


def _dry_run(program: Program, images: int, limits: Limits) -> list[tuple[int, ...]]:
    tensors = {
        spec.name: torch.empty(spec.shape, dtype=DTYPES[spec.dtype], device="meta")
        for spec in program.tensors
    }
    last_readers = _last_readers(program.steps)
    values = {IMAGES: torch.empty((images, *program.input_shape), device="meta")}
    budget = _Budget(limits, images)
    shapes = []
    for index, step in enumerate(program.steps):
        prepared = PreparedStep(step, index + 1, tensors)
        result = _evaluate(prepared, index, values, images)
        budget.add(index, step, result, values, tensors)
        values[index + 1] = result
        shapes.append(tuple(result.shape))
        for operand in set(prepared.operands):
            if last_readers[operand] == index:
                budget.free(values.pop(operand))
    return shapes


def _evaluate(step: PreparedStep, index: int, values: dict[int, Tensor], images: int) -> Tensor:
    try:
        with torch.no_grad():
            result = step.evaluate(values, images)
    except Exception as error:  # operators raise errors of many types
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InvalidProgram(f"steps.{index}", reason) from None
    if not isinstance(result, Tensor) or result.device.type != "meta":
        raise InvalidProgram(f"steps.{index}", "does not depend on the program's tensors")
    return result


class _Budget:
    """What the steps of a dry run would take, held against limits."""

    def __init__(self, limits: Limits, images: int) -> None:
        self._limits = limits
        self._images = images
        self._live_elements = 0
        self._operations = 0.0

    def add(
        self,
        index: int,
        step: Step,
        result: Tensor,
        values: dict[int, Tensor],
        tensors: dict[str, Tensor],
    ) -> None:
        """Account for a step. Raises InvalidProgram where a limit is exceeded."""
        elements = result.numel()
        self._live_elements += elements
        self._operations += elements * _operations_per_element(step, values, tensors)
        field = f"steps.{index}"
        if elements > self._limits.value_elements * self._images:
            raise InvalidProgram(field, f"has {elements:,} elements, which are too many")
        if self._live_elements > self._limits.live_elements * self._images:
            raise InvalidProgram(field, "too many values are alive at once")
        if self._operations > self._limits.operations * self._images:
            raise InvalidProgram(field, "the program takes too many operations")

    def free(self, value: Tensor) -> None:
        """Account for a value that is no longer read."""
        self._live_elements -= value.numel()


def _operations_per_element(
    step: Step, values: dict[int, Tensor], tensors: dict[str, Tensor]
) -> float:
    """An upper bound of the multiplications for an element of the result."""

    def shape_of(name: str) -> Sequence[int]:
        match step.operand(name):
            case TensorReference(tensor_name):
                return tensors[tensor_name].shape
            case ValueReference(index):
                return values[index].shape

    match step.operator:
        case "conv1d" | "conv2d" | "conv_transpose2d":
            return math.prod(shape_of("weight")[1:])
        case "linear" | "matmul":
            return shape_of("input")[-1]
        case "addmm":
            return shape_of("mat1")[-1]
        case "baddbmm":
            return shape_of("batch1")[-1]
        case "scaled_dot_product_attention":
            return 2 * shape_of("key")[-2] + 2 * shape_of("query")[-1]
        case "max_pool2d" | "avg_pool2d":
            kernel = step.integers("kernel_size")
            return math.prod(kernel * 2 if len(kernel) == 1 else kernel)
    return 1


def _last_readers(steps: Sequence[Step]) -> dict[int, int]:
    return {
        operand: index
        for index, step in enumerate(steps)
        for argument in step.arguments.values()
        for operand in value_indices(argument)
    }


def _merged(index: int, fewer: Sequence[int], more: Sequence[int]) -> Shape:
    """The shape of which those are the sizes at each of BATCHES images."""
    if len(fewer) != len(more):
        raise InvalidProgram(f"steps.{index}", "its number of dimensions depends on the batch")
    shape: list[Dimension] = []
    for small, large in zip(fewer, more, strict=True):
        factor = large - small
        if factor == 0:
            shape.append(small)
        elif factor > 0 and small == factor * BATCHES[0]:
            shape.append(BatchMultiple(factor))
        else:
            raise InvalidProgram(f"steps.{index}", "its size is no multiple of the batch")
    if sum(isinstance(size, BatchMultiple) for size in shape) > 1:
        raise InvalidProgram(f"steps.{index}", "two of its dimensions depend on the batch")
    assert size_at(tuple(shape), BATCHES[0]) == tuple(fewer)  # noqa: S101
    return tuple(shape)
