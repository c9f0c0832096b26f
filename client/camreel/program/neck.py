"""Heads whose channels stay apart up to a pooled value: most networks end so.

Behind the last convolution of ResNet, DenseNet, EfficientNet, MobileNet, ConvNeXt and Swin, every
operator treats a channel by itself until only one number a channel is left. The gradient by all
activations of a class is then the product of two small factors.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from camreel.program.chain import Chain, match_chain
from camreel.program.cut import operands
from camreel.program.format import Program, Step
from camreel.program.interpreter import Live, Split
from camreel.program.references import (
    BatchMultiple,
    Shape,
    TensorReference,
    ValueReference,
    value_indices,
)

UNARY = frozenset(
    """relu sigmoid tanh silu mish selu hardswish hardsigmoid gelu hardtanh leaky_relu elu softplus
    neg abs exp sqrt clamp to_dtype detach""".split()  # noqa: SIM905  as a list it is a line a word
)
BINARY = frozenset({"add", "sub", "mul", "div", "maximum", "minimum"})
CHANNELS_FIRST = frozenset(
    """batch_norm prelu max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d
    adaptive_avg_pool1d""".split()  # noqa: SIM905
)
"""Operators that treat each index of axis 1 by itself."""
REDUCTIONS = frozenset({"mean", "sum", "amax", "amin"})

MEANS = frozenset({"adaptive_avg_pool2d", "adaptive_avg_pool1d", "mean"})
MOVES = frozenset({"reshape", "permute"})
"""Operators that change no number."""


@dataclass(frozen=True)
class ProgramNeck:
    """x = tail(pool(activations, live)), with one number a channel in between."""

    pool: Callable[[Tensor, Live], Tensor]
    """p (N, K) of the activations at the cut; p_k depends on those of channel k alone."""
    tail: Callable[[Tensor], Tensor]
    """x (N, C) of p (N, K)."""
    linear_weights: Tensor | None
    """W (C, K) if the pooling is the mean over positions and the tail one linear layer."""
    is_mean: bool
    """Whether the pooling is the mean over positions."""
    chain: Chain | None
    """The tail, if its Jacobian has a closed form."""


def find_neck(split: Split, channel_axis: int) -> ProgramNeck | None:
    """The neck of a split whose activations have their channels on an axis, counted from 0.

    None if channels mix before they are pooled, or if what follows reads other values.
    """
    program, cut = split.network.program, split.cut
    if program.batch != "dynamic":
        return None
    channels = program.shapes[cut.value][channel_axis]
    axes = _axes_apart(program, cut.head, {cut.value: channel_axis})
    operands_by_value = operands(program)
    for value in sorted(axes, reverse=True):
        above = [index for index in cut.head if index > value]
        reads = {operand for index in above for operand in operands_by_value[index]}
        if (
            above
            and _is_pooled(program.shapes[value], channels)
            and all(operand >= value and operand in (*cut.head, cut.value) for operand in reads)
        ):
            return _neck(split, value, above)
    return None


def _neck(split: Split, pooled: int, above: Sequence[int]) -> ProgramNeck:
    network, cut = split.network, split.cut
    logits = network.program.logits
    sizes = [size for size in network.program.shapes[pooled][1:] if isinstance(size, int)]
    to_pooled = network.plan([index for index in cut.head if index <= pooled], (pooled,))
    to_logits = network.plan(above, (logits,))

    def pool(activations: Tensor, live: Live) -> Tensor:
        (values,) = live.parts
        inputs = {**values, cut.value: activations}
        return to_pooled.run(inputs, len(activations))[pooled].flatten(1)

    def tail(channels: Tensor) -> Tensor:
        inputs = {pooled: channels.view(len(channels), *sizes)}
        return to_logits.run(inputs, len(channels))[logits]

    is_mean = _is_mean(split, pooled)
    steps = [network.program.steps[index - 1] for index in above]
    entries = list(zip(steps, network.prepared_steps(above), strict=True))
    return ProgramNeck(
        pool,
        tail,
        _linear_weights(split, above) if is_mean else None,
        is_mean,
        match_chain(network.program, pooled, entries),
    )


def _is_mean(split: Split, pooled: int) -> bool:
    steps, cut = split.network.program.steps, split.cut
    operators = [steps[index - 1].operator for index in cut.head if index <= pooled]
    # Behind one mean, all positions weigh the same; behind means of windows, they may not.
    return sum(name in MEANS for name in operators) == 1 and set(operators) <= MEANS | MOVES


def _linear_weights(split: Split, above: Sequence[int]) -> Tensor | None:
    *reshapes, last = (split.network.program.steps[index - 1] for index in above)
    weight = last.arguments.get("weight")
    is_linear = last.operator == "linear" and all(step.operator == "reshape" for step in reshapes)
    if not is_linear or not isinstance(weight, TensorReference):
        return None
    return split.network.tensors[weight.name]


def _axes_apart(program: Program, head: Sequence[int], axes: Mapping[int, int]) -> dict[int, int]:
    """The channel axis of each value of a head whose channels are apart."""
    apart = dict(axes)
    mixed: set[int] = set()
    for index in head:
        step = program.steps[index - 1]
        operand_values = {
            operand for argument in step.arguments.values() for operand in value_indices(argument)
        }
        axis = None
        if operand_values.isdisjoint(mixed):
            axis = _axis_of(step, program.shapes, apart, operand_values)
        if axis is None:
            mixed.add(index)
        else:
            apart[index] = axis
    return apart


def _axis_of(
    step: Step, shapes: Sequence[Shape], apart: Mapping[int, int], operand_values: set[int]
) -> int | None:
    """The channel axis of a step's result; None if the step mixes channels."""
    name = step.operator
    reads = {apart[operand] for operand in operand_values if operand in apart}
    if len(reads) != 1:
        return None
    (axis,) = reads
    if name in BINARY:
        (operand, *_) = (value for value in operand_values if value in apart)
        is_broadcast = shapes[operand] != step.shape
        return None if is_broadcast else axis
    source = step.arguments.get("input")
    if not isinstance(source, ValueReference) or operand_values != {source.index}:
        return None
    return _axis_of_unary(step, shapes[source.index], axis)


