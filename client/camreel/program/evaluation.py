"""Evaluation of steps, one by one. No code is generated, no name is looked up at run time."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
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

ALLOCATING = frozenset({"conv1d", "conv2d", "linear", "batch_norm", "layer_norm", "add"})
"""Operators whose results never share memory with their operands, or with tensors."""


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
        self.operator = operator
        self._arguments = [
            _resolved(argument, tensors) for argument in operator.positional(step.arguments)
        ]
        self._variable_positions = [
            position for position, item in enumerate(self._arguments) if _is_variable(item)
        ]

    def argument(self, name: str) -> Any:
        """An argument by name: a tensor, if the step reads one of the program's."""
        names = [parameter.name for parameter in self.operator.parameters]
        return self._arguments[names.index(name)]

    def evaluate(
        self, values: Mapping[int, Tensor], images: int, *, in_place: bool = False
    ) -> Tensor:
        """The result, given the values that the step reads and the number of images.

        `in_place`: it is written into the first of them.
        """
        arguments = list(self._arguments)
        for position in self._variable_positions:
            arguments[position] = _bound(arguments[position], values, images)
        function = self.operator.in_place if in_place else None
        return (function or self.operator.function)(*arguments)


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
    in_place: Sequence[bool]
    """Whether a step may write into its operand while no graph of gradients is recorded."""

    @classmethod
    def of(cls, steps: Sequence[PreparedStep], results: Collection[int]) -> "Plan":
        """A plan that evaluates those steps and returns those values."""
        readers: dict[int, list[int]] = {}
        for position, step in enumerate(steps):
            for operand in step.operands:
                readers.setdefault(operand, []).append(position)
        releases: list[list[int]] = [[] for _ in steps]
        for operand, positions in readers.items():
            if operand not in results:
                releases[positions[-1]].append(operand)
        # A value that has memory of its own and this reader only is of no further use.
        writable = {
            step.value
            for step in steps
            if step.operator.name in ALLOCATING and step.value not in results
        }
        in_place = [
            step.operator.in_place is not None
            and all(o in writable and len(readers[o]) == 1 for o in step.operands)
            for step in steps
        ]
        return cls(steps, tuple(results), [tuple(indices) for indices in releases], in_place)

    def run(self, inputs: Mapping[int, Tensor], images: int) -> dict[int, Tensor]:
        """The results by index, given the values that no step of the plan makes."""
        values = dict(inputs)
        writes = not torch.is_grad_enabled()
        plan = zip(self.steps, self.releases, self.in_place, strict=True)
        for step, releases, in_place in plan:
            values[step.value] = step.evaluate(values, images, in_place=in_place and writes)
            for index in releases:
                del values[index]
        return {index: values[index] for index in self.results}


def prepare(steps: Iterable[Step], tensors: Mapping[str, Tensor]) -> tuple[PreparedStep, ...]:
    """Steps with their tensors; the result of step i is value i + 1."""
    return tuple(PreparedStep(step, value, tensors) for value, step in enumerate(steps, start=1))
