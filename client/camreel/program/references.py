"""What a step's arguments consist of: literals, and references to values, tensors and the batch."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ValueReference:
    """The images (index 0) or the result of an earlier step."""

    index: int


@dataclass(frozen=True)
class TensorReference:
    """A tensor of the program, by its fully qualified name."""

    name: str


@dataclass(frozen=True)
class BatchMultiple:
    """A dimension of `factor` times the number of images."""

    factor: int


Dimension = int | BatchMultiple
Shape = tuple[Dimension, ...]

Operand = ValueReference | TensorReference
"""A tensor that a step reads."""

Scalar = None | bool | int | float | str
Argument = Scalar | ValueReference | TensorReference | BatchMultiple | tuple["Argument", ...]

INFINITIES = {"inf": math.inf, "-inf": -math.inf}
"""JSON has no numbers for them."""


def to_json(argument: Argument) -> Any:
    """An argument as JSON values."""
    match argument:
        case ValueReference(index):
            return {"value": index}
        case TensorReference(name):
            return {"tensor": name}
        case BatchMultiple(factor):
            return {"batch": factor}
        case tuple():
            return [to_json(item) for item in argument]
        case float() if math.isinf(argument):
            return {"float": "inf" if argument > 0 else "-inf"}
    return argument


def from_json(content: Any) -> Argument:
    """An argument from JSON values; raises ValueError for other forms."""
    if isinstance(content, list):
        if any(isinstance(item, list) for item in content):
            raise ValueError("lists cannot be nested")
        return tuple(from_json(item) for item in content)
    if isinstance(content, dict):
        return _reference(content)
    if isinstance(content, float) and not math.isfinite(content):
        raise ValueError("a number must be finite")
    scalar: Scalar = content
    return scalar


def _reference(content: dict[str, Any]) -> Argument:
    match content:
        case {"value": int(index)} if len(content) == 1 and not isinstance(index, bool):
            return ValueReference(index)
        case {"tensor": str(name)} if len(content) == 1:
            return TensorReference(name)
        case {"batch": int(factor)} if len(content) == 1 and not isinstance(factor, bool):
            return BatchMultiple(factor)
        case {"float": "inf" | "-inf" as name} if len(content) == 1:
            return INFINITIES[name]
    raise ValueError('a reference is {"value": index}, {"tensor": name} or {"batch": factor}')


def value_indices(argument: Argument) -> tuple[int, ...]:
    """Indices of the values that an argument refers to."""
    if isinstance(argument, ValueReference):
        return (argument.index,)
    if isinstance(argument, tuple):
        return tuple(index for item in argument for index in value_indices(item))
    return ()


def size_at(shape: Shape, images: int) -> tuple[int, ...]:
    """A shape for that number of images."""
    return tuple(d.factor * images if isinstance(d, BatchMultiple) else d for d in shape)