def _axis_of_unary(step: Step, shape: Shape, axis: int) -> int | None:
    name = step.operator
    if name in UNARY:
        return axis
    if name in CHANNELS_FIRST:
        return axis if axis == 1 else None
    if name in REDUCTIONS:
        return _axis_reduced(step, len(shape), axis)
    if name == "permute":
        dims = step.arguments["dims"]
        return dims.index(axis) if isinstance(dims, tuple) else None
    if name == "reshape":
        return _axis_reshaped(shape, step.shape, axis)
    return None


def _axis_reduced(step: Step, rank: int, axis: int) -> int | None:
    dims = step.arguments.get("dim", step.arguments.get("dims"))
    if not isinstance(dims, tuple):
        return None
    reduced = {dim % rank for dim in dims if isinstance(dim, int)}
    if axis in reduced or 0 in reduced:
        return None
    if step.arguments.get("keepdim"):
        return axis
    return axis - sum(dim < axis for dim in reduced)


def _axis_reshaped(shape: Shape, result: Shape, axis: int) -> int | None:
    channels = shape[axis]
    if _is_pooled(shape, channels) and _is_pooled(result, channels):
        return result.index(channels, 1)
    keeps_front = axis == 1 and result[:2] == shape[:2]
    return axis if keeps_front else None


def _is_pooled(shape: Shape, channels: object) -> bool:
    """Whether a value holds one number a channel for each image."""
    sizes = [size for size in shape[1:] if isinstance(size, int)]
    is_by_image = shape[0] == BatchMultiple(1) and len(sizes) == len(shape) - 1
    return is_by_image and channels in sizes and math.prod(sizes) == channels
