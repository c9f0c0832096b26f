"""Normalizations, as in evaluation mode."""

import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor

from camreel.program.opset.operator import (
    BIAS,
    EPSILON,
    INPUT,
    MAX_CHANNELS,
    WEIGHT,
    Operator,
)
from camreel.program.parameters import Integer, Integers, Number, Optional, Parameter, Tensorial


def _batch_norm(
    signal: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor,
    running_var: Tensor,
    eps: float,
) -> Tensor:
    return F.batch_norm(signal, running_mean, running_var, weight, bias, training=False, eps=eps)


def _instance_norm(
    signal: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    return F.instance_norm(signal, weight=weight, bias=bias, eps=eps)


_NORMALIZED_SHAPE = Parameter("normalized_shape", Integers(1))

NORMALIZATIONS = (
    Operator(
        "batch_norm",
        "batch_norm.default",
        (
            INPUT,
            WEIGHT,
            BIAS,
            Parameter("running_mean", Tensorial()),
            Parameter("running_var", Tensorial()),
            EPSILON,
        ),
        _batch_norm,
    ),
    Operator(
        "layer_norm",
        "layer_norm.default",
        (INPUT, _NORMALIZED_SHAPE, WEIGHT, BIAS, EPSILON),
        F.layer_norm,
    ),
    Operator(
        "group_norm",
        "group_norm.default",
        (INPUT, Parameter("num_groups", Integer(1, MAX_CHANNELS)), WEIGHT, BIAS, EPSILON),
        F.group_norm,
    ),
    Operator(
        "instance_norm", "instance_norm.default", (INPUT, WEIGHT, BIAS, EPSILON), _instance_norm
    ),
    Operator(
        "rms_norm",
        "rms_norm.default",
        (INPUT, _NORMALIZED_SHAPE, WEIGHT, Parameter("eps", Optional(Number()), None)),
        F.rms_norm,
    ),
)
