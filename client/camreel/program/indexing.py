"""Indices come from the program's tensors, so that they are checked before anything is evaluated.

On a GPU an index out of range ends the process's use of the device. Indices that are computed from
images, or from other numbers, are therefore not part of programs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from camreel.program.errors import InvalidProgram
from camreel.program.format import Program, Step
from camreel.program.opset.shapes import SHAPES
from camreel.program.references import Argument, TensorReference, ValueReference

_MOVING = frozenset(operator.name for operator in SHAPES) - {"interpolate", "pad"}
"""Operators whose results consist of elements of their input."""


@dataclass(frozen=True)
class IndexTensor:
    """A tensor that is used as indices, and the range of them."""

    name: str
    step: int
    minimum: int
    limit: int
    """Indices are less."""


def index_tensors(program: Program) -> list[IndexTensor]:
    """The tensors that hold indices. Raises InvalidProgram for indices of another origin."""
    return [
        IndexTensor(_origin(program, index, position), position, minimum, limit)
        for position, step in enumerate(program.steps)
        for index, minimum, limit in _indices(program, step, position)
    ]


def check_indices(program: Program, tensors: Mapping[str, Tensor]) -> None:
    """Verify that all indices are within their range. Raises InvalidProgram."""
    for index in index_tensors(program):
        tensor = tensors[index.name]
        field = f"tensors.{index.name}"
        if tensor.dtype not in (torch.int64, torch.int32):
            raise InvalidProgram(field, f"holds indices of step {index.step}: whole numbers")
        if tensor.numel() == 0:
            continue
        minimum, maximum = (int(bound) for bound in torch.aminmax(tensor))
        if minimum < index.minimum or maximum >= index.limit:
            raise InvalidProgram(
                field, f"holds indices that must be between {index.minimum} and {index.limit - 1}"
            )


def _indices(program: Program, step: Step, position: int) -> Iterator[tuple[Argument, int, int]]:
    """Each index of a step, its minimum, and its limit."""
    field = f"steps.{position}"
    if step.operator == "index":
        shape = _sizes(program, step.operand("input"), field)
        indices = step.argument("indices")
        assert isinstance(indices, tuple)  # noqa: S101  as the parser checks
        for axis, index in enumerate(indices):
            if index is not None:
                if axis >= len(shape):
                    raise InvalidProgram(field, "has more indices than dimensions")
                yield index, -shape[axis], shape[axis]
    elif step.operator == "embedding":
        yield step.operand("indices"), 0, _sizes(program, step.operand("weight"), field)[0]
    elif step.operator == "index_select":
        shape = _sizes(program, step.operand("input"), field)
        dim = step.integer("dim")
        if not -len(shape) <= dim < len(shape):
            raise InvalidProgram(field, "has no such dimension")
        yield step.operand("index"), 0, shape[dim]


def _sizes(program: Program, operand: Argument, field: str) -> list[int]:
    """The shape of an operand; dimensions of the batch have no size, so that no index fits."""
    match operand:
        case TensorReference(name):
            return list(program.tensors_by_name[name].shape)
        case ValueReference(value):
            return [size if isinstance(size, int) else 0 for size in program.shapes[value]]
    raise InvalidProgram(field, "must be a value or a tensor")


def _origin(program: Program, index: Argument, position: int) -> str:
    """The tensor of which an index holds elements."""
    while isinstance(index, ValueReference) and index.index > 0:
        step = program.steps[index.index - 1]
        if step.operator not in _MOVING or "input" not in step.arguments:
            break
        index = step.arguments["input"]
    if not isinstance(index, TensorReference):
        raise InvalidProgram(f"steps.{position}", "its indices must be a tensor of the program")
    return index.name
