"""The graph of torch.export as steps of a program.

In-place calls become their functional twins: later uses of the tensor read the new value. What
depends on neither images nor weights, such as the attention masks that a Swin transformer draws by
writing into slices, is computed here and becomes a constant.
"""

import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node

from camreel.program.constants import ConstantPool, fold_call, is_constant_call
from camreel.program.format import IMAGES, Step
from camreel.program.lowering import LOWERINGS, UnsupportedCall
from camreel.program.opset import DTYPES, OPERATORS
from camreel.program.overloads import COPIES, FIRST_RESULTS, PASS_THROUGH, VIEWS, is_whole
from camreel.program.references import Dimension, Operand, TensorReference, ValueReference
from camreel.program.sequences import SEQUENCES
from camreel.program.symbolic_sizes import dimension_of

DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class NotFunctional(Exception):
    """The graph writes into a tensor that is read through another view, or casts automatically."""


class UnsupportedNode(Exception):
    """A node that programs cannot express."""

    def __init__(self, reason: str, node: Node) -> None:
        super().__init__(reason)
        self.node = node


@dataclass
class Storage:
    """Memory that several tensors may share, and the nodes that have their results in it."""

    nodes: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Translation:
    """Steps without shapes, and what they are made of."""

    steps: list[Step]
    output: ValueReference
    constants: dict[str, Tensor]
    values: dict[Node, int]
    """The value that a node's result has when it is made."""


