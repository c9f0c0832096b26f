"""Evaluation of steps, one by one. No code is generated, no name is looked up at run time."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from camreel.program.format import Step
from camreel.program.opset import OPERATORS
from camreel.program.references import (
    Argument,
    BatchMultiple,
    TensorReference,
    ValueReference,
    value_indices,
)


class PreparedStep:
    """A step whose operator and tensors are resolved."""

    def __init__(self, step: Step, value: int, tensors: Mapping[str, Tensor]) -> None:
        """`value` is the index of the step's result."""
        operator = OPERATORS[step.operator]
        self.value = value
        self.operands = tuple(
            index for argument in step.arguments.values() for index in value_indices(argument)
        )
        """Indices of the values that the step reads."""
        self._function = operator.function
        self._arguments = [
            _resolved(argument, tensors) for argument in operator.positional(step.arguments)
        ]
        self._variable_positions = [
            position for position, item in enumerate(self._arguments) if _is_variable(item)
        ]

    def evaluate(self, values: Mapping[int, Tensor], images: int) -> Tensor:
        """The result, given the values that the step reads and the number of images."""
        arguments = list(self._arguments)
        for position in self._variable_positions:
            arguments[position] = _bound(arguments[position], values, images)
        return self._function(*arguments)


def _resolved(argument: Argument, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(argument, TensorReference):
        return tensors[argument.name]
    if isinstance(argument, tuple):
        return [_resolved(item, tensors) for item in argument]
    return argument


def _is_variable(argument: Any) -> bool:
    if isinstance(argument, list):
        return any(map(_is_variable, argument))
    return isinstance(argument, ValueReference | BatchMultiple)


def _bound(argument: Any, values: Mapping[int, Tensor], images: int) -> Any:
    if isinstance(argument, ValueReference):
        return values[argument.index]
    if isinstance(argument, BatchMultiple):
        return argument.factor * images
    if isinstance(argument, list):
        return [_bound(item, values, images) for item in argument]
    return argument


@dataclass(frozen=True)
class Plan:
    """Steps to evaluate in order, and which values to free after each."""

    steps: Sequence[PreparedStep]
    results: tuple[int, ...]
    releases: Sequence[tuple[int, ...]]

    @classmethod
    def of(cls, steps: Sequence[PreparedStep], results: Collection[int]) -> "Plan":
        """A plan that evaluates those steps and returns those values."""
        last_readers = {
            operand: position for position, step in enumerate(steps) for operand in step.operands
        }
        releases: list[list[int]] = [[] for _ in steps]
        for operand, position in last_readers.items():
            if operand not in results:
                releases[position].append(operand)
        return cls(steps, tuple(results), [tuple(indices) for indices in releases])

    def run(self, inputs: Mapping[int, Tensor], images: int) -> dict[int, Tensor]:
        """The results by index, given the values that no step of the plan makes."""
        values = dict(inputs)
        for step, releases in zip(self.steps, self.releases, strict=True):
            values[step.value] = step.evaluate(values, images)
            for index in releases:
                del values[index]
        return {index: values[index] for index in self.results}


def prepare(steps: Iterable[Step], tensors: Mapping[str, Tensor]) -> tuple[PreparedStep, ...]:
    """Steps with their tensors; the result of step i is value i + 1."""
    return tuple(PreparedStep(step, value, tensors) for value, step in enumerate(steps, start=1))
