"""How a network ends: the pre-activations before softmax, log-softmax and sigmoid."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from camreel.program.format import OutputActivation, Step
from camreel.program.references import ValueReference

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softmax": lambda signal: torch.softmax(signal, 1),
    "log_softmax": lambda signal: torch.log_softmax(signal, 1),
    "log": torch.log,
}

PATTERNS = (
    ("sigmoid", "softmax", "log"),
    ("sigmoid", "softmax"),
    ("sigmoid", "log_softmax"),
    ("softmax", "log"),
    ("softmax",),
    ("log_softmax",),
    ("sigmoid",),
)
"""Operators behind the pre-activations, innermost first; longer patterns before their parts."""

_PASSED_OVER = {"reshape", "to_dtype"}


@dataclass(frozen=True)
class Ending:
    """Operators between the pre-activations and what the module returns, innermost first."""

    value: int
    """Index of the value before them."""
    operators: tuple[str, ...]

    @property
    def output_activation(self) -> OutputActivation:
        """What stands between the pre-activations and softmax."""
        return "sigmoid" if self.operators[:1] == ("sigmoid",) else "identity"

    def apply(self, pre_activations: Tensor) -> Tensor:
        """What the module returns for pre-activations (N, C)."""
        output = pre_activations
        for operator in self.operators:
            output = FUNCTIONS[operator](output)
        return output


def find_ending(steps: Sequence[Step], output: int) -> Ending:
    """Walk from the output down to the pre-activations.

    Reshaping and conversions between the operators are passed over: a single logit may lose its
    dimension there.
    """
    operators: list[str] = []
    values = [output]
    while (operator := _ending_operator(steps, values[-1])) is not None:
        value = _input_of(steps[values[-1] - 1])
        if operator in _PASSED_OVER:
            values[-1] = value
            continue
        operators.insert(0, operator)
        values.append(value)
    for pattern in PATTERNS:
        if tuple(operators[-len(pattern) :]) == pattern:
            return Ending(values[len(pattern)], pattern)
    return Ending(output, ())


def _ending_operator(steps: Sequence[Step], value: int) -> str | None:
    """The operator that makes a value, if it may be part of an ending."""
    if value == 0:
        return None
    step = steps[value - 1]
    if step.operator in ("softmax", "log_softmax"):
        return step.operator if step.arguments["dim"] in (1, -1) else None
    return step.operator if step.operator in _PASSED_OVER | {"sigmoid", "log"} else None


def _input_of(step: Step) -> int:
    reference = step.arguments["input"]
    return reference.index if isinstance(reference, ValueReference) else 0
