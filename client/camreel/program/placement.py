"""Where the positions of values lie on the image: the centers of their receptive fields.

Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from camreel.program.channels import SAME_AXES
from camreel.program.cut import operands
from camreel.program.format import Program, Step
from camreel.program.references import TensorReference, ValueReference


@dataclass(frozen=True)
class AxisPlacement:
    """Position i of an axis is centered on pixel `first_center` + `step` i of the input."""

    first_center: float
    step: float


GridPlacement = tuple[AxisPlacement, AxisPlacement]
"""Of the vertical and the horizontal axis."""


@dataclass(frozen=True)
class Unknown:
    """Branches of different centers meet in a value."""


Placement = GridPlacement | Unknown | None


def grid_placements(program: Program) -> list[Placement]:
    """The placement of each value (N, C, H, W); None where operators do not tell it."""
    pixel = AxisPlacement(0.0, 1.0)
    placements: list[Placement] = [(pixel, pixel)]
    operands_by_value = operands(program)
    for value, step in enumerate(program.steps, start=1):
        operand_values = operands_by_value[value]
        if len(step.shape) != 4 or not operand_values:
            placements.append(None)
        else:
            placements.append(_placement(program, step, operand_values, placements))
    return placements


def _placement(
    program: Program, step: Step, operand_values: Sequence[int], placements: Sequence[Placement]
) -> Placement:
    name = step.operator
    below = placements[operand_values[0]]
    if name in ("conv2d", "max_pool2d", "avg_pool2d"):
        return _strided(program, step, below)
    if name in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        is_same_size = program.shapes[operand_values[0]][2:] == step.shape[2:]
        return below if is_same_size else None
    if name == "pad":
        return _padded(step, below)
    if name in SAME_AXES - {"slice", "roll", "flip"}:
        return _common(program, step, operand_values, placements)
    return None


def _strided(program: Program, step: Step, below: Placement) -> Placement:
    if not isinstance(below, tuple):
        return below
    is_convolution = step.operator == "conv2d"
    kernel = _kernel(program, step) if is_convolution else _pair(step.integers("kernel_size"))
    stride = _pair(step.integers("stride")) or kernel
    padding = _pair(step.integers("padding"))
    dilation = (1, 1) if step.operator == "avg_pool2d" else _pair(step.integers("dilation"))
    vertical, horizontal = (
        AxisPlacement(
            axis.first_center + axis.step * (dilation[i] * (kernel[i] - 1) / 2 - padding[i]),
            axis.step * stride[i],
        )
        for i, axis in enumerate(below)
    )
    return vertical, horizontal


def _kernel(program: Program, step: Step) -> tuple[int, ...]:
    match step.operand("weight"):
        case TensorReference(name):
            return program.tensors_by_name[name].shape[2:]
        case ValueReference(index):
            return tuple(s for s in program.shapes[index][2:] if isinstance(s, int))


def _pair(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes of both axes: torch repeats a single one."""
    return sizes * 2 if len(sizes) == 1 else sizes


def _padded(step: Step, below: Placement) -> Placement:
    if not isinstance(below, tuple):
        return below
    left, _, top, *_ = (*step.integers("pad"), 0, 0)
    vertical, horizontal = below
    return (
        AxisPlacement(vertical.first_center - top * vertical.step, vertical.step),
        AxisPlacement(horizontal.first_center - left * horizontal.step, horizontal.step),
    )


def _common(
    program: Program, step: Step, operand_values: Sequence[int], placements: Sequence[Placement]
) -> Placement:
    """The placement that all operands of the result's size share."""
    candidates = [
        placements[operand]
        for operand in operand_values
        if len(program.shapes[operand]) == 4 and program.shapes[operand][2:] == step.shape[2:]
    ]
    if not candidates or any(candidate is None for candidate in candidates):
        return None
    if any(not _equal(candidates[0], candidate) for candidate in candidates[1:]):
        return Unknown()
    return candidates[0]


def _equal(left: Placement, right: Placement) -> bool:
    if not isinstance(left, tuple) or not isinstance(right, tuple):
        return False
    return all(
        math.isclose(a.first_center, b.first_center, abs_tol=1e-6)
        and math.isclose(a.step, b.step, rel_tol=1e-6)
        for a, b in zip(left, right, strict=True)
    )
