"""A program in the making: steps without shapes, from which a program is finished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from camreel.program.format import (
    IMAGES,
    Batch,
    ModuleCall,
    OutputActivation,
    Program,
    Step,
    TensorSpec,
)
from camreel.program.opset import DTYPES
from camreel.program.references import (
    Argument,
    TensorReference,
    ValueReference,
    value_indices,
)
from camreel.program.shapes import infer_shapes

DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Draft:
    """Steps that lead to an output, and the module calls among them."""

    steps: Sequence[Step]
    output: int
    modules: Sequence[ModuleCall]

    def append(self, operator: str, **arguments: Argument) -> "Draft":
        """The draft with another step, whose result is the output."""
        steps = (*self.steps, Step(operator, arguments, ()))
        return Draft(steps, len(steps), self.modules)

    def prune(self) -> "Draft":
        """The steps that the output depends on; modules without them are left out."""
        required_values = {self.output}
        for index in range(self.output, 0, -1):
            if index in required_values:
                for argument in self.steps[index - 1].arguments.values():
                    required_values.update(value_indices(argument))
        required_values.add(IMAGES)
        indices = {index: position for position, index in enumerate(sorted(required_values))}
        steps = tuple(
            replace(step, arguments={n: _renumbered(a, indices) for n, a in step.arguments.items()})
            for index, step in enumerate(self.steps, start=1)
            if index in required_values
        )
        modules = tuple(
            ModuleCall(call.name, indices[call.value])
            for call in self.modules
            if call.value in required_values
        )
        return Draft(steps, indices[self.output], modules)

    def finish(
        self,
        *,
        input_shape: tuple[int, int, int],
        batch: Batch,
        output_activation: OutputActivation,
        tensors: Mapping[str, Tensor],
    ) -> Program:
        """The program. Raises InvalidProgram if a step cannot be evaluated."""
        names = dict.fromkeys(
            name
            for step in self.steps
            for argument in step.arguments.values()
            for name in _tensor_names(argument)
        )
        program = Program(
            input_shape=input_shape,
            batch=batch,
            steps=tuple(self.steps),
            tensors=tuple(
                TensorSpec(name, DTYPE_NAMES[tensors[name].dtype], tuple(tensors[name].shape))
                for name in names
            ),
            modules=tuple(self.modules),
            logits=self.output,
            classes=0,
            output_activation=output_activation,
            default_layer=None,
        )
        shapes = infer_shapes(program)
        steps = tuple(
            replace(step, shape=shape) for step, shape in zip(self.steps, shapes, strict=True)
        )
        return replace(program, steps=steps)


def _renumbered(argument: Argument, indices: Mapping[int, int]) -> Argument:
    if isinstance(argument, ValueReference):
        return ValueReference(indices[argument.index])
    if isinstance(argument, tuple):
        return tuple(_renumbered(item, indices) for item in argument)
    return argument


def _tensor_names(argument: Argument) -> tuple[str, ...]:
    if isinstance(argument, TensorReference):
        return (argument.name,)
    if isinstance(argument, tuple):
        return tuple(name for item in argument for name in _tensor_names(item))
    return ()
