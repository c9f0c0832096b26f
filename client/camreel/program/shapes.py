"""Shapes of a program's values, by a dry run on torch's meta device: nothing is allocated.

torch imports its meta kernels on their first use, which takes a second or two in a process. So a
dry run belongs to export and to the reception of a program; afterwards its shapes are trusted.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from camreel.program.costs import LIMITS, Budget, Limits, step_cost
from camreel.program.errors import InvalidProgram
from camreel.program.evaluation import PreparedStep
from camreel.program.format import IMAGES, Program, Step
from camreel.program.indexing import index_tensors
from camreel.program.opset import DTYPES
from camreel.program.references import (
    BatchMultiple,
    Dimension,
    Operand,
    Shape,
    TensorReference,
    size_at,
    value_indices,
)

BATCHES = (2, 3)
"""Numbers of images of the dry runs: a dimension that grows from one to the other has the batch."""


def infer_shapes(program: Program, limits: Limits = LIMITS) -> tuple[Shape, ...]:
    """The shape of each step's result. Declared shapes are ignored.

    Raises InvalidProgram if a step cannot be evaluated, exceeds a limit, or has results whose shape
    does not grow with the batch in one dimension.
    """
    if program.batch == 1:
        return tuple(_dry_run(program, 1, limits))
    smaller, larger = (_dry_run(program, images, limits) for images in BATCHES)
    return tuple(
        _symbolic_shape(index, *shapes)
        for index, shapes in enumerate(zip(smaller, larger, strict=True))
    )


def check_shapes(program: Program, limits: Limits = LIMITS) -> None:
    """Verify declared shapes. Raises InvalidProgram where a dry run gives others."""
    for index, (step, shape) in enumerate(
        zip(program.steps, infer_shapes(program, limits), strict=True)
    ):
        if step.shape != shape:
            raise InvalidProgram(f"steps.{index}.shape", f"is {shape} in a dry run")
    index_tensors(program)
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
    budget = Budget(limits, images)

    def shape_of(operand: Operand) -> Sequence[int]:
        if isinstance(operand, TensorReference):
            return tensors[operand.name].shape
        return values[operand.index].shape

    shapes = []
    for index, step in enumerate(program.steps):
        prepared = PreparedStep(step, index + 1, tensors)
        result = _evaluate(prepared, index, values, images)
        field = f"steps.{index}"
        budget.add(field, step_cost(step, result.shape, shape_of), result.numel())
        values[index + 1] = result
        shapes.append(tuple(result.shape))
        for operand in set(prepared.operands):
            if last_readers[operand] == index:
                budget.release(values.pop(operand).numel())
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


def _last_readers(steps: Sequence[Step]) -> dict[int, int]:
    return {
        operand: index
        for index, step in enumerate(steps)
        for argument in step.arguments.values()
        for operand in value_indices(argument)
    }


def _symbolic_shape(index: int, smaller: Sequence[int], larger: Sequence[int]) -> Shape:
    """The shape of which those are the sizes at each of BATCHES images."""
    if len(smaller) != len(larger):
        raise InvalidProgram(f"steps.{index}", "its number of dimensions depends on the batch")
    shape: list[Dimension] = []
    for small, large in zip(smaller, larger, strict=True):
        factor = large - small
        if factor == 0:
            shape.append(small)
        elif factor > 0 and small == factor * BATCHES[0]:
            shape.append(BatchMultiple(factor))
        else:
            raise InvalidProgram(f"steps.{index}", "its size is no multiple of the batch")
    if sum(isinstance(size, BatchMultiple) for size in shape) > 1:
        raise InvalidProgram(f"steps.{index}", "two of its dimensions depend on the batch")
    assert size_at(tuple(shape), BATCHES[0]) == tuple(smaller)  # noqa: S101
    return tuple(shape)
