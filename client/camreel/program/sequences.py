"""Overloads that return several tensors, such as `chunk`: each item is a slice of the input."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.fx import Node

from camreel.program.references import Dimension, Operand
from camreel.program.symbolic_sizes import BatchDependence


class ItemWriter(Protocol):
    """What an item needs of the translation of a graph."""

    def emit(self, operator: str, **arguments: Any) -> Operand:
        """Append a step; returns its result."""

    def item_shape(self, node: Node, index: int) -> tuple[Dimension, ...]:
        """Shape of one of the results of a node."""

    def first_operand(self, node: Node) -> Any:
        """What the tensor is now that a node takes first."""


def _chunk(writer: ItemWriter, node: Node, index: int) -> Operand:
    dim = _dim(node)
    sizes = [writer.item_shape(node, i)[dim] for i in range(index + 1)]
    lengths = [size for size in sizes if isinstance(size, int)]
    if len(lengths) < len(sizes):
        raise BatchDependence
    return writer.emit(
        "slice",
        input=writer.first_operand(node),
        dim=dim,
        start=sum(lengths[:-1]) or None,
        end=sum(lengths),
    )


def _unbind(writer: ItemWriter, node: Node, index: int) -> Operand:
    return writer.emit("select", input=writer.first_operand(node), dim=_dim(node), index=index)


def _dim(node: Node) -> int:
    overload = node.target
    assert isinstance(overload, torch._ops.OpOverload)  # noqa: S101, SLF001  torch's only name
    names = [argument.name for argument in overload._schema.arguments]  # noqa: SLF001
    position = names.index("dim")
    dim = node.args[position] if position < len(node.args) else node.kwargs.get("dim", 0)
    assert isinstance(dim, int)  # noqa: S101
    return dim


SEQUENCES: dict[str, Callable[[ItemWriter, Node, int], Operand]] = {
    "chunk.default": _chunk,
    "split.Tensor": _chunk,
    "split.sizes": _chunk,
    "split_with_sizes.default": _chunk,
    "tensor_split.sections": _chunk,
    "unbind.int": _unbind,
}
"""By overload: an item of its result."""
