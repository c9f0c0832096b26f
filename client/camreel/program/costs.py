"""What steps take: operations, and memory beside their operands and results."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from camreel.program.errors import InvalidProgram
from camreel.program.format import Step
from camreel.program.references import Operand, TensorReference, ValueReference

Sizes = Sequence[int]
ShapeOf = Callable[[Operand], Sizes]


@dataclass(frozen=True)
class Limits:
    """What a program may take for one image."""

    value_elements: int = 2**27
    """Of one value: 512 MiB of float32."""
    live_elements: int = 2**28
    """Of all values that are alive at once, and of what a step takes while it is evaluated."""
    operations: float = 1e12
    """Multiplications of a forward pass. A ResNet-50 takes 4e9, the largest ViT 5e11."""


LIMITS = Limits()


@dataclass(frozen=True)
class StepCost:
    """What the evaluation of a step takes; upper bounds."""

    operations: float
    """Multiplications, or comparisons."""
    workspace: int = 0
    """Elements that are allocated while the step is evaluated."""


def step_cost(step: Step, result: Sizes, shape_of: ShapeOf) -> StepCost:
    """The cost of a step with a result of that shape."""
    elements = math.prod(result)

    def shape(name: str) -> Sizes:
        return shape_of(step.operand(name))

    match step.operator:
        case "conv1d" | "conv2d" | "conv_transpose2d":
            taps = math.prod(shape("weight")[1:])
            # The columns of a convolution that is computed as a product of matrices.
            columns = taps * step.integer("groups") * elements // max(1, result[1])
            return StepCost(elements * taps, columns)
        case "linear" | "matmul":
            return StepCost(elements * shape("input")[-1])
        case "addmm":
            return StepCost(elements * shape("mat1")[-1])
        case "baddbmm":
            return StepCost(elements * shape("batch1")[-1])
        case "scaled_dot_product_attention":
            scores = math.prod(shape("query")[:-1]) * shape("key")[-2]
            return StepCost(scores * (shape("query")[-1] + shape("value")[-1]), 2 * scores)
        case "einsum":
            return _einsum_cost(step, shape_of)
        case "max_pool2d" | "avg_pool2d":
            return StepCost(elements * max(step.integers("kernel_size")) ** 2)
    return StepCost(max(elements, _operand_elements(step, shape_of)))


def _einsum_cost(step: Step, shape_of: ShapeOf) -> StepCost:
    equation = str(step.argument("equation")).partition("->")[0]
    sizes: dict[str, int] = {}
    for letters, operand in zip(equation.split(","), _operands(step), strict=False):
        sizes.update(zip(letters, shape_of(operand), strict=False))
    return StepCost(math.prod(sizes.values()), _operand_elements(step, shape_of))


def _operand_elements(step: Step, shape_of: ShapeOf) -> int:
    return sum(math.prod(shape_of(operand)) for operand in _operands(step))


def _operands(step: Step) -> list[Operand]:
    arguments = step.arguments.values()
    items = (item for a in arguments for item in (a if isinstance(a, tuple) else (a,)))
    return [item for item in items if isinstance(item, ValueReference | TensorReference)]


class Budget:
    """What the steps of a program take, compared with limits."""

    def __init__(self, limits: Limits, images: int) -> None:
        """`images` is the number of images that costs are of."""
        self._limits = limits
        self._images = images
        self._live_elements = 0
        self._operations = 0.0

    def add(self, field: str, cost: StepCost, elements: int) -> None:
        """Account for a step's cost, and its result. Raises InvalidProgram beyond a limit."""
        limits = self._limits
        self._live_elements += elements
        self._operations += cost.operations
        if elements > limits.value_elements * self._images:
            raise InvalidProgram(field, f"has {elements:,} elements, which are too many")
        if self._live_elements + cost.workspace > limits.live_elements * self._images:
            raise InvalidProgram(field, "too many elements are alive at once")
        if self._operations > limits.operations * self._images:
            raise InvalidProgram(field, "the program takes too many operations")

    def release(self, elements: int) -> None:
        """Account for a value that is no longer read."""
        self._live_elements -= elements
