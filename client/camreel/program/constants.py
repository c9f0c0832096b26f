"""Constants: what depends on neither images nor weights is computed when a module is exported."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from camreel.program.references import BatchMultiple, TensorReference, ValueReference

CONSTANT_PREFIX = "constant:"
"""Of the names of constants; no attribute of a module has a colon in its name."""

_FACTORIES = ("new_zeros.", "new_ones.", "new_full.", "new_empty.")
"""Overloads that take no more than a type from their operand."""


class ConstantPool:
    """The constants of a program, by names that it gives them."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[tuple[int, int], str] = {}
        self._sources: list[Tensor] = []  # alive, so that no other tensor has their identity

    def reference(self, tensor: Tensor) -> TensorReference:
        """A reference to the tensor's present elements."""
        # A tensor that is written to later has another version by then.
        key = (id(tensor), tensor._version)  # noqa: SLF001  no public name
        if key not in self._names:
            name = f"{CONSTANT_PREFIX}{len(self.tensors)}"
            self._names[key] = name
            self._sources.append(tensor)
            self.tensors[name] = tensor.detach().clone().contiguous()
        return TensorReference(self._names[key])


def find_baked_weight(exported: ExportedProgram, weights: Mapping[str, Tensor]) -> str | None:
    """A constant of the graph that is a weight, by its name; None if there is none.

    A constant that shares memory with a weight of the module, or that is trained although the
    module does not hold it as a weight, such as the variables of Keras.
    """
    names = {_memory(tensor): name for name, tensor in weights.items() if tensor.numel()}
    for spec in exported.graph_signature.input_specs:
        if spec.kind is not InputKind.CONSTANT_TENSOR or spec.target is None:
            continue
        constant = exported.constants[spec.target]
        if not isinstance(constant, Tensor) or not constant.numel():
            continue
        if _memory(constant) in names:
            return names[_memory(constant)]
        if constant.requires_grad:
            return str(spec.target)
    return None


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def is_constant_call(overload_name: str, arguments: Iterable[Any]) -> bool:
    """Whether a call depends on neither images nor weights, nor on the number of images."""
    operands = list(_flat(arguments))
    if any(isinstance(operand, BatchMultiple) for operand in operands):
        return False
    if overload_name.startswith(_FACTORIES):
        return True
    return not any(isinstance(o, ValueReference | TensorReference) for o in operands)


def fold_call(overload: torch._ops.OpOverload, args: Any, kwargs: dict[str, Any]) -> Any:
    """What a call of constants returns. Raises RuntimeError as torch does."""
    with torch.no_grad():
        return overload(*_real(args), **{name: _real(a) for name, a in kwargs.items()})


def _real(argument: Any) -> Any:
    if isinstance(argument, ValueReference | TensorReference):
        return torch.empty(0)  # the operand of a factory
    if isinstance(argument, list | tuple):
        return [_real(item) for item in argument]
    return argument


def _flat(arguments: Iterable[Any]) -> Iterable[Any]:
    for argument in arguments:
        if isinstance(argument, list | tuple):
            yield from _flat(argument)
        else:
            yield argument