class Translator:
    """Translates one graph."""

    def __init__(self, exported: ExportedProgram, prefix: str) -> None:
        """`prefix` is left out of the names of tensors."""
        self._exported = exported
        self._prefix = prefix
        self._steps: list[Step] = []
        self._operands: dict[Node, Any] = {}
        """What each node's tensor is now: operand, constant tensor, size, or list of operands."""
        self._values: dict[Node, int] = {}
        self._storages: dict[Node, Storage] = {}
        self._positions = {node: i for i, node in enumerate(exported.graph.nodes)}
        self._constants = ConstantPool()

    def translate(self) -> Translation:
        """Translate all nodes. Raises UnsupportedNode, BatchDependence or NotFunctional."""
        placeholders = {spec.arg.name: spec for spec in self._exported.graph_signature.input_specs}
        output: Any = None
        for node in self._exported.graph.nodes:
            if node.op == "placeholder":
                self._operands[node] = self._placeholder(placeholders[node.name])
                self._storages[node] = Storage([node])
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                output = self._user_output(node)
        operand = self._reference(self._operands[output])
        if not isinstance(operand, ValueReference):
            raise UnsupportedNode("the output does not depend on the images", output)
        return Translation(self._steps, operand, self._constants.tensors, self._values)

    def _user_output(self, node: Node) -> Node:
        """What the module returns, rather than a buffer that it has written to."""
        outputs = zip(
            node.all_input_nodes, self._exported.graph_signature.output_specs, strict=True
        )
        (output,) = (n for n, spec in outputs if spec.kind == OutputKind.USER_OUTPUT)
        return output

    # Inputs

    def _placeholder(self, spec: Any) -> Any:
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            return TensorReference(spec.target.removeprefix(self._prefix))
        if spec.kind == InputKind.CONSTANT_TENSOR:
            return self._exported.constants[spec.target].detach().clone()
        return ValueReference(IMAGES)

    # Calls

    def _call(self, node: Node) -> None:
        size = node.meta.get("val")
        if isinstance(size, int | torch.SymInt) and not isinstance(size, bool):
            self._operands[node] = dimension_of(size)
        elif node.target is operator.getitem:
            self._item(node)
        elif isinstance(node.target, torch._ops.OpOverload):  # noqa: SLF001  torch's only name
            self._overload(node, node.target)
        elif "autocast" in _name(node):
            raise NotFunctional
        elif "set_grad_enabled" in _name(node):
            raise UnsupportedNode("a part of forward has no gradients (torch.no_grad)", node)
        else:
            raise UnsupportedNode(f"{_name(node)} is not supported", node)

    def _overload(self, node: Node, overload: torch._ops.OpOverload) -> None:
        name = str(overload).removeprefix("aten.")
        if overload.namespace != "aten" or name in _ASSERTIONS:
            if name in _ASSERTIONS:
                return
            raise UnsupportedNode(f"the operator {overload} is not supported", node)
        arguments = self._bound(node, overload)
        if is_constant_call(name, arguments.values()):
            self._fold(node, overload)
        elif overload._schema.is_mutable:  # noqa: SLF001  no public name
            self._write(node, name, arguments)
        else:
            self._set(node, self._lowered(node, name, arguments), self._source(node, name))

    def _lowered(self, node: Node, name: str, arguments: dict[str, Any]) -> Any:
        if name in PASS_THROUGH or (name == "slice.Tensor" and is_whole(arguments)):
            if arguments.get("train") or arguments.get("training"):
                raise UnsupportedNode("dropout is active in evaluation mode", node)
            return _first(arguments)
        if name in SEQUENCES:
            return SEQUENCES[name]  # its items are made where they are taken
        if name.startswith(("to.", "_to_copy.")) and self.dtype_of(node) == self._dtype_before(
            node
        ):
            return _first(arguments)
        if name not in LOWERINGS:
            raise UnsupportedNode(f"the operator aten.{name} is not supported", node)
        try:
            return LOWERINGS[name](self, node, arguments)
        except UnsupportedCall as error:
            raise UnsupportedNode(f"aten.{name} {error} is not supported", node) from None

    def _item(self, node: Node) -> None:
        source, index = node.args
        assert isinstance(source, Node)  # noqa: S101
        assert isinstance(index, int)  # noqa: S101
        sequence = self._operands[source]
        if callable(sequence):
            self._set(node, sequence(self, source, index), source.args[0])
        elif isinstance(sequence, list | tuple):  # of constants
            self._set(node, sequence[index], None)
        elif index == 0 and str(source.target).removeprefix("aten.") in FIRST_RESULTS:
            self._set(node, sequence, None)
        elif node.users:
            raise UnsupportedNode(f"result {index} of {_name(source)} is not supported", node)

    def _set(self, node: Node, operand: Any, source: Any) -> None:
        self._operands[node] = operand
        if isinstance(operand, ValueReference):
            self._values[node] = operand.index
        storage = self._storages[source] if source in self._storages else Storage()
        storage.nodes.append(node)
        self._storages[node] = storage

    def _source(self, node: Node, name: str) -> Node | None:
        """The node whose memory the result may share."""
        is_view = name in VIEWS or name in PASS_THROUGH - COPIES
        is_view = is_view or name == "contiguous.default" or name.startswith("to.")
        return node.args[0] if is_view and isinstance(node.args[0], Node) else None

    def _write(self, node: Node, name: str, arguments: dict[str, Any]) -> None:
        """An in-place call: its functional twin, and the new value for the tensor's nodes."""
        twin = name.replace("_.", ".", 1)
        target = node.args[0]
        if not isinstance(target, Node) or twin == name:
            raise UnsupportedNode(f"the operator aten.{name} is not supported", node)
        previous = self._operands[target]
        if isinstance(previous, Tensor):
            # Other constants may share its memory.
            raise NotFunctional
        result = self._lowered(node, twin, arguments)
        for alias in self._storages[target].nodes:
            if self._operands[alias] == previous:
                self._operands[alias] = result
            elif self._is_read_after(alias, node):
                raise NotFunctional
        self._set(node, result, target)

    def _is_read_after(self, node: Node, position: Node) -> bool:
        return any(self._positions[user] > self._positions[position] for user in node.users)

    def _reference(self, operand: Any) -> Any:
        """An argument of a step: constants become tensors of the program."""
        if isinstance(operand, Tensor):
            return self._constants.reference(operand)
        if isinstance(operand, list | tuple):
            return tuple(self._reference(item) for item in operand)
        return operand

    def _fold(self, node: Node, overload: torch._ops.OpOverload) -> None:
        args = self._translated(node.args, raw=True)
        kwargs = {name: self._translated(a, raw=True) for name, a in node.kwargs.items()}
        try:
            self._operands[node] = fold_call(overload, args, kwargs)
        except RuntimeError as error:
            raise UnsupportedNode(f"{_name(node)} failed: {error}", node) from None
        self._storages[node] = Storage([node])

    # Arguments

    def _bound(self, node: Node, overload: torch._ops.OpOverload) -> dict[str, Any]:
        """The call's arguments by the names of the schema, with defaults."""
        schema = overload._schema.arguments  # noqa: SLF001  no public name
        arguments: dict[str, Any] = {}
        for position, argument in enumerate(schema):
            if position < len(node.args):
                content = node.args[position]
            elif argument.name in node.kwargs:
                content = node.kwargs[argument.name]
            else:
                content = argument.default_value
            arguments[argument.name] = self._translated(content)
        return arguments

    def _translated(self, content: Any, *, raw: bool = False) -> Any:
        """What a node's argument is now; `raw`: types remain those of torch."""
        if isinstance(content, Node):
            return self._operands[content]
        if isinstance(content, list | tuple):
            return tuple(self._translated(item, raw=raw) for item in content)
        if isinstance(content, torch.SymInt):
            return dimension_of(content)
        if isinstance(content, torch.dtype) and not raw:
            return DTYPE_NAMES.get(content, str(content))
        return content

    # StepWriter

    def emit(self, operator: str, **arguments: Any) -> Operand:
        """Append a step; returns its result."""
        definition = OPERATORS[operator]
        explicit_arguments = {}
        for name, argument in arguments.items():
            parameter = definition.parameters_by_name.get(name)
            if parameter is None:
                raise UnsupportedCall(f"with {name}")
            reference = self._checked(self._reference(argument), parameter)
            if reference != parameter.default or type(reference) is not type(parameter.default):
                explicit_arguments[name] = reference
        self._steps.append(Step(operator, explicit_arguments, ()))
        return ValueReference(len(self._steps))

    def _checked(self, argument: Any, parameter: Any) -> Any:
        if argument == () and parameter.default is None:  # torch's empty list: the default
            return None
        try:
            parameter.type.check(argument)
        except ValueError as error:
            raise UnsupportedCall(f"with {parameter.name}={argument}: it {error}") from None
        return argument

    def shape_of(self, node: Node) -> tuple[Dimension, ...]:
        """Shape of a node's result."""
        return tuple(dimension_of(size) for size in node.meta["val"].shape)

    def item_shape(self, node: Node, index: int) -> tuple[Dimension, ...]:
        """Shape of one of the results of a node."""
        return tuple(dimension_of(size) for size in node.meta["val"][index].shape)

    def first_operand(self, node: Node) -> Any:
        """What the tensor is now that a node takes first."""
        source = node.args[0]
        assert isinstance(source, Node)  # noqa: S101
        return self._operands[source]

    def full(self, shape: tuple[Dimension, ...], number: Any, dtype: str) -> Operand:
        """A constant of that shape, all elements equal."""
        constant = self._constants.reference(torch.tensor(number, dtype=DTYPES[dtype]))
        return self.emit("expand", input=constant, shape=shape)

    def dtype_of(self, node: Node) -> str:
        """Name of the type of a node's result."""
        name = DTYPE_NAMES.get(node.meta["val"].dtype)
        if name is None:
            raise UnsupportedNode(f"the type {node.meta['val'].dtype} is not supported", node)
        return name

    def _dtype_before(self, node: Node) -> str | None:
        source = node.args[0]
        return self.dtype_of(source) if isinstance(source, Node) else None


_ASSERTIONS = {
    "_assert_tensor_metadata.default",
    "_assert_scalar.default",
    "_assert_async.msg",
    "sym_constrain_range.default",
    "sym_constrain_range_for_size.default",
}


def _first(arguments: dict[str, Any]) -> Any:
    return next(iter(arguments.values()))


def _name(node: Node) -> str:
    return str(node.target)
