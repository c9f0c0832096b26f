"""Operators that are linear in their weights, and attention."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor

from camreel.program.opset.operator import (
    ALPHA,
    BIAS,
    DIMENSION,
    GROUPS,
    INPUT,
    MAX_KERNEL,
    PAIR,
    POSITIVE_PAIR,
    Operator,
)
from camreel.program.parameters import (
    Equation,
    Flag,
    Integers,
    Number,
    Optional,
    Parameter,
    Tensorial,
    Tensorials,
)


def _addmm(signal: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float) -> Tensor:
    return torch.addmm(signal, left, right, beta=beta, alpha=alpha)


def _baddbmm(signal: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float) -> Tensor:
    return torch.baddbmm(signal, left, right, beta=beta, alpha=alpha)


def _einsum(equation: str, operands: Sequence[Tensor]) -> Tensor:
    return torch.einsum(equation, *operands)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    scale: float | None,
) -> Tensor:
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=is_causal, scale=scale
    )


LINEAR_OPERATORS = (
    Operator(
        "conv1d",
        "conv1d.default",
        (
            INPUT,
            Parameter("weight", Tensorial()),
            BIAS,
            Parameter("stride", Integers(1, MAX_KERNEL, 1, 1), (1,)),
            Parameter("padding", Integers(0, MAX_KERNEL, 1, 1), (0,)),
            Parameter("dilation", Integers(1, MAX_KERNEL, 1, 1), (1,)),
            GROUPS,
        ),
        torch.conv1d,
    ),
    Operator(
        "conv2d",
        "conv2d.default",
        (
            INPUT,
            Parameter("weight", Tensorial()),
            BIAS,
            Parameter("stride", POSITIVE_PAIR, (1, 1)),
            Parameter("padding", PAIR, (0, 0)),
            Parameter("dilation", POSITIVE_PAIR, (1, 1)),
            GROUPS,
        ),
        torch.conv2d,
    ),
    Operator(
        "conv_transpose2d",
        "conv_transpose2d.input",
        (
            INPUT,
            Parameter("weight", Tensorial()),
            BIAS,
            Parameter("stride", POSITIVE_PAIR, (1, 1)),
            Parameter("padding", PAIR, (0, 0)),
            Parameter("output_padding", PAIR, (0, 0)),
            GROUPS,
            Parameter("dilation", POSITIVE_PAIR, (1, 1)),
        ),
        torch.conv_transpose2d,
    ),
    Operator("linear", "linear.default", (INPUT, Parameter("weight", Tensorial()), BIAS), F.linear),
    Operator("matmul", "matmul.default", (INPUT, Parameter("other", Tensorial())), torch.matmul),
    Operator(
        "addmm",
        "addmm.default",
        (
            INPUT,
            Parameter("mat1", Tensorial()),
            Parameter("mat2", Tensorial()),
            Parameter("beta", Number(), 1),
            ALPHA,
        ),
        _addmm,
    ),
    Operator(
        "baddbmm",
        "baddbmm.default",
        (
            INPUT,
            Parameter("batch1", Tensorial()),
            Parameter("batch2", Tensorial()),
            Parameter("beta", Number(), 1),
            ALPHA,
        ),
        _baddbmm,
    ),
    Operator(
        "einsum",
        "einsum.default",
        (Parameter("equation", Equation()), Parameter("tensors", Tensorials())),
        _einsum,
    ),
    Operator(
        "scaled_dot_product_attention",
        "scaled_dot_product_attention.default",
        (
            Parameter("query", Tensorial()),
            Parameter("key", Tensorial()),
            Parameter("value", Tensorial()),
            Parameter("attn_mask", Optional(Tensorial()), None),
            Parameter("is_causal", Flag(), default=False),
            Parameter("scale", Optional(Number()), None),
        ),
        _attention,
    ),
    Operator(
        "weight_norm",
        "_weight_norm.default",
        (Parameter("v", Tensorial()), Parameter("g", Tensorial()), Parameter("dim", DIMENSION, 0)),
        torch._weight_norm,  # noqa: SLF001  what torch's own parametrization calls
    ),
    Operator(
        "embedding",
        "embedding.default",
        (Parameter("weight", Tensorial()), Parameter("indices", Tensorial())),
        torch.embedding,
    ),
)
