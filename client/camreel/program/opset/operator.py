"""What an operator is, and parameters that many of them have."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from camreel.program.parameters import (
    Dimensions,
    Flag,
    Integer,
    Integers,
    Number,
    Optional,
    Parameter,
    Tensorial,
)
from camreel.program.references import Argument

MAX_KERNEL = 1024
MAX_CHANNELS = 2**20

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
"""Types of tensors, by their names in programs."""


@dataclass(frozen=True)
class Operator:
    """An operator of the opset."""

    name: str
    overload: str
    """Of ATen: what torch.export records for it."""
    parameters: tuple[Parameter, ...]
    function: Callable[..., Tensor]
    """Takes the arguments in the order of the parameters."""
    in_place: Callable[..., Tensor] | None = None
    """The same, but writes the result into the first argument."""

    @cached_property
    def parameters_by_name(self) -> dict[str, Parameter]:
        """The parameter of each name."""
        return {parameter.name: parameter for parameter in self.parameters}

    def positional(self, arguments: dict[str, Argument]) -> list[Any]:
        """Arguments in the order of the parameters, with defaults."""
        return [arguments.get(p.name, p.default) for p in self.parameters]


INPUT = Parameter("input", Tensorial())
OTHER = Parameter("other", Tensorial(or_number=True))
WEIGHT = Parameter("weight", Optional(Tensorial()), None)
BIAS = Parameter("bias", Optional(Tensorial()), None)
DIMENSION = Integer(-8, 7)
DIM = Parameter("dim", DIMENSION)
KEEPDIM = Parameter("keepdim", Flag(), default=False)
EPSILON = Parameter("eps", Number(), 1e-5)
SHAPE = Parameter("shape", Dimensions())
ALPHA = Parameter("alpha", Number(), 1)
PAIR = Integers(0, MAX_KERNEL, 1, 2)
POSITIVE_PAIR = Integers(1, MAX_KERNEL, 1, 2)
GROUPS = Parameter("groups", Integer(1, MAX_CHANNELS), 1)


def elementwise(
    name: str, function: Callable[..., Tensor], in_place: Callable[..., Tensor] | None = None
) -> Operator:
    """An operator of one tensor."""
    return Operator(name, f"{name}.default", (INPUT,), function, in_place)


def binary(
    name: str, function: Callable[..., Tensor], *parameters: Parameter, overload: str = "Tensor"
) -> Operator:
    """An operator of two tensors or numbers."""
    input_or_number = Parameter("input", Tensorial(or_number=True))
    return Operator(name, f"{name}.{overload}", (input_or_number, OTHER, *parameters), function)
