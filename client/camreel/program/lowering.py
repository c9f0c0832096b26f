"""From ATen's overloads, as torch.export records them, to the operators of programs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor
from torch.fx import Node

from camreel.program.overloads import WHOLE_SLICE_END
from camreel.program.references import Dimension, Operand

Arguments = dict[str, Any]


class StepWriter(Protocol):
    """What a lowering may ask of the translation of a graph."""

    def emit(self, operator: str, **arguments: Any) -> Operand:
        """Append a step; returns its result."""

    def shape_of(self, node: Node) -> tuple[Dimension, ...]:
        """Shape of a node's result."""

    def full(self, shape: tuple[Dimension, ...], number: Any, dtype: str) -> Operand:
        """A constant of that shape, all elements equal."""

    def dtype_of(self, node: Node) -> str:
        """Name of the type of a node's result."""


class UnsupportedCall(Exception):
    """An overload, or an argument of it, that programs do not have."""


Lowering = Callable[[StepWriter, Node, Arguments], Operand]


@dataclass(frozen=True)
class Direct:
    """An overload that equals an operator, but for names and arguments that are fixed."""

    operator: str
    names: dict[str, str] = field(default_factory=dict)
    """The operator's names of arguments that the overload calls otherwise."""
    fixed: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Values that other arguments must have."""
    ignored: frozenset[str] = frozenset()
    """Arguments that do not change the result."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Arguments that the overload does not have."""

    def __call__(self, writer: StepWriter, _: Node, arguments: Arguments) -> Operand:
        """Emit the step."""
        translated = dict(self.extra)
        for name, argument in arguments.items():
            if name in self.ignored:
                continue
            if name in self.fixed:
                if argument not in self.fixed[name]:
                    raise UnsupportedCall(f"{name}={argument}")
                continue
            translated[self.names.get(name, "input" if name == "self" else name)] = argument
        return writer.emit(self.operator, **translated)


def _reshape(writer: StepWriter, node: Node, arguments: Arguments) -> Operand:
    return writer.emit("reshape", input=arguments["self"], shape=writer.shape_of(node))


def _expand(writer: StepWriter, node: Node, arguments: Arguments) -> Operand:
    return writer.emit("expand", input=arguments["self"], shape=writer.shape_of(node))


def _copy(writer: StepWriter, node: Node, arguments: Arguments) -> Operand:
    source = writer.emit("to_dtype", input=arguments["src"], dtype=writer.dtype_of(node))
    return writer.emit("expand", input=source, shape=writer.shape_of(node))


def _full(writer: StepWriter, node: Node, arguments: Arguments) -> Operand:
    name = str(node.target).split(".")[1]
    number = 0 if "zeros" in name else 1 if "ones" in name else None
    if number is None:
        number = arguments.get("fill_value", arguments.get("value"))
    if isinstance(number, Tensor) and number.numel() == 1:
        number = number.item()
    if not isinstance(number, int | float):
        raise UnsupportedCall("with a value that is computed")
    return writer.full(writer.shape_of(node), number, writer.dtype_of(node))


def _reversed_sub(writer: StepWriter, _: Node, arguments: Arguments) -> Operand:
    if arguments["alpha"] != 1:
        raise UnsupportedCall(f"alpha={arguments['alpha']}")
    return writer.emit("sub", input=arguments["other"], other=arguments["self"])


def _square(writer: StepWriter, _: Node, arguments: Arguments) -> Operand:
    return writer.emit("pow", input=arguments["self"], other=2)


def _slice(writer: StepWriter, _: Node, arguments: Arguments) -> Operand:
    start, end = arguments["start"], arguments["end"]
    return writer.emit(
        "slice",
        input=arguments["self"],
        dim=arguments["dim"],
        start=None if start == 0 else start,
        end=None if end == WHOLE_SLICE_END else end,
        step=arguments["step"],
    )


