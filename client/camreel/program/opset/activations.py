"""Activation functions."""

from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor

from camreel.program.opset.operator import (
    DIM,
    DIMENSION,
    INPUT,
    Operator,
    elementwise,
)
from camreel.program.parameters import Choice, Number, Parameter, Tensorial


def _gelu(signal: Tensor, approximate: str) -> Tensor:
    return F.gelu(signal, approximate=approximate)


def _elu(signal: Tensor, alpha: float) -> Tensor:
    return F.elu(signal, alpha)


ACTIVATIONS = (
    elementwise("relu", torch.relu, torch.relu_),
    elementwise("sigmoid", torch.sigmoid),
    elementwise("tanh", torch.tanh),
    elementwise("silu", F.silu, partial(F.silu, inplace=True)),
    elementwise("mish", F.mish),
    elementwise("selu", F.selu),
    elementwise("hardswish", F.hardswish, partial(F.hardswish, inplace=True)),
    elementwise("hardsigmoid", F.hardsigmoid),
    Operator(
        "gelu",
        "gelu.default",
        (INPUT, Parameter("approximate", Choice(("none", "tanh")), "none")),
        _gelu,
    ),
    Operator(
        "hardtanh",
        "hardtanh.default",
        (INPUT, Parameter("min_val", Number(), -1), Parameter("max_val", Number(), 1)),
        F.hardtanh,
    ),
    Operator(
        "leaky_relu",
        "leaky_relu.default",
        (INPUT, Parameter("negative_slope", Number(), 0.01)),
        F.leaky_relu,
    ),
    Operator("elu", "elu.default", (INPUT, Parameter("alpha", Number(), 1)), _elu),
    Operator(
        "softplus",
        "softplus.default",
        (INPUT, Parameter("beta", Number(), 1), Parameter("threshold", Number(), 20)),
        F.softplus,
    ),
    Operator("prelu", "prelu.default", (INPUT, Parameter("weight", Tensorial())), torch.prelu),
    Operator("glu", "glu.default", (INPUT, Parameter("dim", DIMENSION, -1)), F.glu),
    Operator("softmax", "softmax.int", (INPUT, DIM), torch.softmax),
    Operator("log_softmax", "log_softmax.int", (INPUT, DIM), torch.log_softmax),
)
