"""A program cut at a value: the steps below, the steps above, and the values that cross the cut.

The head is what both depends on the activations and leads to the output. Residual connections and
dense blocks pass the cut beside the activations: as *live* values, which the head reads as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from camreel.program.format import IMAGES, Program
from camreel.program.references import value_indices


@dataclass(frozen=True)
class Cut:
    """Indices of values: what is computed below, what above, what crosses."""

    value: int
    below: tuple[int, ...]
    head: tuple[int, ...]
    live: tuple[int, ...]
    """Values below that the head reads, without the activations themselves."""


def operands(program: Program) -> tuple[tuple[int, ...], ...]:
    """The values that each value is computed from; none for the images."""
    return (
        (),
        *(
            tuple(
                index for argument in step.arguments.values() for index in value_indices(argument)
            )
            for step in program.steps
        ),
    )


def cut_program(program: Program, value: int) -> Cut:
    """Cut a program at a value. Raises ValueError if the output does not depend on the value."""
    operands_by_value = operands(program)
    descendants = _descendants(operands_by_value, value)
    head_values = descendants & _ancestors(operands_by_value, [program.logits])
    if program.logits not in head_values or value == program.logits:
        raise ValueError(f"the output does not depend on value {value}")
    head = tuple(sorted(head_values - {value}))
    live = tuple(sorted({i for v in head for i in operands_by_value[v] if i not in head_values}))
    below = _ancestors(operands_by_value, [value, *live]) - {IMAGES}
    return Cut(value, tuple(sorted(below)), head, live)


def _descendants(operands_by_value: Sequence[Sequence[int]], value: int) -> set[int]:
    descendants = {value}
    for index in range(value + 1, len(operands_by_value)):
        if not descendants.isdisjoint(operands_by_value[index]):
            descendants.add(index)
    return descendants


def _ancestors(operands_by_value: Sequence[Sequence[int]], values: Iterable[int]) -> set[int]:
    ancestors = set(values)
    for index in range(max(ancestors), 0, -1):
        if index in ancestors:
            ancestors.update(operands_by_value[index])
    return ancestors


def leading_values(program: Program) -> set[int]:
    """Values below the output that the output depends on, the images included."""
    return _ancestors(operands(program), [program.logits]) - {program.logits}


def image_values(program: Program) -> set[int]:
    """Values that depend on the images, which are among them, and that the output depends on."""
    return _descendants(operands(program), IMAGES) & leading_values(program)
