"""The operators of programs, opset 1: what a step may call, with which arguments.

The list is closed. Nothing on it reads files, draws random numbers, or makes tensors of a size that
is not bounded by that of its operands, except `expand`, `repeat`, `pad` and `interpolate`, whose
results the dry run of `shapes` bounds before anything is allocated.

Functions are torch's public ones, as far as there are: `TorchFunctionMode`s see `torch.conv2d`,
`F.batch_norm`, `torch.relu` and so on, exactly as if a module had called them.
"""

from camreel.program.opset.activations import ACTIVATIONS
from camreel.program.opset.arithmetic import ARITHMETIC
from camreel.program.opset.linear import LINEAR_OPERATORS
from camreel.program.opset.normalizations import NORMALIZATIONS
from camreel.program.opset.operator import DTYPES, Operator
from camreel.program.opset.reductions import POOLINGS, REDUCTIONS
from camreel.program.opset.shapes import SHAPES

__all__ = ["DTYPES", "OPERATORS", "OPSET_VERSION", "Operator"]

OPSET_VERSION = 1

OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        *LINEAR_OPERATORS,
        *ACTIVATIONS,
        *NORMALIZATIONS,
        *POOLINGS,
        *ARITHMETIC,
        *REDUCTIONS,
        *SHAPES,
    )
}
"""The opset, by name."""
