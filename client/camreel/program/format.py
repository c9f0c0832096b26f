"""The format of programs: a network in evaluation mode as a list of steps, as JSON.

    {"format": 1, "opset": 1, "input": [3, 224, 224], "batch": "dynamic",
     "steps": [{"operator": "conv2d",
                "arguments": {"input": {"value": 0}, "weight": {"tensor": "conv1.weight"}, ...},
                "shape": [{"batch": 1}, 64, 112, 112]}, ...],
     "tensors": [{"name": "conv1.weight", "dtype": "float32", "shape": [64, 3, 7, 7]}, ...],
     "modules": [{"name": "conv1", "value": 1}, ...], "default_layer": "layer4",
     "output": {"logits": 69, "classes": 1000, "activation": "identity"}}

Value 0 is the images, value i + 1 the result of step i. The weights are not part of a program: one
program serves all epochs of a run.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

from camreel.program.opset import OPERATORS, OPSET_VERSION
from camreel.program.references import (
    Argument,
    BatchMultiple,
    Dimension,
    Operand,
    TensorReference,
    ValueReference,
    to_json,
)

FORMAT_VERSION = 1
IMAGES = 0
"""Index of the value that holds the images."""

Batch = Literal["dynamic", 1]
OutputActivation = Literal["identity", "sigmoid"]


@dataclass(frozen=True)
class Step:
    """One call of an operator."""

    operator: str
    arguments: dict[str, Argument]
    """By name; arguments that equal the operator's default are left out."""
    shape: tuple[Dimension, ...]
    """Of the result. It is verified by a dry run, see `shapes`."""

    def argument(self, name: str) -> Argument:
        """An argument, or the operator's default."""
        if name in self.arguments:
            return self.arguments[name]
        default: Any = OPERATORS[self.operator].parameters_by_name[name].default
        return cast(Argument, default)

    def integer(self, name: str) -> int:
        """An argument that is a whole number."""
        argument = self.argument(name)
        assert isinstance(argument, int)  # noqa: S101  as the parser and the exporter check
        return argument

    def integers(self, name: str) -> tuple[int, ...]:
        """An argument that is a list of whole numbers; empty for null."""
        argument = self.argument(name)
        items = argument if isinstance(argument, tuple) else ()
        return tuple(item for item in items if isinstance(item, int))

    def operand(self, name: str) -> Operand:
        """An argument that is a value or a tensor."""
        argument = self.argument(name)
        assert isinstance(argument, ValueReference | TensorReference)  # noqa: S101  as above
        return argument

    def as_json(self) -> dict[str, Any]:
        """The step as JSON values."""
        names = [parameter.name for parameter in OPERATORS[self.operator].parameters]
        arguments = sorted(self.arguments.items(), key=lambda item: names.index(item[0]))
        return {
            "operator": self.operator,
            "arguments": {name: to_json(argument) for name, argument in arguments},
            "shape": [to_json(dimension) for dimension in self.shape],
        }


@dataclass(frozen=True)
class TensorSpec:
    """Name, type and shape of a weight, buffer or constant."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """The specification as JSON values."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}


@dataclass(frozen=True)
class ModuleCall:
    """The value that a call of a module returns. `relu@2` is the second call of `relu`."""

    name: str
    value: int


@dataclass(frozen=True)
class Program:
    """A network in evaluation mode. Checked: `from_json` and the exporter accept no other."""

    input_shape: tuple[int, int, int]
    """(D, H, W) of an image."""
    batch: Batch
    """`dynamic`: any number of images at once. 1: one image at a time."""
    steps: tuple[Step, ...]
    tensors: tuple[TensorSpec, ...]
    """In the order of their first use."""
    modules: tuple[ModuleCall, ...]
    logits: int
    """Index of the value that holds the pre-activations x (N, C)."""
    classes: int
    output_activation: OutputActivation
    """What stands between x and softmax."""
    default_layer: str | None
    """Name of the layer that maps are computed for, unless another is requested."""
    format_version: int = FORMAT_VERSION
    opset_version: int = OPSET_VERSION

    def __hash__(self) -> int:
        return hash(self.identity)

    @cached_property
    def shapes(self) -> tuple[tuple[Dimension, ...], ...]:
        """Shapes of all values, the images' first."""
        return (images_shape(self), *(step.shape for step in self.steps))

    @cached_property
    def tensors_by_name(self) -> dict[str, TensorSpec]:
        """The specification of each tensor."""
        return {spec.name: spec for spec in self.tensors}

    def as_json(self) -> dict[str, Any]:
        """The program as JSON values."""
        return {
            "format": self.format_version,
            "opset": self.opset_version,
            "input": list(self.input_shape),
            "batch": self.batch,
            "steps": [step.as_json() for step in self.steps],
            "tensors": [spec.as_json() for spec in self.tensors],
            "modules": [{"name": call.name, "value": call.value} for call in self.modules],
            "default_layer": self.default_layer,
            "output": {
                "logits": self.logits,
                "classes": self.classes,
                "activation": self.output_activation,
            },
        }

    def to_json(self) -> bytes:
        """Canonical JSON in UTF-8: equal programs have equal bytes."""
        text = json.dumps(self.as_json(), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return text.encode("ascii")

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the canonical JSON, in hexadecimal digits."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @classmethod
    def from_json(cls, content: bytes) -> "Program":
        """Read a program from anybody. Raises InvalidProgram.

        Time and memory are bounded by the limits of `parsing`. Shapes are as declared:
        `shapes.check_shapes` verifies them.
        """
        from camreel.program.parsing import parse_program

        return parse_program(content)


def images_shape(program: Program) -> tuple[Dimension, ...]:
    """Shape of the images: (batch, D, H, W)."""
    first: Dimension = BatchMultiple(1) if program.batch == "dynamic" else 1
    return (first, *program.input_shape)
