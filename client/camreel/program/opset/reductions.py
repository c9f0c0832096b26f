"""Pooling, and reductions over dimensions."""

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor

from camreel.program.opset.operator import (
    DIM,
    INPUT,
    KEEPDIM,
    MAX_KERNEL,
    PAIR,
    POSITIVE_PAIR,
    Operator,
)
from camreel.program.parameters import Flag, Integer, Integers, Number, Optional, Parameter

DIMS = Parameter("dims", Optional(Integers(-8, 7)), None)


def _max(signal: Tensor, dim: int, keepdim: bool) -> Tensor:
    return torch.max(signal, dim, keepdim).values


def _min(signal: Tensor, dim: int, keepdim: bool) -> Tensor:
    return torch.min(signal, dim, keepdim).values


def _sum(signal: Tensor, dims: list[int] | None, keepdim: bool) -> Tensor:
    return torch.sum(signal, dims, keepdim)


def _mean(signal: Tensor, dims: list[int] | None, keepdim: bool) -> Tensor:
    return torch.mean(signal, dims, keepdim)


def _var(signal: Tensor, dims: list[int] | None, correction: float, keepdim: bool) -> Tensor:
    return torch.var(signal, dims, correction=correction, keepdim=keepdim)


def _std(signal: Tensor, dims: list[int] | None, correction: float, keepdim: bool) -> Tensor:
    return torch.std(signal, dims, correction=correction, keepdim=keepdim)


def _amax(signal: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    return torch.amax(signal, dims, keepdim)


def _amin(signal: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    return torch.amin(signal, dims, keepdim)


def _vector_norm(signal: Tensor, order: float, dims: list[int] | None, keepdim: bool) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(signal, order, dims, keepdim)
    return norm


_KERNEL = Parameter("kernel_size", POSITIVE_PAIR)
_STRIDE = Parameter("stride", Optional(POSITIVE_PAIR), None)
_PADDING = Parameter("padding", PAIR, (0, 0))
_CEIL_MODE = Parameter("ceil_mode", Flag(), default=False)

POOLINGS = (
    Operator(
        "max_pool2d",
        "max_pool2d.default",
        (
            INPUT,
            _KERNEL,
            _STRIDE,
            _PADDING,
            Parameter("dilation", POSITIVE_PAIR, (1, 1)),
            _CEIL_MODE,
        ),
        F.max_pool2d,
    ),
    Operator(
        "avg_pool2d",
        "avg_pool2d.default",
        (
            INPUT,
            _KERNEL,
            _STRIDE,
            _PADDING,
            _CEIL_MODE,
            Parameter("count_include_pad", Flag(), default=True),
            Parameter("divisor_override", Optional(Integer(1)), None),
        ),
        F.avg_pool2d,
    ),
    Operator(
        "adaptive_avg_pool2d",
        "adaptive_avg_pool2d.default",
        (INPUT, Parameter("output_size", POSITIVE_PAIR)),
        F.adaptive_avg_pool2d,
    ),
    Operator(
        "adaptive_max_pool2d",
        "adaptive_max_pool2d.default",
        (INPUT, Parameter("output_size", POSITIVE_PAIR)),
        F.adaptive_max_pool2d,
    ),
    Operator(
        "adaptive_avg_pool1d",
        "adaptive_avg_pool1d.default",
        (INPUT, Parameter("output_size", Integers(1, MAX_KERNEL, 1, 1))),
        F.adaptive_avg_pool1d,
    ),
)


_CORRECTION = Parameter("correction", Number(), 1)

REDUCTIONS = (
    Operator("mean", "mean.dim", (INPUT, DIMS, KEEPDIM), _mean),
    Operator("sum", "sum.dim_IntList", (INPUT, DIMS, KEEPDIM), _sum),
    Operator("var", "var.correction", (INPUT, DIMS, _CORRECTION, KEEPDIM), _var),
    Operator("std", "std.correction", (INPUT, DIMS, _CORRECTION, KEEPDIM), _std),
    Operator("amax", "amax.default", (INPUT, Parameter("dims", Integers(-8, 7)), KEEPDIM), _amax),
    Operator("amin", "amin.default", (INPUT, Parameter("dims", Integers(-8, 7)), KEEPDIM), _amin),
    Operator("max", "max.dim", (INPUT, DIM, KEEPDIM), _max),
    Operator("min", "min.dim", (INPUT, DIM, KEEPDIM), _min),
    Operator(
        "vector_norm",
        "linalg_vector_norm.default",
        (INPUT, Parameter("ord", Number(), 2), DIMS, KEEPDIM),
        _vector_norm,
    ),
)