def _slice_scatter(writer: StepWriter, _: Node, arguments: Arguments) -> Operand:
    start, end = arguments["start"], arguments["end"]
    return writer.emit(
        "slice_scatter",
        input=arguments["self"],
        src=arguments["src"],
        dim=arguments["dim"],
        start=None if start == 0 else start,
        end=None if end == WHOLE_SLICE_END else end,
        step=arguments["step"],
    )


def _transpose_2d(writer: StepWriter, node: Node, arguments: Arguments) -> Operand:
    rank = len(writer.shape_of(node))
    if rank < 2:
        return writer.emit("reshape", input=arguments["self"], shape=writer.shape_of(node))
    dims = tuple(range(rank - 1, -1, -1))
    return writer.emit("permute", input=arguments["self"], dims=dims)


def _conv2d_padding(writer: StepWriter, node: Node, arguments: Arguments) -> Operand:
    """A convolution whose padding is `same` or `valid`."""
    names = {"stride", "dilation", "groups", "weight", "bias"}
    options = {name: arguments[name] for name in names}
    signal = arguments["input"]
    padding = [0, 0]
    if arguments["padding"] == "same":
        weight = node.args[1]
        assert isinstance(weight, Node)  # noqa: S101
        kernel = weight.meta["val"].shape[2:]
        dilation = arguments["dilation"]
        if len(dilation) == 1:
            dilation = dilation * 2
        totals = [int(d) * (int(k) - 1) for d, k in zip(dilation, kernel, strict=True)]
        padding = [total // 2 for total in totals]
        if any(total % 2 for total in totals):
            # torch adds what is odd at the end.
            width, height = totals[1] % 2, totals[0] % 2
            signal = writer.emit("pad", input=signal, pad=(0, width, 0, height))
    return writer.emit("conv2d", input=signal, padding=tuple(padding), **options)


def _interpolate(writer: StepWriter, node: Node, arguments: Arguments) -> Operand:
    mode = next(m for m in ("nearest", "bilinear", "bicubic") if m in str(node.target))
    size = writer.shape_of(node)[2:]
    if not all(isinstance(side, int) for side in size):
        raise UnsupportedCall("to a size that depends on the batch")
    return writer.emit(
        "interpolate",
        input=arguments.get("input", arguments.get("self")),
        size=size,
        mode=mode,
        align_corners=bool(arguments.get("align_corners")),
    )


def _masked_fill(writer: StepWriter, _: Node, arguments: Arguments) -> Operand:
    if not isinstance(arguments["value"], int | float):
        return writer.emit(
            "where",
            condition=arguments["mask"],
            input=arguments["value"],
            other=arguments["self"],
        )
    return writer.emit(
        "masked_fill",
        input=arguments["self"],
        mask=arguments["mask"],
        value=arguments["value"],
    )


def _softmax(writer: StepWriter, node: Node, arguments: Arguments) -> Operand:
    operator = "log_softmax" if "log" in str(node.target) else "softmax"
    signal = arguments["self"]
    if isinstance(arguments.get("dtype"), str):
        signal = writer.emit("to_dtype", input=signal, dtype=arguments["dtype"])
    return writer.emit(operator, input=signal, dim=arguments["dim"])


def _to_dtype(writer: StepWriter, node: Node, arguments: Arguments) -> Operand:
    return writer.emit("to_dtype", input=arguments["self"], dtype=writer.dtype_of(node))


def _batch_norm(writer: StepWriter, node: Node, arguments: Arguments) -> Operand:
    """With statistics of its own, for one image or the weights of a layer: instance norm."""
    if not arguments["training"]:
        return _BATCH_NORM(writer, node, arguments)
    if writer.shape_of(node)[0] != 1 or arguments["running_mean"] is not None:
        raise UnsupportedCall("with training=True")
    names = ("input", "weight", "bias", "eps")
    return writer.emit("instance_norm", **{name: arguments[name] for name in names})


def _not(writer: StepWriter, node: Node, arguments: Arguments) -> Operand:
    if writer.dtype_of(node) != "bool":
        raise UnsupportedCall("of numbers")
    return writer.emit("logical_not", input=arguments["self"])


def _variance(writer: StepWriter, node: Node, arguments: Arguments) -> Operand:
    correction = arguments.get("correction", 1)
    if "unbiased" in arguments:
        correction = int(arguments["unbiased"])
    return writer.emit(
        "std" if ".std." in f".{node.target}" else "var",
        input=arguments["self"],
        dims=arguments.get("dim"),
        correction=1 if correction is None else correction,
        keepdim=arguments.get("keepdim", False),
    )


_DIM_TO_DIMS = {"dim": "dims"}
_NO_DTYPE = {"dtype": (None,)}
_CUDNN = frozenset({"cudnn_enabled", "cudnn_enable"})
_BATCH_NORM = Direct("batch_norm", ignored=frozenset({"training", "momentum"}) | _CUDNN)
_NO_STATISTICS = {"running_mean": (None,), "running_var": (None,), "use_input_stats": (True,)}


def _table() -> dict[str, Lowering]:
    table: dict[str, Lowering] = {}
    for name in (
        *("relu", "sigmoid", "tanh", "silu", "mish", "selu", "hardswish", "hardsigmoid", "gelu"),
        *("hardtanh", "leaky_relu", "prelu", "glu", "neg", "abs", "exp", "log", "log1p", "sqrt"),
        *("rsqrt", "reciprocal", "sin", "cos", "erf", "logical_not", "maximum", "minimum"),
        *("linear", "matmul", "addmm", "baddbmm", "einsum", "embedding", "conv1d", "conv2d"),
        *("rms_norm", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_avg_pool1d", "permute"),
        *("repeat", "cat", "stack", "pad", "roll", "flip", "index_select", "select_scatter"),
        *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "softplus", "addcmul", "clamp"),
        *("max_pool2d", "detach"),
    ):
        table[f"{name}.default"] = Direct(name)
    for name in ("eq", "ne", "lt", "le", "gt", "ge", "mul", "div"):
        table |= dict.fromkeys((f"{name}.Tensor", f"{name}.Scalar"), Direct(name))
    for name in ("add", "sub"):
        table |= dict.fromkeys((f"{name}.Tensor", f"{name}.Scalar"), Direct(name))
    for name in (
        *("view.default", "_unsafe_view.default", "reshape.default", "flatten.using_ints"),
        *("unflatten.int", "squeeze.default", "squeeze.dim", "squeeze.dims", "unsqueeze.default"),
        "view_as.default",
        "reshape_as.default",
    ):
        table[name] = _reshape
    for name in (
        *("zeros.default", "ones.default", "full.default", "new_zeros.default"),
        *("new_ones.default", "new_full.default", "zeros_like.default", "ones_like.default"),
        *("full_like.default", "fill.Scalar", "fill.Tensor", "zero.default"),
    ):
        table[name] = _full
    return table


LOWERINGS: dict[str, Lowering] = _table() | {
    "embedding.default": Direct(
        "embedding", ignored=frozenset({"padding_idx", "scale_grad_by_freq", "sparse"})
    ),
    "einsum.default": Direct("einsum", ignored=frozenset({"path"})),
    "clamp_min.default": Direct("clamp"),
    "clamp_max.default": Direct("clamp"),
    "relu6.default": Direct("hardtanh", extra={"min_val": 0.0, "max_val": 6.0}),
    "elu.default": Direct("elu", fixed={"scale": (1, 1.0), "input_scale": (1, 1.0)}),
    "mm.default": Direct("matmul", names={"mat2": "other"}),
    "bmm.default": Direct("matmul", names={"mat2": "other"}),
    "mv.default": Direct("matmul", names={"vec": "other"}),
    "dot.default": Direct("matmul", names={"tensor": "other"}),
    "vdot.default": Direct("matmul"),
    "_weight_norm.default": Direct("weight_norm"),
    "conv2d.padding": _conv2d_padding,
    "conv_transpose2d.input": Direct("conv_transpose2d"),
    "scaled_dot_product_attention.default": Direct(
        "scaled_dot_product_attention",
        fixed={"dropout_p": (0, 0.0), "enable_gqa": (False,)},
    ),
    "batch_norm.default": _batch_norm,
    "_native_batch_norm_legit_no_training.default": Direct(
        "batch_norm", ignored=frozenset({"momentum"})
    ),
    "layer_norm.default": Direct("layer_norm", ignored=_CUDNN),
    "native_layer_norm.default": Direct("layer_norm"),
    "group_norm.default": Direct("group_norm", ignored=_CUDNN),
    "instance_norm.default": Direct(
        "instance_norm", fixed=_NO_STATISTICS, ignored=frozenset({"momentum"}) | _CUDNN
    ),
    "max_pool2d_with_indices.default": Direct("max_pool2d"),
    "adaptive_max_pool2d.default": Direct("adaptive_max_pool2d"),
    "pow.Tensor_Scalar": Direct("pow", names={"exponent": "other"}),
    "pow.Tensor_Tensor": Direct("pow", names={"exponent": "other"}),
    "pow.Scalar": Direct("pow", names={"exponent": "other"}),
    "bitwise_not.default": _not,
    "square.default": _square,
    "rsub.Scalar": _reversed_sub,
    "rsub.Tensor": _reversed_sub,
    "where.self": Direct("where"),
    "where.ScalarOther": Direct("where"),
    "where.ScalarSelf": Direct("where"),
    "where.Scalar": Direct("where"),
    "masked_fill.Scalar": _masked_fill,
    "masked_fill.Tensor": _masked_fill,
    "mean.dim": Direct("mean", names=_DIM_TO_DIMS, fixed=_NO_DTYPE),
    "mean.default": Direct("mean", fixed=_NO_DTYPE),
    "sum.dim_IntList": Direct("sum", names=_DIM_TO_DIMS, fixed=_NO_DTYPE),
    "sum.default": Direct("sum", fixed=_NO_DTYPE),
    "var.correction": _variance,
    "var.dim": _variance,
    "std.correction": _variance,
    "std.dim": _variance,
    "amax.default": Direct("amax", names=_DIM_TO_DIMS),
    "amin.default": Direct("amin", names=_DIM_TO_DIMS),
    "max.dim": Direct("max"),
    "min.dim": Direct("min"),
    "max.other": Direct("maximum"),
    "min.other": Direct("minimum"),
    "linalg_vector_norm.default": Direct("vector_norm", names=_DIM_TO_DIMS, fixed=_NO_DTYPE),
    "softmax.int": _softmax,
    "_softmax.default": Direct("softmax", fixed={"half_to_float": (False,)}),
    "log_softmax.int": _softmax,
    "_log_softmax.default": Direct("log_softmax", fixed={"half_to_float": (False,)}),
    "to.dtype": _to_dtype,
    "to.dtype_layout": _to_dtype,
    "to.device": _to_dtype,
    "to.other": _to_dtype,
    "_to_copy.default": _to_dtype,
    "type_as.default": _to_dtype,
    "expand.default": _expand,
    "expand_as.default": _expand,
    "copy.default": _copy,
    "transpose.int": Direct("transpose"),
    "t.default": _transpose_2d,
    "numpy_T.default": _transpose_2d,
    "slice.Tensor": _slice,
    "select.int": Direct("select"),
    "index.Tensor": Direct("index"),
    "slice_scatter.default": _slice_scatter,
    "constant_pad_nd.default": Direct("pad"),
    "reflection_pad2d.default": Direct("pad", names={"padding": "pad"}, extra={"mode": "reflect"}),
    "replication_pad2d.default": Direct(
        "pad", names={"padding": "pad"}, extra={"mode": "replicate"}
    ),
    "upsample_nearest2d.vec": _interpolate,
    "upsample_bilinear2d.vec": _interpolate,
    "upsample_bicubic2d.vec": _interpolate,
    "upsample_nearest2d.default": _interpolate,
    "upsample_bilinear2d.default": _interpolate,
    "upsample_bicubic2d.default": _interpolate,
}
"""By overload of `torch.ops.aten`. In-place overloads are looked up by their functional twins."""
