"""Elementwise arithmetic, comparisons and conversions."""

from typing import Any

import torch
from torch import Tensor

from camreel.program.opset.operator import (
    ALPHA,
    DTYPES,
    INPUT,
    OTHER,
    Operator,
    binary,
    elementwise,
)
from camreel.program.parameters import Choice, Number, Optional, Parameter, Tensorial


def _add(signal: Any, operand: Any, alpha: float) -> Tensor:
    return torch.add(signal, operand, alpha=alpha)


def _sub(signal: Any, operand: Any, alpha: float) -> Tensor:
    # torch has no difference of a number and a tensor: operand - signal is `rsub`.
    if not isinstance(signal, Tensor):
        return torch.rsub(operand, signal) if alpha == 1 else torch.rsub(operand * alpha, signal)
    return torch.sub(signal, operand, alpha=alpha)


def _mul(signal: Any, operand: Any) -> Tensor:
    return torch.mul(signal, operand)


def _div(signal: Any, operand: Any) -> Tensor:
    # A number as the dividend becomes a tensor of no dimensions, which promotes no type.
    return torch.div(_tensor(signal), operand)


def _tensor(operand: Any) -> Tensor:
    return operand if isinstance(operand, Tensor) else torch.tensor(operand)


def _choose(condition: Tensor, signal: Any, operand: Any) -> Tensor:
    return torch.where(condition, signal, operand)


def _addcmul(signal: Tensor, left: Tensor, right: Tensor, factor: float) -> Tensor:
    return torch.addcmul(signal, left, right, value=factor)


def _to_dtype(signal: Tensor, dtype: str) -> Tensor:
    return signal.to(DTYPES[dtype])


def _detach(signal: Tensor) -> Tensor:
    return signal.detach()


ARITHMETIC = (
    binary("add", _add, ALPHA),
    binary("sub", _sub, ALPHA),
    binary("mul", _mul),
    binary("div", _div),
    binary("maximum", torch.maximum, overload="default"),
    binary("minimum", torch.minimum, overload="default"),
    binary("pow", torch.pow, overload="Tensor_Tensor"),
    binary("eq", torch.eq),
    binary("ne", torch.ne),
    binary("lt", torch.lt),
    binary("le", torch.le),
    binary("gt", torch.gt),
    binary("ge", torch.ge),
    *(
        elementwise(name, getattr(torch, name))
        for name in ("neg", "abs", "exp", "log", "log1p", "sqrt", "rsqrt", "reciprocal")
    ),
    *(elementwise(name, getattr(torch, name)) for name in ("sin", "cos", "erf", "logical_not")),
    Operator(
        "clamp",
        "clamp.default",
        (
            INPUT,
            Parameter("min", Optional(Number()), None),
            Parameter("max", Optional(Number()), None),
        ),
        torch.clamp,
    ),
    Operator(
        "addcmul",
        "addcmul.default",
        (
            INPUT,
            Parameter("tensor1", Tensorial()),
            Parameter("tensor2", Tensorial()),
            Parameter("value", Number(), 1),
        ),
        _addcmul,
    ),
    Operator(
        "where",
        "where.self",
        (
            Parameter("condition", Tensorial()),
            Parameter("input", Tensorial(or_number=True)),
            OTHER,
        ),
        _choose,
    ),
    Operator(
        "masked_fill",
        "masked_fill.Scalar",
        (INPUT, Parameter("mask", Tensorial()), Parameter("value", Number())),
        torch.masked_fill,
    ),
    Operator(
        "to_dtype",
        "to.dtype",
        (INPUT, Parameter("dtype", Choice(tuple(DTYPES)))),
        _to_dtype,
    ),
    Operator("detach", "detach.default", (INPUT,), _detach),
)
