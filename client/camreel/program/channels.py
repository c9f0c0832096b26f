"""Which axis of a value holds its channels, from the operators that read and make it."""

from collections.abc import Sequence

from camreel.program.cut import operands
from camreel.program.format import Program, Step
from camreel.program.references import Shape, ValueReference

FIRST, LAST = 1, -1

CHANNELS_FIRST = frozenset(
    """conv1d conv2d conv_transpose2d batch_norm group_norm instance_norm max_pool2d avg_pool2d
    adaptive_avg_pool2d adaptive_max_pool2d adaptive_avg_pool1d interpolate pixel_shuffle
    pixel_unshuffle channel_shuffle prelu""".split()  # noqa: SIM905  as a list it is a line a word
)
"""Operators whose input has its channels behind the batch."""
CHANNELS_LAST = frozenset({"linear", "layer_norm", "rms_norm"})
"""Operators whose input has its channels at the end."""
NO_CHANNELS = frozenset(
    {"matmul", "scaled_dot_product_attention", "softmax", "einsum", "baddbmm", "addmm"}
)
"""Operators that read queries, keys, values and scores, which are no maps."""
REDUCTIONS = frozenset({"mean", "sum", "amax", "amin", "var", "std"})
SAME_AXES = frozenset(
    """relu sigmoid tanh silu mish selu hardswish hardsigmoid gelu hardtanh leaky_relu elu softplus
    add sub mul div maximum minimum pow clamp addcmul neg abs exp sqrt to_dtype slice pad roll cat
    flip detach where masked_fill vector_norm batch_norm layer_norm rms_norm group_norm
    instance_norm prelu""".split()  # noqa: SIM905
)
"""Operators whose result has its axes where their input has them."""

NO_AXIS = 0
"""Instead of an axis: the value is known to have no channels."""


def channel_axes(program: Program) -> list[int | None]:
    """For each value 1 or -1, 0 if it has no channels, None if nothing tells."""
    count = len(program.steps) + 1
    axes: list[int | None] = [None] * count
    operands_by_value = operands(program)
    for reader in range(count - 1, 0, -1):
        step = program.steps[reader - 1]
        for operand in operands_by_value[reader]:
            axis = _axis_read(step, operand, program.shapes, axes[reader])
            # The nearest reader decides: readers come in descending order.
            axes[operand] = axes[operand] if axis is None else axis
    for value in range(1, count):
        if axes[value] is None:
            axes[value] = _axis_made(program.steps[value - 1], operands_by_value[value], axes)
    axes[0] = FIRST
    return axes


def _axis_read(
    step: Step, operand: int, shapes: Sequence[Shape], result_axis: int | None
) -> int | None:
    """The channel axis of an operand, as its reader tells it."""
    name = step.operator
    if name in NO_CHANNELS:
        return NO_AXIS
    if name in CHANNELS_FIRST | CHANNELS_LAST:
        if step.arguments.get("input") != ValueReference(operand):
            return None
        return FIRST if name in CHANNELS_FIRST else LAST
    rank = len(shapes[operand])
    if name in REDUCTIONS:
        return _axis_reduced(step, rank)
    if name in ("permute", "transpose"):
        return _axis_permuted(step, rank, result_axis)
    if name == "select" and rank == 3:  # the class token is taken
        return LAST if step.arguments["dim"] == 1 else None
    if name == "reshape" and rank == 4 and result_axis == LAST:
        return _axis_flattened(shapes[operand], step.shape)
    if name in SAME_AXES and rank == len(step.shape):
        return result_axis
    return None


def _axis_reduced(step: Step, rank: int) -> int | None:
    reduced = {dim % rank for dim in step.integers("dims")}
    if reduced == set(range(2, rank)):
        return FIRST
    if reduced == set(range(1, rank - 1)):
        return LAST
    return None


def _axis_permuted(step: Step, rank: int, result_axis: int | None) -> int | None:
    if not result_axis:
        return result_axis
    order = list(range(rank))
    if step.operator == "transpose":
        left, right = step.integer("dim0") % rank, step.integer("dim1") % rank
        order[left], order[right] = order[right], order[left]
    else:
        order = [dim % rank for dim in step.integers("dims")]
    axis = order[result_axis]
    return {1: FIRST, rank - 1: LAST}.get(axis)


def _axis_flattened(grid_shape: Shape, shape: Shape) -> int | None:
    """The channel axis where a grid becomes tokens, or a vector, with channels at the end."""
    if len(shape) == 3 and shape[-1] == grid_shape[-1]:
        return LAST
    return None


def _axis_made(step: Step, operand_values: Sequence[int], axes: Sequence[int | None]) -> int | None:
    """The channel axis of a result, as its operator and operands tell it."""
    if step.operator in CHANNELS_FIRST:
        return FIRST
    if step.operator in CHANNELS_LAST:
        return LAST
    if step.operator in SAME_AXES:
        return next((axes[operand] for operand in operand_values if axes[operand]), None)
    return None
